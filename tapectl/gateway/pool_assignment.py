"""A tape is assigned to another pool, as AWS's AssignTapePool does."""

from __future__ import annotations

from collections.abc import Callable

from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.barcodes import check_barcode
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.pools import find_pool
from tapectl.gateway.retention import NO_LOCK_COLUMNS, lock_columns, lock_of, pass_lock
from tapectl.gateway.tape_info import TapeInfo
from tapectl.gateway.tapes import describe_tape
from tapectl.state import events, pools, tapes
from tapectl.state.database import State
from tapectl.state.errors import TapeStatusError
from tapectl.state.pools import PoolRecord
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import Stamp, TapeRecord, Value
from tapectl.store.interface import StorageClass

TAPE_POOL_ASSIGNED = "TapePoolAssigned"

_ASSIGNABLE = frozenset(
    {
        TapeStatus.CREATING,
        TapeStatus.AVAILABLE,
        TapeStatus.IN_TRANSIT_TO_VTS,
        TapeStatus.ARCHIVED,
        TapeStatus.RETRIEVED,
        TapeStatus.RECOVERED,
    }
)


class PoolOneWayError(TapectlError):
    """Tapes that are archived in Deep Archive stay there."""

    exit_code = ExitCode.POOL
    code = "pool_one_way"
    aws_code = "NotSupported"


def assign_pool(
    state: State,
    barcode: str,
    pool: str,
    *,
    bypass_governance: bool = False,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> TapeInfo:
    """Assign a tape to a pool, by id or name; what is archived of it follows (`archive_pending`).

    An archived tape goes from GLACIER to DEEP_ARCHIVE and never back, and comes under the lock of
    its new pool at once. Raises TapeNotFoundError, PoolNotFoundError, TapeStatusError,
    TapeLockedError, PoolOneWayError.
    """
    check_barcode(barcode)
    by = Stamp(actor, now_ms())
    with state.write() as db:
        tape = tapes.get(db, barcode)
        new = find_pool(db, pool)
        old = pools.find(db, tape.pool_id)
        assert old is not None  # a foreign key
        if new.id != old.id:
            _require_assignable(tape, old, new)
            pass_lock(
                db,
                tape,
                by,
                bypass_governance=bypass_governance,
                what="assigned to another pool",
            )
            tapes.update(db, barcode, **_columns(tape, new, by.at_ms))
            detail = {"from": old.id, "to": new.id, "bypass_governance": bypass_governance}
            events.append(db, tapes.event_of(barcode, by, TAPE_POOL_ASSIGNED, detail))
    return describe_tape(state, barcode)


def _require_assignable(tape: TapeRecord, old: PoolRecord, new: PoolRecord) -> None:
    if tape.status not in _ASSIGNABLE:
        raise TapeStatusError(
            f"tape {tape.barcode} is {tape.status} and cannot be assigned to a pool",
            status=tape.status,
            hint="wait until it is ARCHIVED or RETRIEVED",
        )
    archived = tape.status is TapeStatus.ARCHIVED
    deep = old.storage_class == StorageClass.DEEP_ARCHIVE
    if archived and deep and new.storage_class != StorageClass.DEEP_ARCHIVE:
        raise PoolOneWayError(
            f"tape {tape.barcode} is archived in DEEP_ARCHIVE and cannot go to {new.storage_class}",
            hint=f"run `tapectl tape retrieve {tape.barcode}` first: a tape of the library may be"
            " in any pool",
        )


def _columns(tape: TapeRecord, new: PoolRecord, at_ms: int) -> dict[str, Value]:
    archived = tape.status is TapeStatus.ARCHIVED
    return {
        "pool_id": new.id,
        "pool_entered_at_ms": None if new.built_in else at_ms,
        "manifest_stale": 1,
        "archive_pending": int(archived or tape.archived_through_sequence is not None),
        "bypass_governance": int(tape.bypass_governance or lock_of(tape, at_ms) is not None),
        **(lock_columns(new, at_ms) if archived else NO_LOCK_COLUMNS),
    }
