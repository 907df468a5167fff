"""`tapectl gateway set|stop|deactivate`: the gateway of this machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli.asking import confirm
from tapectl.cli.gateway import GATEWAY_COLUMNS, QUOTA_COLUMNS, gateway_row, quota_row
from tapectl.cli.options import Output, Timeout, Yes, examples
from tapectl.cli.render import Column, Row, render_record, show_yes
from tapectl.cli.session import actor, change_gateway, open_gateway
from tapectl.cli.waiting import POLL_INTERVAL_S, WaitTimeoutError
from tapectl.errors import UsageError
from tapectl.units import parse_size

if TYPE_CHECKING:
    from tapectl.gateway.deactivation import Deactivation

# fmt: off
SET_COLUMNS = (*GATEWAY_COLUMNS[:2], Column("GatewayTimezone", "Time zone"), *QUOTA_COLUMNS)
DEACTIVATED_COLUMNS = (
    Column("GatewayId", "Gateway"),
    Column("Tapes", "Tapes kept in the store"),
    Column("StatePath", "State file now"),
    Column("DryRun", "Nothing was done", show_yes),
)
# fmt: on


def register(gateway: typer.Typer) -> None:
    """Add the commands to the noun."""
    gateway.command(
        "set",
        epilog=examples(
            ("tapectl gateway set --name basement", "another name"),
            ("tapectl gateway set --timezone GMT-5:00", "for bandwidth schedules"),
            ("tapectl gateway set --tapes-max 5000 --capacity-max 4PiB", "more than AWS takes"),
        ),
    )(set_)
    gateway.command(
        "stop",
        epilog=examples(
            ("tapectl gateway stop", "as SIGTERM; returns when it has"),
            ("tapectl gateway stop --timeout 60", "or after a minute, with exit status 54"),
        ),
    )(stop)
    gateway.command(
        "deactivate",
        epilog=examples(
            ("tapectl gateway deactivate --dry-run", "see what it would come to"),
            ("tapectl gateway deactivate --yes", "the end of this gateway, for good"),
        ),
    )(deactivate)


def set_(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", show_default="stays as it is", help="Name for people."
        ),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(
            "--timezone",
            metavar="ZONE",
            show_default="stays as it is",
            help="GMT, GMT-5:00, GMT+10:30, ...",
        ),
    ] = None,
    tapes_max: Annotated[
        int | None,
        typer.Option(
            "--tapes-max",
            metavar="N",
            show_default="stays as it is; 1500 at first",
            help="How many tapes the library takes; those on the shelf do not count.",
        ),
    ] = None,
    capacity_max: Annotated[
        str | None,
        typer.Option(
            "--capacity-max",
            metavar="SIZE",
            show_default="stays as it is; 1PiB at first",
            help="How large they may be together.",
        ),
    ] = None,
    output: Output = None,
) -> None:
    """Change name, time zone or quotas of the gateway.

    A running `tapectl serve` goes on, and tells the bucket of name and time zone.
    """
    from tapectl.gateway.identity_change import change_identity
    from tapectl.gateway.quota import set_quota

    if all(given is None for given in (name, timezone, tapes_max, capacity_max)):
        options = "--name, --timezone, --tapes-max, --capacity-max"
        raise UsageError("say what is to change", hint=options)
    size_bytes = None if capacity_max is None else parse_size(capacity_max)
    with change_gateway(context) as (state, settings):
        quota = set_quota(state, tapes=tapes_max, size_bytes=size_bytes, actor=actor())
        gateway = change_identity(state, name=name, timezone=timezone, actor=actor())
    row = {**gateway_row(gateway, settings), **quota_row(quota)}
    render_record(row, SET_COLUMNS, output=output)


def stop(
    context: typer.Context,
    timeout: Timeout = None,
    keep_target: Annotated[
        bool,
        typer.Option(
            "--keep-target",
            help="Leave the kernel's target in place: its initiators wait for the next `tapectl"
            " serve` and do not notice.",
        ),
    ] = False,
) -> None:
    """Stop serving: sessions end, what was written is synchronised.

    With --keep-target, of `serve --frontend lio`, sessions go on: for an upgrade of tapectl.
    Uploads go on at the next start. Returns when the last process is gone. Where nothing is served
    there is nothing to do.
    """
    from tapectl.serve.client import connect
    from tapectl.serve.lock import lock_owner

    with open_gateway(context) as (_, settings):
        supervisor = connect(settings.state_path)
        if supervisor is None:
            return
        with supervisor:
            supervisor.request("stop", keep_target=keep_target, actor=actor())
        deadline = None if timeout is None else time.monotonic() + timeout
        while lock_owner(settings.state_path) is not None:
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeoutError(
                    f"gave up waiting after {timeout:g} s: the gateway drains",
                    hint="it goes on; initiators may take their time to log out",
                )
            time.sleep(POLL_INTERVAL_S)


def deactivate(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would come to, and change nothing.")
    ] = False,
    yes: Yes = False,
    output: Output = None,
) -> None:
    """End the gateway of this machine for good.

    As AWS's DeleteGateway does. Refused while it is served, while a tape is on its way or
    RETRIEVED, and while anything is not in the object store. Its tapes stay there: others can
    recover them. Its disks are emptied and given back, and its state file steps aside, so that
    another gateway can be activated here.
    """
    from tapectl.gateway.activation import describe_gateway
    from tapectl.gateway.deactivation import deactivate as deactivate_gateway
    from tapectl.gateway.deactivation import plan_deactivation
    from tapectl.gateway.stores import open_store
    from tapectl.serve.lock import serve_lock
    from tapectl.serve.transfer import run_sync

    with open_gateway(context) as (state, settings):
        gateway = describe_gateway(state)
        if dry_run:
            render_record(
                _deactivated_row(plan_deactivation(state), dry_run=True),
                DEACTIVATED_COLUMNS,
                output=output,
            )
            return
        confirm(f"End gateway {gateway.id} ({gateway.name}) for good?", yes=yes)
        # What a drive left open when it died is known and uploaded only by this.
        run_sync(settings)
        with serve_lock(settings.state_path, "deactivate", wait_s=2.0):
            done = deactivate_gateway(state, open_store(gateway, settings), actor=actor())
    render_record(_deactivated_row(done, dry_run=False), DEACTIVATED_COLUMNS, output=output)


def _deactivated_row(done: Deactivation, *, dry_run: bool) -> Row:
    """Return the JSON object of a deactivation; docs/json-output.md says what each key means."""
    return {
        "GatewayId": done.gateway_id,
        "Tapes": done.tapes,
        "StatePath": str(done.state_path),
        "DryRun": dry_run,
    }
