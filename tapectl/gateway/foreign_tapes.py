"""A tape of another gateway becomes one of ours: taken over in the store, entered here.

Of a disabled gateway any tape; of one that lives those on its shelf.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tapectl.gateway import gateway_document
from tapectl.gateway.elements import ElementError, ElementMap
from tapectl.gateway.pool_document import PoolDocument, enter_pool, read_pool
from tapectl.gateway.quota import require_room
from tapectl.gateway.recovery_points import latest_number, read_point, read_rows
from tapectl.gateway.restoration import (
    NotRestorableError,
    Restoration,
    RestoreRequest,
    moved_event,
    restored_event,
)
from tapectl.gateway.shelf import check_tier
from tapectl.gateway.takeover import (
    NewOwner,
    TakenTape,
    enter_contents,
    take_over,
    tape_of_head,
)
from tapectl.gateway.tapes import describe_tape
from tapectl.gateway.transfer.ownership import FencedError, OwnershipObject
from tapectl.medium.manifest import Manifest, ManifestRow
from tapectl.scsi.library import ElementType
from tapectl.state import events, pools, tapes
from tapectl.state.database import State
from tapectl.state.gateways import GatewayRecord, read_gateway
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import Stamp
from tapectl.store.interface import ObjectStore

_DEFAULT_POOL = "GLACIER"


@dataclass(frozen=True, slots=True)
class ForeignTape:
    """A tape of another gateway, the point of it that is wanted, and who wants it."""

    gateway: GatewayRecord
    found: OwnershipObject
    point: Manifest
    owner: NewOwner
    by: Stamp


@dataclass(frozen=True, slots=True)
class Found:
    """A tape that is ours, its log, and its pool if that is a custom one."""

    taken: TakenTape
    rows: Sequence[ManifestRow]
    pool: PoolDocument | None


def recover_foreign(
    state: State, store: ObjectStore, request: RestoreRequest, foreign: ForeignTape
) -> Restoration:
    """Take over a tape of a disabled gateway, or from the shelf of another one, and enter it here;
    with a tier its retrieval begins."""
    old, on_shelf = foreign.found.ownership.gateway_id, foreign.found.ownership.on_shelf
    latest = latest_number(store, request.barcode, foreign.point.head.number)
    if old != foreign.gateway.id:
        document = gateway_document.read_gateway(store, old).document
        if document.disabled_ms is None:
            _require_retrievable(foreign, latest)
    # Where its data is now, whatever it was at that point.
    last = read_point(store, request.barcode, latest) if latest else foreign.point
    archived = on_shelf or last.head.archived_through is not None
    status = TapeStatus.ARCHIVED if archived else TapeStatus.RECOVERED
    pool = read_pool(store, last.head.pool)
    with state.read() as db:
        _place(db, request, status)
        require_room(db, 1, foreign.point.head.size_bytes)
        known_pool = pools.find(db, last.head.pool)
    if request.tier is not None:
        if not archived:
            raise NotRestorableError(
                f"tape {request.barcode} of gateway {old} is not on the shelf",
                hint=f"run `tapectl recovery restore {request.barcode}`",
            )
        its_pool = pool or known_pool
        check_tier(request.tier, None if its_pool is None else its_pool.storage_class)
    if request.dry_run:
        return Restoration(foreign.point.head, old, status, None)
    try:
        taken = take_over(
            store,
            foreign.found,
            foreign.owner,
            point=None if latest == foreign.point.head.number else foreign.point,
            status=status,
            known_number=latest,
        )
    except FencedError as error:
        raise NotRestorableError(str(error), hint="another gateway was faster") from error
    pool = read_pool(store, taken.head.pool)
    _enter(state, request, foreign, Found(taken, read_rows(store, taken.point), pool))
    return Restoration(foreign.point.head, old, status, describe_tape(state, request.barcode))


def _enter(
    state: State,
    request: RestoreRequest,
    foreign: ForeignTape,
    found: Found,
) -> None:
    taken, pool = found.taken, found.pool
    head, ownership, by = taken.head, taken.owned.ownership, foreign.by
    status = TapeStatus(head.status)
    with state.write() as db:
        if pool is not None:
            enter_pool(db, pool)
        address = _place(db, request, status)
        tape = tape_of_head(
            head, created_ms=ownership.created_ms, status=status, status_ms=by.at_ms
        )
        tape = replace(
            tape,
            element_address=address,
            store_epoch=ownership.epoch,
            store_etag=taken.owned.etag,
            on_shelf=ownership.on_shelf,
        )
        if pools.find(db, head.pool) is None:
            tape = replace(tape, pool_id=_DEFAULT_POOL)
        tapes.insert_back(db, tape, by)
        enter_contents(db, tape, taken, found.rows)
        old = foreign.found.ownership.gateway_id
        if request.tier is None:
            events.append(db, restored_event(head.barcode, by, foreign.point.head, old))
        else:
            events.append(db, moved_event(head.barcode, by, old))
            tier = check_tier(request.tier, None)
            tapes.transition(db, head.barcode, TapeStatus.RETRIEVING, by, retrieval_tier=tier)


def _require_retrievable(foreign: ForeignTape, latest: int) -> None:
    """Raise GatewayStateError unless a tape of a gateway that lives is on its shelf."""
    barcode, old = foreign.found.ownership.barcode, foreign.found.ownership.gateway_id
    if not foreign.found.ownership.on_shelf:
        raise gateway_document.GatewayStateError(
            f"tape {barcode} belongs to gateway {old}, which is not disabled, and is not on its"
            " shelf",
            hint=f"`tapectl tape eject {barcode}` there archives it; if that gateway is gone for"
            f" good, run `tapectl gateway disable {old}` first",
        )
    if foreign.point.head.number != latest:
        raise NotRestorableError(
            f"tape {barcode} is on the shelf of gateway {old}, and comes from there as it is",
            hint=f"run `tapectl tape retrieve {barcode}` first, then restore the recovery point",
        )


def _place(db: sqlite3.Connection, request: RestoreRequest, status: TapeStatus) -> int | None:
    """Return the element the tape comes to, None for one on the shelf; raise ElementError."""
    if status is TapeStatus.ARCHIVED:
        return None
    elements, occupied = ElementMap.of(read_gateway(db)), tapes.occupied_elements(db)
    if request.to_element is not None:
        address = elements.parse(request.to_element)
        kind = elements.type_of(address)
        if kind not in (ElementType.STORAGE, ElementType.IMPORT_EXPORT) or address in occupied:
            raise ElementError(f"{elements.name(address)} is not a free slot")
        return address
    free = elements.first_free(ElementType.IMPORT_EXPORT, occupied)
    if not (free := free or elements.first_free(ElementType.STORAGE, occupied)):
        raise ElementError("no slot is free", hint="move or eject another tape first")
    return free[0]
