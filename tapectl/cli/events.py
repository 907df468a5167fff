"""`tapectl events`: what happened."""

from __future__ import annotations

import time
from functools import partial
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
            (
                "tapectl events --since 1d --type TapeMoved",
                "who has moved which tape since yesterday",
            ),
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
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help='Only events not before this: ISO 8601, "2h ago", 3d.',
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
    from tapectl.gateway.activation import describe_gateway
    from tapectl.gateway.clock import now_ms
    from tapectl.gateway.events import list_events
    from tapectl.gateway.points_in_time import parse_time, zone_of

    with open_gateway(context) as (state, _):
        zone = zone_of(describe_gateway(state).timezone)
        since_ms = None if since is None else parse_time(since, now_ms=now_ms(), zone=zone)
        ask = partial(list_events, state, subject=subject, event_type=event_type, since_ms=since_ms)
        found = ask(limit=limit)
        render_rows(
            [event_row(event) for event in found], COLUMNS, output=output, empty="no events"
        )
        while follow:
            time.sleep(FOLLOW_INTERVAL_S)
            last = found[-1].id if found else 0
            new = ask(after_id=last)
            if new:
                found = new
                _render_more([event_row(event) for event in new], output)


def _render_more(rows: list[Row], output: OutputFormat | None) -> None:
    render_rows(rows, COLUMNS, output=output, empty="", headings=False)
