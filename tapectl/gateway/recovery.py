"""Recovery points as users see them: listed, restored here, or a tape of a dead gateway taken over.

An own tape goes back to how it was by one small change of its volume record, from which the
transfer engine makes a new recovery point; nothing is destroyed by it, and it can be undone
likewise. A tape of a disabled gateway gets another owner first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.gateway import gateway_document
from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.barcodes import check_barcode
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.elements import ElementError, ElementMap
from tapectl.gateway.owned_tapes import read_owned
from tapectl.gateway.points_in_time import zone_of
from tapectl.gateway.recovery_points import (
    RecoveryPointNotFoundError,
    WhichPoint,
    find_point,
    last_sequence,
    latest_number,
    point_numbers,
    read_point,
    read_points,
    read_rows,
)
from tapectl.gateway.takeover import NewOwner, TakenTape, enter_contents, take_over
from tapectl.gateway.tape_info import TapeInfo
from tapectl.gateway.tapes import (
    MAX_TAPES,
    MAX_TOTAL_BYTES,
    TapeExistsError,
    TapeLimitError,
    describe_tape,
    refuse_loaded,
)
from tapectl.gateway.transfer.bucket_marker import require_known
from tapectl.gateway.transfer.local_files import OPEN, SEALED, tape_folder
from tapectl.gateway.transfer.ownership import (
    FencedError,
    OwnershipObject,
    read_ownership,
    require_ownership,
)
from tapectl.medium.manifest import Manifest, ManifestHead, ManifestRow
from tapectl.scsi.library import ElementType
from tapectl.state import disks, events, gateways, pools, segments, tapes, volumes
from tapectl.state.database import State
from tapectl.state.errors import TapeNotFoundError, TapeStatusError
from tapectl.state.gateways import GatewayRecord, read_gateway
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import Stamp, TapeRecord
from tapectl.state.transfer_queries import last_sequence as last_sequence_here
from tapectl.state.transfer_queries import sequences_of_tape
from tapectl.store.interface import ObjectNotFoundError, ObjectStore
from tapectl.units import format_size

RECOVERY_POINT_RESTORED = "RecoveryPointRestored"

_REQUESTS = 16
_POINTS_SHOWN = 20
_RESTORABLE = frozenset(
    {
        TapeStatus.AVAILABLE,
        TapeStatus.RETRIEVED,
        TapeStatus.RECOVERED,
        TapeStatus.IRRECOVERABLE,
    }
)
_DEFAULT_POOL = "GLACIER"


class NotRestorableError(TapectlError):
    """The tape as it is now would be lost, or is another gateway's."""

    exit_code = ExitCode.TAPE_STATUS
    code = "not_restorable"


@dataclass(frozen=True, slots=True)
class Restoration:
    """What restoring comes to: the tape at `point`, of gateway `from_gateway`.

    `tape` is how it is afterwards, None where nothing has been done yet.
    """

    point: ManifestHead
    from_gateway: str
    status: TapeStatus
    tape: TapeInfo | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """A tape and a point of it; `to_element` is where a tape of another gateway comes to
    (`slot:5`), None for the first free import/export slot. `dry_run`: change nothing."""

    barcode: str
    point: WhichPoint
    to_element: str | None = None
    dry_run: bool = False


def list_points(
    state: State,
    store: ObjectStore,
    *,
    barcode: str | None = None,
    gateway_id: str | None = None,
    all_points: bool = False,
) -> Sequence[ManifestHead]:
    """Return recovery points, by tape and the latest first, from what the store has.

    Of one tape the last ones; of a gateway, this one unless another is named, the latest of each
    tape; with `all_points` all of them. Waits for the store. Raises BarcodeError,
    TapeNotFoundError, GatewayNotFoundError, StoreError.
    """
    if barcode is not None:
        check_barcode(barcode)
    gateway = describe_gateway(state)
    with ThreadPoolExecutor(_REQUESTS) as pool:
        if barcode is not None:
            _find_owner(store, barcode)
            numbers = point_numbers(store, barcode)
            chosen = numbers if all_points else numbers[-_POINTS_SHOWN:]
            return read_points(store, barcode, chosen[::-1], pool)
        wanted = gateway_id or gateway.id
        if wanted != gateway.id:
            gateway_document.read_gateway(store, wanted)
        owned = [one.ownership.barcode for one in read_owned(store, wanted, pool)]
        found: list[ManifestHead] = []
        if all_points:
            for code in owned:
                found += read_points(store, code, point_numbers(store, code)[::-1], pool)
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
    """Bring a tape back to a recovery point: an own one, or one of a disabled gateway.

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
        return _undo(state, store, known, point, by, dry_run=request.dry_run)
    if known is not None:
        raise TapeExistsError(f"barcode {request.barcode} belonged to a tape deleted here")
    owner = NewOwner(gateway_id=gateway.id, gateway_epoch=standing.store_epoch, now_ms=by.at_ms)
    return _recover(state, store, request, _Foreign(gateway, found, point, owner, by))


def _latest(store: ObjectStore, barcode: str) -> Sequence[ManifestHead]:
    """Return the latest recovery point of a tape, nothing if it has none."""
    number = latest_number(store, barcode)
    return [read_point(store, barcode, number).head] if number else []


def _find_owner(store: ObjectStore, barcode: str) -> OwnershipObject:
    try:
        found = read_ownership(store, barcode)
    except ObjectNotFoundError:
        raise TapeNotFoundError(barcode) from None
    if found.ownership.deleted_ms is not None:
        raise TapeNotFoundError(barcode)
    return found


def _undo(
    state: State,
    store: ObjectStore,
    known: TapeRecord,
    point: Manifest,
    by: Stamp,
    *,
    dry_run: bool,
) -> Restoration:
    """Bring an own tape back to how it was."""
    barcode = known.barcode
    gateway = describe_gateway(state)
    _require_restorable(known, ElementMap.of(gateway))
    try:
        require_ownership(store, barcode, known.store_etag)
    except FencedError as error:
        raise NotRestorableError(str(error)) from error
    lost = known.status is TapeStatus.IRRECOVERABLE
    if not lost:
        _require_nothing_left_open(state, barcode)
    undone_from = last_sequence(store, point) + 1
    status = TapeStatus.RECOVERED if lost else known.status
    if dry_run:
        return Restoration(point.head, gateway.id, status, None)
    with state.write() as db:
        tape = tapes.get(db, barcode)
        _require_restorable(tape, ElementMap.of(read_gateway(db)))
        if (tape.status is TapeStatus.IRRECOVERABLE) is not lost:
            raise NotRestorableError(f"tape {barcode} has changed just now", hint="try again")
        if not lost:
            if segments.waiting_uploads(db, barcode).segments:
                raise NotRestorableError(
                    f"what was written last to tape {barcode} is not in the store yet, and would"
                    " be no recovery point",
                    hint="wait for its upload, or run `tapectl sync`",
                )
            if barcode in volumes.changed_since_manifest(db) or tape.manifest_number == 0:
                raise NotRestorableError(
                    f"tape {barcode} has changed, and there is no recovery point of that yet",
                    hint="wait a moment, or run `tapectl sync`",
                )
        last = last_sequence_here(db, barcode) or 0
        if lost:
            # They are on no disk that can be read, and the store will never have them.
            segments.delete_waiting(db, barcode)
            tapes.transition(db, barcode, TapeStatus.RECOVERED, by)
        volume = point.head.volume.without(undone_from, last)
        volumes.put(db, barcode, volume.to_document())
        tapes.update(db, barcode, used_bytes=point.head.used_bytes)
        events.append(db, _event(barcode, by, point.head, gateway.id))
    if lost:
        _remove_unknown_files(state, barcode)
    return Restoration(point.head, gateway.id, status, describe_tape(state, barcode))


def _require_restorable(tape: TapeRecord, elements: ElementMap) -> None:
    refuse_loaded(tape, elements)
    if tape.status not in _RESTORABLE:
        hint = "wait until it is RETRIEVED"
        if tape.status is TapeStatus.ARCHIVED:
            hint = f"run `tapectl tape retrieve {tape.barcode}` first"
        raise TapeStatusError(
            f"tape {tape.barcode} is {tape.status} and cannot be restored",
            status=tape.status,
            hint=hint,
        )
    if tape.worm and not tape.write_protected:
        raise NotRestorableError(
            f"tape {tape.barcode} is write once, read many: what was written on it stays",
        )


def _require_nothing_left_open(state: State, barcode: str) -> None:
    """Refuse a tape of which the disks hold more than the state knows: it would come after what
    is restored, and is part of no recovery point."""
    with state.read() as db:
        roots = [disk.path for disk in disks.all_disks(db)]
        known = sequences_of_tape(db, barcode)
    for path in (path for root in roots for path in tape_folder(root, barcode).glob("*")):
        unknown = path.suffix == SEALED and path.stem.isdigit() and int(path.stem) not in known
        if path.suffix == OPEN or unknown:
            raise NotRestorableError(
                f"the disks hold more of tape {barcode} than has been entered",
                hint=f"run `tapectl tape load {barcode}` and unload it again",
            )


def _remove_unknown_files(state: State, barcode: str) -> None:
    with state.read() as db:
        roots = [disk.path for disk in disks.all_disks(db)]
        known = sequences_of_tape(db, barcode)
    for path in (path for root in roots for path in tape_folder(root, barcode).glob("*")):
        if path.suffix in (OPEN, SEALED) and path.stem.isdigit() and int(path.stem) not in known:
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Foreign:
    """A tape of another gateway, the point of it that is wanted, and who wants it."""

    gateway: GatewayRecord
    found: OwnershipObject
    point: Manifest
    owner: NewOwner
    by: Stamp


def _recover(
    state: State, store: ObjectStore, request: RestoreRequest, foreign: _Foreign
) -> Restoration:
    """Take over a tape of a disabled gateway and enter it here."""
    old = foreign.found.ownership.gateway_id
    if old != foreign.gateway.id:
        document = gateway_document.read_gateway(store, old).document
        if document.disabled_ms is None:
            raise gateway_document.GatewayStateError(
                f"tape {request.barcode} belongs to gateway {old}, which is not disabled",
                hint=f"if it is gone for good, run `tapectl gateway disable {old}` first",
            )
    latest = latest_number(store, request.barcode, foreign.point.head.number)
    # Where its data is now, whatever it was at that point.
    last = read_point(store, request.barcode, latest) if latest else foreign.point
    archived_through = last.head.archived_through
    status = TapeStatus.RECOVERED if archived_through is None else TapeStatus.ARCHIVED
    with state.read() as db:
        _place(db, request, status)
        _require_room(tapes.totals(db), foreign.point.head.size_bytes)
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
    _enter(state, request, foreign, taken, read_rows(store, taken.point))
    return Restoration(foreign.point.head, old, status, describe_tape(state, request.barcode))


def _enter(
    state: State,
    request: RestoreRequest,
    foreign: _Foreign,
    taken: TakenTape,
    rows: Sequence[ManifestRow],
) -> None:
    head, ownership, by = taken.head, taken.owned.ownership, foreign.by
    status = TapeStatus(head.status)
    with state.write() as db:
        address = _place(db, request, status)
        tape = TapeRecord(
            barcode=head.barcode,
            tape_uuid=head.tape_uuid,
            size_bytes=head.size_bytes,
            used_bytes=head.used_bytes,
            status=status,
            pool_id=head.pool if pools.find(db, head.pool) is not None else _DEFAULT_POOL,
            worm=head.worm,
            write_protected=status is TapeStatus.RECOVERED,
            element_address=address,
            created_at_ms=ownership.created_ms,
            status_at_ms=by.at_ms,
            archive_completed_at_ms=head.created_ms if status is TapeStatus.ARCHIVED else None,
            manifest_number=head.number,
            archived_through_sequence=head.archived_through,
            store_epoch=ownership.epoch,
            store_etag=taken.owned.etag,
            generation=head.generation,
            cleaning=head.cleaning,
        )
        tapes.insert(db, tape, by)
        enter_contents(db, tape, taken, rows)
        old = foreign.found.ownership.gateway_id
        events.append(db, _event(head.barcode, by, foreign.point.head, old))


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


def _require_room(totals: tapes.TapeTotals, size_bytes: int) -> None:
    if totals.tapes >= MAX_TAPES or totals.size_bytes + size_bytes > MAX_TOTAL_BYTES:
        raise TapeLimitError(
            f"the library is full: {totals.tapes} tapes, {format_size(totals.size_bytes)}",
            hint="archive or delete tapes first",
        )


def _event(barcode: str, by: Stamp, point: ManifestHead, old: str) -> events.NewEvent:
    return events.NewEvent(
        at_ms=by.at_ms,
        actor=by.actor,
        subject_kind="tape",
        subject_id=barcode,
        type=RECOVERY_POINT_RESTORED,
        detail={"point": point.number, "point_at_ms": point.created_ms, "from_gateway": old},
    )
