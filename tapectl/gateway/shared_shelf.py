"""The shelf of all gateways of a bucket: what lies there, and a tape that comes from it to here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.barcodes import check_barcode
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.elements import ElementMap
from tapectl.gateway.owned_tapes import read_owned
from tapectl.gateway.pool_document import read_pool
from tapectl.gateway.pools import PoolNotFoundError
from tapectl.gateway.recovery import restore
from tapectl.gateway.recovery_points import WhichPoint, latest_number, read_point
from tapectl.gateway.restoration import RestoreRequest
from tapectl.gateway.shelf import check_tier, list_archive, retrieve_tape
from tapectl.gateway.takeover import tape_of_head
from tapectl.gateway.tape_info import TapeInfo, tape_info
from tapectl.gateway.tapes import describe_tape
from tapectl.gateway.transfer.bucket_marker import require_known
from tapectl.gateway.transfer.ownership import Ownership
from tapectl.medium.manifest import ManifestHead
from tapectl.state import tapes
from tapectl.state.database import State
from tapectl.state.gateways import GatewayRecord
from tapectl.state.overwritten import OverwrittenTotals
from tapectl.state.pools import PoolRecord
from tapectl.state.tape_status import TapeStatus
from tapectl.store.interface import (
    ObjectNotFoundError,
    ObjectStore,
    RetrievalTier,
    StoreDataError,
)

_REQUESTS = 16


@dataclass(frozen=True, slots=True)
class ShelfTape:
    """A tape on the shelf, and the gateway that has it."""

    gateway_id: str
    tape: TapeInfo


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


def list_shelves(
    state: State, store: ObjectStore, *, pool_id: str | None = None, barcode: str | None = None
) -> Sequence[ShelfTape]:
    """Return the tapes on the shelf of this gateway, retrieved ones included, and those that can be
    retrieved from the shelves of the other gateways of the bucket; by barcode.

    `barcode` is a glob, `pool_id` may be the name of a pool. Waits for the store. Raises
    PoolNotFoundError, StoreError.
    """
    gateway = describe_gateway(state)
    others = [
        one
        for one in _other_shelves(store, gateway)
        if pool_id in (None, one.tape.pool_id, one.tape.pool_name)
        and (barcode is None or fnmatchcase(one.tape.barcode, barcode))
    ]
    try:
        own = list_archive(state, pool_id=pool_id, barcode=barcode)
    except PoolNotFoundError:
        if not others:
            raise
        own = []  # a pool of other gateways
    found = [*(ShelfTape(gateway.id, tape) for tape in own), *others]
    return sorted(found, key=lambda one: one.tape.barcode)


def _other_shelves(store: ObjectStore, gateway: GatewayRecord) -> Sequence[ShelfTape]:
    try:
        require_known(store)
    except ObjectNotFoundError:
        return []  # no gateway has written to it yet
    with ThreadPoolExecutor(_REQUESTS) as executor:
        shelved = [
            one.ownership
            for one in read_owned(store, None, executor)
            if one.ownership.on_shelf
            and one.ownership.deleted_ms is None
            and one.ownership.gateway_id != gateway.id
        ]

        def read(ownership: Ownership) -> ManifestHead | None:
            number = latest_number(store, ownership.barcode)
            try:
                return read_point(store, ownership.barcode, number).head
            except (ObjectNotFoundError, StoreDataError):
                return None  # deleted since, or damaged; `recovery list BARCODE` shows the others

        heads = list(executor.map(read, shelved))
        named = sorted({head.pool for head in heads if head is not None})
        pools = dict(zip(named, executor.map(lambda one: _pool(store, one), named), strict=True))
    return [
        ShelfTape(one.gateway_id, _info(gateway, one, head, pools[head.pool]))
        for one, head in zip(shelved, heads, strict=True)
        if head is not None
    ]


def _pool(store: ObjectStore, pool_id: str) -> PoolRecord:
    """Return a pool as the store has it; of a built-in one only the name matters here."""
    document = read_pool(store, pool_id)
    if document is not None:
        return document.record()
    return PoolRecord(id=pool_id, name=pool_id, storage_class=pool_id, created_at_ms=0)


def _info(
    gateway: GatewayRecord, ownership: Ownership, head: ManifestHead, pool: PoolRecord
) -> TapeInfo:
    tape = tape_of_head(
        head,
        created_ms=ownership.created_ms,
        status=TapeStatus.ARCHIVED,
        status_ms=head.created_ms,
    )
    return tape_info(
        gateway,
        ElementMap.of(gateway),
        replace(tape, archive_pending=False),
        waiting_bytes=0,
        overwritten=OverwrittenTotals(),
        cleanings_left=None,
        verification=None,
        pool=pool,
    )
