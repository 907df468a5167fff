"""`tapectl tape assign-pool`: a tape goes into another pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from tapectl.cli.options import (
    Barcode,
    BypassGovernance,
    Output,
    PoolName,
    Timeout,
    Wait,
    examples,
)
from tapectl.cli.session import actor, change_gateway, open_gateway
from tapectl.cli.tape_rows import render_tape
from tapectl.cli.waiting import Progress, require_wait, wait_until

if TYPE_CHECKING:
    from tapectl.gateway.settings import Settings
    from tapectl.gateway.tape_info import TapeInfo
    from tapectl.state.database import State


def register(app: typer.Typer) -> None:
    """Put the command among those of `tape`."""
    app.command(
        "assign-pool",
        epilog=examples(
            ("tapectl tape assign-pool VTL001L5 ledger", "by the name of the pool, or its id"),
            (
                "tapectl tape assign-pool VTL001L5 DEEP_ARCHIVE --wait",
                "an archived tape moves in the store: hours, on Amazon S3",
            ),
            (
                "tapectl tape assign-pool VTL001L5 GLACIER --bypass-governance-retention",
                "out of a GOVERNANCE lock",
            ),
        ),
    )(assign)


def assign(
    context: typer.Context,
    barcode: Barcode,
    pool: PoolName,
    bypass_governance_retention: BypassGovernance = False,
    wait: Wait = False,
    timeout: Timeout = None,
    output: Output = None,
) -> None:
    """Assign a tape to another pool.

    In the library at any time. An archived tape comes under the lock of its new pool at once, and
    its data follows into the storage class: from GLACIER to DEEP_ARCHIVE, never back. A locked tape
    stays where it is.
    """
    from tapectl.gateway.pool_assignment import assign_pool

    require_wait(wait, timeout)
    with change_gateway(context) as (state, _):
        tape = assign_pool(
            state, barcode, pool, bypass_governance=bypass_governance_retention, actor=actor()
        )
    if wait:
        with open_gateway(context) as (state, settings):
            tape = _wait(state, settings, barcode, timeout)
    render_tape(tape, output)


def _wait(state: State, settings: Settings, barcode: str, timeout_s: float | None) -> TapeInfo:
    """Return the tape when what is archived of it is in its pool; one of the library, at once."""
    from tapectl.gateway.tapes import describe_tape
    from tapectl.state.tape_status import TapeStatus

    def look() -> Progress:
        tape = describe_tape(state, barcode)
        if not tape.archive_pending or tape.status is not TapeStatus.ARCHIVED:
            return Progress(done=True, percent=100, text=tape.pool_name)
        text = tape.status_detail or f"on its way into {tape.pool_name}"
        return Progress(done=False, percent=tape.progress, text=text)

    wait_until(settings, look, what=f"{barcode} → pool", timeout_s=timeout_s)
    return describe_tape(state, barcode)
