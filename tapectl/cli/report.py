"""`tapectl report`: the gateway on one page of HTML."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli.disk_rows import LIST_COLUMNS as DISK_COLUMNS
from tapectl.cli.disk_rows import disk_row
from tapectl.cli.events import COLUMNS as EVENT_COLUMNS
from tapectl.cli.events import event_row
from tapectl.cli.files import whole_file
from tapectl.cli.options import examples
from tapectl.cli.render import Column, Row, iso_time
from tapectl.cli.report_page import report_page
from tapectl.cli.session import open_gateway
from tapectl.cli.status import look
from tapectl.cli.tape_rows import ARCHIVE_COLUMNS, LIST_COLUMNS, tape_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tapectl.state.database import State

EVENTS_SHOWN = 50


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command(
        "report",
        epilog=examples(
            ("tapectl report gateway.html", "a page to send or to keep"),
            ("tapectl report > /var/www/html/tapes.html", "from cron"),
        ),
    )(report)


def report(
    context: typer.Context,
    path: Annotated[
        Path,
        typer.Argument(metavar="[PATH]", show_default="standard output", help="File to write."),
    ] = Path("-"),
) -> None:
    """Write the gateway on one page of HTML: status, disks, tapes, the shelf, what happened.

    The page is light or dark as its reader is, and loads nothing from anywhere.
    """
    from tapectl.gateway.clock import now_ms

    with open_gateway(context) as (state, settings):
        page = report_page(look(state, settings), _tables(state), made_at=iso_time(now_ms()) or "")
    with whole_file(path) as file:
        file.write(page.encode())


def _tables(state: State) -> Sequence[tuple[str, Sequence[Row], Sequence[Column]]]:
    from tapectl.gateway.disk_list import list_disks
    from tapectl.gateway.events import list_events
    from tapectl.gateway.shelf import list_archive
    from tapectl.gateway.tapes import list_tapes

    on_shelf = list_archive(state)
    archived = {tape.barcode for tape in on_shelf}
    here = [tape for tape in list_tapes(state) if tape.barcode not in archived]
    disks = [disk for disk in list_disks(state) if disk.disk_id.startswith("disk-")]
    events = list_events(state, limit=EVENTS_SHOWN)
    return [
        ("Local disks", [disk_row(disk) for disk in disks], DISK_COLUMNS),
        ("Library", [tape_row(tape) for tape in here], LIST_COLUMNS),
        ("Shelf", [tape_row(tape) for tape in on_shelf], ARCHIVE_COLUMNS),
        (
            f"The last {EVENTS_SHOWN} events",
            [event_row(event) for event in reversed(events)],
            EVENT_COLUMNS,
        ),
    ]
