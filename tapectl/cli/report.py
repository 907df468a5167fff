"""`tapectl report`: the gateway on one page of HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tapectl.cli.disk_rows import LIST_COLUMNS as DISK_COLUMNS
from tapectl.cli.disk_rows import disk_row
from tapectl.cli.events import COLUMNS as EVENT_COLUMNS
from tapectl.cli.events import event_row
from tapectl.cli.files import whole_file
from tapectl.cli.options import examples
from tapectl.cli.render import Column, Row, iso_time, show_list, show_percent, show_size, show_time
from tapectl.cli.report_page import report_page
from tapectl.cli.session import open_gateway
from tapectl.cli.status import look
from tapectl.cli.tape_rows import ARCHIVE_COLUMNS, LIST_COLUMNS, tape_row
from tapectl.units import format_duration

if TYPE_CHECKING:
    from tapectl.state.database import State

Table = tuple[str, Sequence[Row], Sequence[Column]]

EVENTS_SHOWN, DAYS_SHOWN = 50, 30


def _show_duration(value: object) -> str:
    return format_duration(value) if isinstance(value, int) else ""


# fmt: off
DRIVE_COLUMNS = (
    Column("Device", "Drive"),
    Column("TapeBarcode", "Tape"),
    Column("TapeUsedInBytes", "Used", show_size, right=True),
    Column("TapeSizeInBytes", "Size", show_size, right=True),
    Column("WrittenBytesPerSecond", "Written a second", show_size, right=True),
    Column("ReadBytesPerSecond", "Read a second", show_size, right=True),
    Column("Initiators", "Initiators", show_list),
)
HEALTH_COLUMNS = (
    Column("VerifyStatus", "Last verification"),
    Column("VerifiedDate", "Verified", show_time),
)
UNDER_WAY_COLUMNS = (
    Column("TapeBarcode", "Tape"),
    Column("TapeStatus", "Status"),
    Column("Progress", "Progress", show_percent, right=True),
    Column("WaitingBytes", "To upload", show_size, right=True),
    Column("SecondsLeft", "Time left, at most", _show_duration, right=True),
    Column("StatusDetail", "Detail"),
)
# fmt: on


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
        typer.Argument(metavar="PATH", show_default="standard output", help="File to write."),
    ] = Path("-"),
) -> None:
    """Write the gateway on one page of HTML.

    Status, a month of use, disks, tapes, and what happened last. The page is light or dark as its
    reader is, and loads nothing from anywhere.
    """
    from tapectl.gateway.clock import now_ms
    from tapectl.gateway.history import daily_history

    with open_gateway(context) as (state, settings):
        status, made_at_ms = look(state, settings), now_ms()
        history = daily_history(state, days=DAYS_SHOWN, now_ms=made_at_ms)
        tables = [*_live_tables(status), *_tables(state)]
        page = report_page(status, history, tables, made_at=iso_time(made_at_ms) or "")
    with whole_file(path) as file:
        file.write(page.encode())


def _live_tables(status: Mapping[str, Any]) -> Iterator[Table]:
    loaded = [one for one in status.get("Drives", ()) if one["TapeBarcode"] or one["Initiators"]]
    if loaded:
        yield "Drives in use", loaded, DRIVE_COLUMNS
    if under_way := status["TapesUnderWay"]:
        yield "On their way", under_way, UNDER_WAY_COLUMNS


def _tables(state: State) -> Sequence[Table]:
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
        ("Library", [tape_row(tape) for tape in here], (*LIST_COLUMNS, *HEALTH_COLUMNS)),
        ("Shelf", [tape_row(tape) for tape in on_shelf], (*ARCHIVE_COLUMNS, *HEALTH_COLUMNS)),
        ("What happened last", [event_row(event) for event in reversed(events)], EVENT_COLUMNS),
    ]
