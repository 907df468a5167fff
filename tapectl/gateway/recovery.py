"""Recovery points as users see them: listed, restored here, or a tape of a dead gateway taken over.

An own tape goes back to how it was by one small change of its volume record, from which the
transfer engine makes a new recovery point; nothing is destroyed by it, and it can be undone
likewise. A tape of a disabled gateway, or from the shelf of any, gets another owner first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from tapectl.errors import UsageError
from tapectl.gateway import gateway_document
from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.barcodes import check_barcode
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.foreign_tapes import ForeignTape, recover_foreign
from tapectl.gateway.owned_tapes import read_owned
from tapectl.gateway.points_in_time import zone_of
from tapectl.gateway.recovery_points import (
    blank_point,
    find_owner,
    find_point,
    latest_number,
    not_in_store,
    read_point,
    read_points,
    restorable_numbers,
)
from tapectl.gateway.restoration import Restoration, RestoreRequest
from tapectl.gateway.takeover import NewOwner
from tapectl.gateway.tape_creation import TapeExistsError
from tapectl.gateway.transfer.bucket_marker import require_known
from tapectl.gateway.transfer.ownership import Ownership
from tapectl.gateway.undo import undo
from tapectl.medium.manifest import ManifestHead
from tapectl.state import gateways, tapes
from tapectl.state.database import State
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import Stamp
from tapectl.store.interface import ObjectNotFoundError, ObjectStore, StoreDataError

_REQUESTS = 16
_POINTS_SHOWN = 20


def list_points(
    store: ObjectStore,
    *,
    barcode: str | None = None,
    gateway_id: str | None = None,
    all_points: bool = False,
) -> Sequence[ManifestHead]:
    """Return recovery points, by tape and the latest first, from what the store has.

    Those whose data is kept: of one tape the last ones; of the tapes of a gateway, or of all
    gateways, the latest of each; with `all_points` all of them. Needs no gateway of this machine.
    Waits for the store. Raises BarcodeError, TapeNotFoundError, GatewayNotFoundError, StoreError.
    """
    if barcode is not None:
        check_barcode(barcode)
    try:
        require_known(store)
    except ObjectNotFoundError:
        if barcode is not None:
            raise not_in_store(barcode) from None
        return []  # no gateway has written to it yet
    with ThreadPoolExecutor(_REQUESTS) as pool:
        if barcode is not None:
            ownership = find_owner(store, barcode).ownership
            return _points(store, ownership, pool, None if all_points else _POINTS_SHOWN)
        if gateway_id is not None:
            gateway_document.read_gateway(store, gateway_id)
        owned = [one.ownership for one in read_owned(store, gateway_id, pool)]
        found: list[ManifestHead] = []
        if all_points:
            for ownership in owned:
                found += _points(store, ownership, pool, None)
            return found
        for heads in pool.map(lambda ownership: _latest(store, ownership), owned):
            found += heads
        return found


def restore(
    state: State,
    store: ObjectStore,
    request: RestoreRequest,
    *,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> Restoration:
    """Bring a tape back to a recovery point: an own one, or one of a disabled gateway; or take one
    from the shelf of another gateway.

    Waits for the store. Raises BarcodeError, TapeNotFoundError, RecoveryPointNotFoundError,
    TapeStatusError, TapeInDriveError, NotRestorableError, GatewayStateError, TapeLimitError,
    ElementError, StoreError; nothing has changed then.
    """
    check_barcode(request.barcode)
    gateway = describe_gateway(state)
    with state.read() as db:
        standing = gateways.read_standing(db)
        known = tapes.find(db, request.barcode)
    require_known(store)
    gateway_document.require_active(store, gateway.id, standing.store_epoch)
    found = find_owner(store, request.barcode)
    point = find_point(store, found.ownership, request.point, zone_of(gateway.timezone))
    by = Stamp(actor, now_ms())
    if known is not None and known.status is not TapeStatus.DELETED:
        if request.to_element is not None:
            raise UsageError(
                "only a tape of another gateway can be restored to an element",
                hint="a tape of this one stays where it is",
            )
        return undo(state, store, known, point, by, dry_run=request.dry_run)
    if known is not None and known.moved_to is None:
        raise TapeExistsError(
            f"barcode {request.barcode} belonged to a tape deleted here",
            hint="restore it on a gateway that never had it",
        )
    owner = NewOwner(gateway_id=gateway.id, gateway_epoch=standing.store_epoch, now_ms=by.at_ms)
    return recover_foreign(state, store, request, ForeignTape(gateway, found, point, owner, by))


def _points(
    store: ObjectStore, ownership: Ownership, pool: Executor, count: int | None
) -> Sequence[ManifestHead]:
    """Return the last recovery points of a tape, None: all of them, the latest first; the blank
    tape, which can be restored too, where nothing was written yet."""
    numbers = restorable_numbers(store, ownership.barcode)[::-1][:count]
    if not numbers:
        return [blank_point(ownership).head]
    return read_points(store, ownership.barcode, numbers, pool)


def _latest(store: ObjectStore, ownership: Ownership) -> Sequence[ManifestHead]:
    """Return the latest recovery point of a tape, as `_points`."""
    barcode = ownership.barcode
    number = latest_number(store, barcode)
    if number == 0:
        return [blank_point(ownership).head]
    try:
        return [read_point(store, barcode, number).head]
    except StoreDataError:
        return []  # damaged; `recovery list BARCODE` shows the others
