"""`tapectl status`: the gateway at one glance, once or again and again."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli.options import Output, examples
from tapectl.cli.render import OutputFormat, Row, chosen, render_record, stdout_console
from tapectl.cli.session import open_gateway
from tapectl.cli.status_rows import status_row
from tapectl.cli.status_screen import status_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.text import Text

    from tapectl.gateway.settings import Settings
    from tapectl.state.database import State


def register(app: typer.Typer) -> None:
    """Add the command to the root."""
    app.command(
        "status",
        epilog=examples(
            ("tapectl status", "at one glance"),
            ("tapectl status --watch", "as it changes, until Ctrl-C"),
            ("tapectl status --output json | jq .WaitingBytes", "what is not uploaded yet"),
        ),
    )(status)


def status(
    context: typer.Context,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again and again, until Ctrl-C.")
    ] = False,
    interval: Annotated[
        float,
        typer.Option("--interval", metavar="SECONDS", min=0.1, help="How often, with --watch."),
    ] = 2.0,
    output: Output = None,
) -> None:
    """Show the gateway at one glance.

    Whether it serves and whom, what is in each drive and how fast, how full its disks are and when
    they will be, what is not uploaded yet, tapes on their way, and alarms. Speeds are measured in
    the processes that move the bytes. With --watch and --output json, a document each time.
    """
    with open_gateway(context) as (state, settings):

        def current() -> Row:
            return look(state, settings)

        if not watch:
            _render(current(), output)
        elif chosen(output) is OutputFormat.TABLE and sys.stdout.isatty():
            _watch_screen(current, interval)
        else:
            while True:
                _render(current(), output)
                sys.stdout.flush()
                time.sleep(interval)


def look(state: State, settings: Settings) -> Row:
    """Return the JSON object of the gateway as it is now."""
    from tapectl.serve.client import connect

    supervisor = connect(settings.state_path)
    if supervisor is None:
        return status_row(state, settings, None)
    with supervisor:
        return status_row(state, settings, supervisor.request("status"))


def _render(row: Row, output: OutputFormat | None) -> None:
    match chosen(output):
        case OutputFormat.TABLE:
            stdout_console().print(styled(row), soft_wrap=True)
        case OutputFormat.PLAIN:
            typer.echo("\n".join(status_lines(row)))
        case asked:
            render_record(row, (), output=asked)


def _watch_screen(current: Callable[[], Row], interval_s: float) -> None:
    from rich.live import Live

    console = stdout_console()
    with Live(styled(current()), console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(interval_s)
            live.update(styled(current()), refresh=True)


def styled(row: Row) -> Text:
    """Return the screen with its labels bold, and alarms red."""
    from rich.text import Text

    text = Text("\n").join(Text(line) for line in status_lines(row))
    text.highlight_regex(r"(?m)^[A-Z][A-Za-z -]{2,13}(?=  )", "bold")
    text.highlight_regex(r"(?m)^(Alarms|Store fails|Read-only)  +(?! |none$).*$", "bold red")
    return text
