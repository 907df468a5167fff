"""`tapectl serve` and `tapectl sync`: the daemon, and one pass of its work without it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli.options import Output, Timeout, examples
from tapectl.cli.render import Column, render_record, show_size
from tapectl.cli.session import load_settings, open_gateway
from tapectl.cli.waiting import Progress, wait_until
from tapectl.units import format_size

if TYPE_CHECKING:
    from tapectl.gateway.settings import Settings
    from tapectl.serve.supervisor import ReadyInfo

Listen = Annotated[
    list[str] | None,
    typer.Option(
        "--listen",
        metavar="ADDRESS",
        show_default="127.0.0.1:3260",
        help="Address and port, as 0.0.0.0:3260 or [::1]:3260; may be repeated.",
    ),
]
SYNC_COLUMNS = (
    Column("WaitingSegments", "Segments to upload"),
    Column("WaitingBytes", "To upload", show_size),
    Column("Done", "Steps done"),
    Column("Waiting", "Steps waiting"),
)


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    app.command(
        "serve",
        epilog=examples(
            ("tapectl serve", "to this machine only"),
            ("tapectl serve --listen 192.0.2.10:3260", "to the network; set CHAP secrets first"),
            ("tapectl serve --frontend lio", "by the kernel's target (docs/lio.md)"),
            ("systemd-run --unit tapectl tapectl serve", "as a service"),
        ),
    )(serve)
    app.command(
        "sync",
        epilog=examples(
            ("tapectl sync", "upload, archive, retrieve what is due, and exit"),
            ("tapectl sync --until-idle --timeout 3600", "until nothing is left to be done"),
        ),
    )(sync)


def serve(
    context: typer.Context,
    listen: Listen = None,
    allow_anonymous: Annotated[
        bool,
        typer.Option(
            "--allow-anonymous",
            help="Listen beyond this machine even if anyone could log in without a secret.",
        ),
    ] = False,
    log_format: Annotated[
        str | None,
        typer.Option(
            "--log-format",
            metavar="FORMAT",
            show_default="text",
            help="text, or json: one object a line.",
        ),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            "--user",
            metavar="NAME",
            show_default="whoever starts it",
            help="Started as root, become this user once the ports are bound.",
        ),
    ] = None,
    frontend: Annotated[
        str | None,
        typer.Option(
            "--frontend",
            metavar="WHICH",
            show_default="user",
            help="user: our own iSCSI target; lio: the kernel's, needs root; auto: lio if it is"
            " there.",
        ),
    ] = None,
    fabric: Annotated[
        str | None,
        typer.Option(
            "--fabric",
            metavar="FABRIC",
            show_default="iscsi",
            help="Of the kernel's target: iscsi, or loopback: devices of this host only.",
        ),
    ] = None,
) -> None:
    """Serve the library over iSCSI, in the foreground.

    SIGTERM and Ctrl-C drain: sessions end, what was written is synchronised, exit status 0. A
    second one ends everything at once, and loses nothing that was acknowledged. SIGHUP reads the
    settings anew and takes them over, addresses too, while sessions go on; what has to wait for the
    next start is named in the log.
    """
    from tapectl.serve import serving

    def load() -> Settings:
        return load_settings(
            context,
            listen=tuple(listen) if listen else None,
            allow_anonymous=allow_anonymous or None,
            log_format=log_format,
            user=user,
            frontend=frontend,
            fabric=fabric,
        )

    status = serving.run(load(), on_ready=announce, reload=load)
    raise typer.Exit(status)


def announce(ready: ReadyInfo) -> None:
    """Say where the library can be reached, at once even into a pipe."""
    for portal in ready.portals:
        typer.echo(f"serving {len(ready.targets)} targets on {portal}")
    sys.stdout.flush()


def sync(
    context: typer.Context,
    until_idle: Annotated[
        bool,
        typer.Option("--until-idle", help="Go on until no tape is on its way and all is uploaded."),
    ] = False,
    timeout: Timeout = None,
    output: Output = None,
) -> None:
    """Upload, archive, retrieve and delete what is due, once.

    What `tapectl serve` does all the time, for cron, where it does not run; refused while it runs.
    """
    from tapectl.gateway.status import gateway_status
    from tapectl.serve.transfer import run_sync

    with open_gateway(context) as (state, settings):
        done: list[int] = []
        report = run_sync(settings, on_progress=lambda passed: done.append(passed.done))
        if until_idle and report.waiting:

            def look() -> Progress:
                found = gateway_status(state)
                words = {status.value for status in found.tapes_by_status}
                left = sorted(words & UNDER_WAY)
                uploads = f"{format_size(found.waiting_bytes)} to upload"
                return Progress(
                    done=not left and not found.waiting_bytes,
                    percent=None,
                    text=", ".join([*left, uploads]),
                )

            wait_until(settings, look, what="sync", timeout_s=timeout)
            report = run_sync(settings, on_progress=lambda passed: done.append(passed.done))
        found = gateway_status(state)
    row = {
        "Done": sum(done),
        "Waiting": report.waiting,
        "WaitingSegments": found.waiting_segments,
        "WaitingBytes": found.waiting_bytes,
    }
    render_record(row, SYNC_COLUMNS, output=output)


UNDER_WAY = frozenset({"CREATING", "IN TRANSIT TO VTS", "ARCHIVING", "RETRIEVING", "DELETING"})
"""Statuses of tapes that the transfer engine has yet to finish with."""
