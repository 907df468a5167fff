"""`check --repair`: what has a repair is repaired, and then everything is looked at again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from tapectl.errors import TapectlError
from tapectl.gateway.check.repairs import NotRepairedError, PlannedRepair, Repairs
from tapectl.gateway.check.run import CheckReport, CheckRequest, Repair, check_gateway
from tapectl.gateway.check.view import Serving, look
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.settings import Settings
from tapectl.gateway.stores import open_store
from tapectl.gateway.transfer.context import TransferContext
from tapectl.gateway.transfer.ownership import FencedError
from tapectl.medium.errors import MediumFormatError
from tapectl.scsi.cartridge import CartridgeError
from tapectl.state import events
from tapectl.state.database import State
from tapectl.state.gateways import read_gateway
from tapectl.store.interface import ObjectStore

CHECK_REPAIRED = "CheckRepaired"

# A repair may show another: what is sealed now may lack a second copy.
_ROUNDS_MAX = 3
# What a repair may meet; anything else is a bug.
_FAILURES = (
    NotRepairedError,
    TapectlError,
    CartridgeError,
    MediumFormatError,
    FencedError,
    OSError,
)


def repair_gateway(
    state: State,
    settings: Settings,
    request: CheckRequest,
    *,
    serving: Serving,
    dry_run: bool = False,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
    store: ObjectStore | None = None,
) -> CheckReport:
    """Repair what can be, and return what is left, with what was done or, in a dry run, would be.

    Where nothing serves, the caller holds the lock that keeps it so. May be run again at any time,
    and be cut off at any instant. Raises the errors of a state that cannot be read at all.
    """
    with state.read() as db:
        gateway = read_gateway(db)
    store = store or open_store(gateway, settings)
    done: list[Repair] = []
    with ThreadPoolExecutor(1) as pool:
        context = TransferContext(state, store, settings, gateway, now_ms, pool, threading.Event())
        for _ in range(1 if dry_run else _ROUNDS_MAX):
            view = look(
                state,
                settings,
                serving=serving,
                store=store if request.store else None,
                now_ms=now_ms(),
                deep=request.deep,
            )
            tried = {(one.code, one.subject, one.what) for one in done}
            found = [
                _make(planned, context, actor, dry_run=dry_run)
                for planned in Repairs(view, context).plan()
                if (planned.code, planned.subject, planned.what) not in tried
            ]
            done += found
            if not any(one.done for one in found):
                break
    report = check_gateway(state, settings, request, serving=serving, now_ms=now_ms, store=store)
    return replace(report, repairs=done)


def _make(planned: PlannedRepair, context: TransferContext, actor: str, *, dry_run: bool) -> Repair:
    """Make one repair; what stands in its way is its own matter, and stops no other."""
    repair = Repair(
        code=planned.code,
        subject_type=planned.subject_type,
        subject=planned.subject,
        what=planned.what,
        done=False,
    )
    if dry_run:
        return repair
    try:
        planned.run()
    except _FAILURES as exc:
        return replace(repair, reason=str(exc))
    event = events.NewEvent(
        at_ms=context.now_ms(),
        actor=actor,
        subject_kind=planned.subject_type,
        subject_id=planned.subject,
        type=CHECK_REPAIRED,
        detail={"code": planned.code, "what": planned.what},
    )
    with context.state.write() as db:
        events.append(db, event)
    return replace(repair, done=True)
