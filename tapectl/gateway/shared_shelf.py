"""The shelf of all gateways of a bucket: what lies there, and a tape that comes from it to here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tapectl.gateway.barcodes import check_barcode
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.owned_tapes import read_owned
from tapectl.gateway.recovery import restore
from tapectl.gateway.recovery_points import WhichPoint, latest_number, read_point
from tapectl.gateway.restoration import RestoreRequest
from tapectl.gateway.shelf import check_tier, retrieve_tape
from tapectl.gateway.tape_info import TapeInfo
from tapectl.gateway.tapes import describe_tape
from tapectl.gateway.transfer.bucket_marker import require_known
from tapectl.medium.manifest import ManifestHead
from tapectl.state import gateways, tapes
from tapectl.state.database import State
from tapectl.store.interface import (
    ObjectNotFoundError,
    ObjectStore,
    RetrievalTier,
    StoreDataError,
)

_REQUESTS = 16


def retrieve_from_any_shelf(
    state: State,
    barcode: str,
    tier: RetrievalTier | str = RetrievalTier.STANDARD,
    *,
    open_store: Callable[[], ObjectStore],
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> TapeInfo:
    """Ask for an archived tape, of this gateway or from the shelf of another one.

    A tape of another gateway becomes one of this gateway first, which waits for the store.
    Raises as `retrieve_tape` does, and GatewayStateError (its gateway has not archived it),
    NotRestorableError (another gateway was faster), StoreError; nothing has changed then.
    """
    check_barcode(barcode)
    check_tier(tier, None)
    with state.read() as db:
        known = tapes.find(db, barcode)
    if known is not None and known.moved_to is None:
        return retrieve_tape(state, barcode, tier, actor=actor, now_ms=now_ms)
    request = RestoreRequest(barcode=barcode, point=WhichPoint(), tier=tier)
    restore(state, open_store(), request, actor=actor, now_ms=now_ms)
    return describe_tape(state, barcode)


def list_other_shelves(state: State, store: ObjectStore) -> Sequence[ManifestHead]:
    """Return the tapes on the shelf of the other gateways of the bucket, by barcode: each as its
    latest recovery point has it, with the gateway that has it now.

    Waits for the store. Raises StoreError.
    """
    with state.read() as db:
        here = gateways.read_gateway(db).id
    try:
        require_known(store)
    except ObjectNotFoundError:
        return []  # no gateway has written to it yet
    with ThreadPoolExecutor(_REQUESTS) as pool:
        barcodes = [
            one.ownership.barcode
            for one in read_owned(store, None, pool)
            if one.ownership.on_shelf
            and one.ownership.deleted_ms is None
            and one.ownership.gateway_id != here
        ]

        def read(barcode: str) -> ManifestHead | None:
            try:
                return read_point(store, barcode, latest_number(store, barcode)).head
            except (ObjectNotFoundError, StoreDataError):
                return None  # deleted since, or damaged; `recovery list BARCODE` shows the others

        return [head for head in pool.map(read, barcodes) if head is not None]
