"""`tapectl disk drain` and `disk remove`: a disk goes, what it holds stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tapectl.cli.asking import confirm
from tapectl.cli.disk_rows import LIST_COLUMNS, disk_row
from tapectl.cli.options import Disk, DryRun, Output, Timeout, Wait, Yes, examples
from tapectl.cli.render import Column, Row, render_record, show_list, show_size, show_yes
from tapectl.cli.session import actor, change_gateway, open_gateway
from tapectl.cli.waiting import Progress, require_wait, wait_until
from tapectl.units import format_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from tapectl.gateway.disk_removal import RemovalPlan
    from tapectl.state.database import State

# fmt: off
REMOVAL_COLUMNS = (
    Column("DiskId", "Disk"),
    Column("DiskAllocationType", "Allocation"),
    Column("DiskPath", "Path"),
    Column("UsedInBytes", "Held", show_size, right=True),
    Column("SingleCopyTapes", "One copy until uploaded", show_list),
    Column("LostTapes", "Lost in part", show_list),
    Column("DryRun", "Nothing was done", show_yes),
)
# fmt: on


def register(disk: typer.Typer) -> None:
    """Add the commands to the noun."""
    disk.command(
        "drain",
        epilog=examples(
            ("tapectl disk drain disk-1f2e3d4c --wait", "until it can be removed"),
            ("tapectl disk drain /mnt/cache --cancel", "use it again"),
        ),
    )(drain)
    disk.command(
        "remove",
        epilog=examples(
            ("tapectl disk remove disk-1f2e3d4c", "one that has been drained"),
            ("tapectl disk remove disk-1f2e3d4c --force --dry-run", "which tapes need a lost one?"),
            ("tapectl disk remove disk-1f2e3d4c --force --yes", "give a lost one up"),
        ),
    )(remove)


def drain(
    context: typer.Context,
    disk: Disk,
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Use it again; what has left it stays where it is.")
    ] = False,
    wait: Wait = False,
    timeout: Timeout = None,
    output: Output = None,
) -> None:
    """Take a disk out of use.

    Nothing new goes to it, and what only it holds goes elsewhere. What is in the store is dropped
    from it, what is not moves to another disk of the same role or is uploaded. Tapes are written
    and read meanwhile. `tapectl serve` does it, or `tapectl sync`. It has to have another disk of
    its role beside it.
    """
    from tapectl.errors import UsageError
    from tapectl.gateway.disk_draining import cancel_drain, drain_disk
    from tapectl.gateway.disk_list import show_disk

    if cancel and wait:
        raise UsageError("there is nothing to wait for with --cancel", hint="leave --wait away")
    require_wait(wait, timeout)
    begin = cancel_drain if cancel else drain_disk
    with change_gateway(context) as (state, _):
        found = begin(state, disk, actor=actor())
    if wait:
        with open_gateway(context) as (state, settings):
            wait_until(
                settings,
                _looker(state, found.disk_id),
                what=f"draining {found.disk_id}",
                timeout_s=timeout,
            )
            found = show_disk(state, found.disk_id)
    render_record(disk_row(found), LIST_COLUMNS, output=output)


def _looker(state: State, disk_id: str) -> Callable[[], Progress]:
    """Return what says how far a drain is, measured from now on."""
    from tapectl.gateway.disk_draining import drain_progress

    begun_bytes = drain_progress(state, disk_id).bytes

    def look() -> Progress:
        left = drain_progress(state, disk_id)
        text = f"{format_size(left.bytes)} in {left.segments} segments left"
        if left.unsealed:
            text += f", {show_list(left.unsealed)} still written"
        gone = 1 - left.bytes / begun_bytes if begun_bytes else 1.0
        return Progress(done=left.done, percent=100 * max(0.0, gone), text=text)

    return look


def remove(
    context: typer.Context,
    disk: Disk,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Give up a disk that is lost or failing, with what only it held."
        ),
    ] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    output: Output = None,
) -> None:
    """Forget a disk.

    One that has been drained, or with --force one that is lost. Nothing that is on another disk or
    in the store is lost by it, and a disk with the only copy of something is not removed while that
    can be read. Segments that stay with one copy get another by `tapectl check --repair`, once
    there is a disk for it. The directory stays, and so does a mount.
    """
    from tapectl.gateway.disk_removal import check_removal, plan_removal, remove_disk

    with open_gateway(context) as (state, _):
        plan = plan_removal(state, disk)
        check_removal(state, plan, force=force)
    if not dry_run:
        if not plan.drained:
            _tell(plan)
            confirm(f"Remove {plan.disk.id} ({plan.disk.path})?", yes=yes)
        with change_gateway(context) as (state, _):
            remove_disk(state, plan, force=force, actor=actor())
    render_record(_removal_row(plan, dry_run=dry_run), REMOVAL_COLUMNS, output=output)


def _tell(plan: RemovalPlan) -> None:
    """Say on standard error what a forced removal costs."""
    if plan.lost:
        typer.echo(f"no other copy is there of segments of {show_list(plan.lost)}", err=True)
    if plan.single_copy:
        tapes = show_list(plan.single_copy)
        typer.echo(f"one copy until they are uploaded have segments of {tapes}", err=True)
    if not plan.lost and not plan.single_copy:
        typer.echo("no tape depends on it", err=True)


def _removal_row(plan: RemovalPlan, *, dry_run: bool) -> Row:
    return {
        "DiskId": plan.disk.id,
        "DiskPath": str(plan.disk.path),
        "DiskAllocationType": plan.disk.role.value,
        "UsedInBytes": plan.contents.bytes,
        "SingleCopyTapes": list(plan.single_copy),
        "LostTapes": list(plan.lost),
        "DryRun": dry_run,
    }
