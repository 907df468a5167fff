"""Recovery points as users see them: listed, restored here, or a tape of a dead gateway taken over.

An own tape goes back to how it was by one small change of its volume record, from which the
transfer engine makes a new recovery point; nothing is destroyed by it, and it can be undone
likewise. A tape of a disabled gateway, or from the shelf of any, gets another owner first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tapectl.errors import UsageError
from tapectl.gateway import gateway_document
from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.barcodes import check_barcode
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.foreign_tapes import ForeignTape, recover_foreign
from tapectl.gateway.owned_tapes import read_owned
from tapectl.gateway.points_in_time import zone_of
from tapectl.gateway.recovery_points import (
    RecoveryPointNotFoundError,
    find_point,
    latest_number,
    read_point,
    read_points,
    restorable_numbers,
)
from tapectl.gateway.restoration import Restoration, RestoreRequest
from tapectl.gateway.takeover import NewOwner
from tapectl.gateway.tape_creation import TapeExistsError
from tapectl.gateway.transfer.bucket_marker import require_known
from tapectl.gateway.transfer.ownership import OwnershipObject, read_ownership
from tapectl.gateway.undo import undo
from tapectl.medium.manifest import ManifestHead
from tapectl.state import gateways, tapes
from tapectl.state.database import State
from tapectl.state.errors import TapeNotFoundError
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
            raise TapeNotFoundError(barcode) from None
        return []  # no gateway has written to it yet
    with ThreadPoolExecutor(_REQUESTS) as pool:
        if barcode is not None:
            _find_owner(store, barcode)
            numbers = restorable_numbers(store, barcode)
            chosen = numbers if all_points else numbers[-_POINTS_SHOWN:]
            return read_points(store, barcode, chosen[::-1], pool)
        if gateway_id is not None:
            gateway_document.read_gateway(store, gateway_id)
        owned = [one.ownership.barcode for one in read_owned(store, gateway_id, pool)]
        found: list[ManifestHead] = []
        if all_points:
            for code in owned:
                found += read_points(store, code, restorable_numbers(store, code)[::-1], pool)
            return found
        for heads in pool.map(lambda code: _latest(store, code), owned):
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
    found = _find_owner(store, request.barcode)
    point = find_point(store, found.ownership, request.point, zone_of(gateway.timezone))
    if point.head.tape_uuid != found.ownership.tape_uuid:
        raise RecoveryPointNotFoundError(f"{request.barcode} was another tape at that point")
    by = Stamp(actor, now_ms())
    if known is not None and known.status is not TapeStatus.DELETED:
        if request.to_element is not None:
            raise UsageError("only a tape of another gateway can be restored to an element")
        return undo(state, store, known, point, by, dry_run=request.dry_run)
    if known is not None and known.moved_to is None:
        raise TapeExistsError(f"barcode {request.barcode} belonged to a tape deleted here")
    owner = NewOwner(gateway_id=gateway.id, gateway_epoch=standing.store_epoch, now_ms=by.at_ms)
    return recover_foreign(state, store, request, ForeignTape(gateway, found, point, owner, by))


def _latest(store: ObjectStore, barcode: str) -> Sequence[ManifestHead]:
    """Return the latest recovery point of a tape, nothing if it has none."""
    number = latest_number(store, barcode)
    try:
        return [read_point(store, barcode, number).head] if number else []
    except StoreDataError:
        return []  # damaged; `recovery list BARCODE` shows the others


def _find_owner(store: ObjectStore, barcode: str) -> OwnershipObject:
    try:
        found = read_ownership(store, barcode)
    except ObjectNotFoundError:
        raise TapeNotFoundError(barcode) from None
    if found.ownership.deleted_ms is not None:
        raise TapeNotFoundError(barcode)
    return found
