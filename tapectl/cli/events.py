"""`tapectl events`: what happened."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli import completing
from tapectl.cli.options import Output, examples
from tapectl.cli.render import (
    Column,
    OutputFormat,
    Row,
    iso_time,
    render_rows,
    show_fields,
    show_time,
)
from tapectl.cli.session import open_gateway

if TYPE_CHECKING:
    from tapectl.state.events import Event

FOLLOW_INTERVAL_S = 0.5
"""Between two looks with --follow: a query by primary key."""

COLUMNS = (
    Column("Time", "Time", show_time),
    Column("Type", "Event"),
    Column("Subject", "Subject"),
    Column("From", "From"),
    Column("To", "To"),
    Column("Actor", "By"),
    Column("Detail", "Detail", show_fields),
)


def event_row(event: Event) -> Row:
    """Return the JSON object of an event; docs/json-output.md says what each key means."""
    is_tape = event.subject_kind == "tape"
    return {
        "EventId": event.id,
        "Time": iso_time(event.at_ms),
        "Type": event.type,
        "SubjectType": event.subject_kind,
        "Subject": event.subject_id,
        "TapeBarcode": event.subject_id if is_tape else None,
        "From": event.from_status,
        "To": event.to_status,
        "Actor": event.actor,
        "Detail": dict(event.detail),
    }


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command(
        "events",
        epilog=examples(
            ("tapectl events", "the newest, oldest first"),
            ("tapectl events VTL001L5", "the life of one tape"),
            ("tapectl events --follow --output tsv", "as they happen, until Ctrl-C"),
        ),
    )(events)


def events(
    context: typer.Context,
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="SUBJECT",
            show_default=False,
            autocompletion=completing.barcodes,
            help="Only events of this barcode, disk id, device or gateway.",
        ),
    ] = None,
    event_type: Annotated[
        str | None,
        typer.Option(
            "--type", metavar="TYPE", help="Only events of this type, e.g. TapeStatusTransition."
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="At most so many, the newest.")
    ] = 1000,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new ones as they happen.")
    ] = False,
    output: Output = None,
) -> None:
    """Show what happened, when, and by whom.

    Every change of a tape's status, every move, every disk. With
    --follow and --output json each batch of new events is a document of its own.
    """
    from tapectl.gateway.events import list_events

    with open_gateway(context) as (state, _):
        found = list_events(state, subject=subject, event_type=event_type, limit=limit)
        render_rows(
            [event_row(event) for event in found], COLUMNS, output=output, empty="no events"
        )
        while follow:
            time.sleep(FOLLOW_INTERVAL_S)
            last = found[-1].id if found else 0
            new = list_events(state, subject=subject, event_type=event_type, after_id=last)
            if new:
                found = new
                _render_more([event_row(event) for event in new], output)


def _render_more(rows: list[Row], output: OutputFormat | None) -> None:
    render_rows(rows, COLUMNS, output=output, empty="", headings=False)
