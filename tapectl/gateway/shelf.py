"""The tape shelf: eject to it, list it, retrieve from it, delete on it.

These services write down what is to happen; the transfer engine makes it happen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tapectl.errors import UsageError
from tapectl.gateway.barcodes import check_barcode
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.elements import ElementError, ElementMap
from tapectl.gateway.moves import Eject, begin_eject, home_slot
from tapectl.gateway.quota import require_room
from tapectl.gateway.retention import record_bypass
from tapectl.gateway.tape_info import TapeInfo
from tapectl.gateway.tapes import (
    begin_deletion,
    describe_tape,
    list_tapes,
    refuse_loaded,
)
from tapectl.scsi.library import ElementType
from tapectl.state import pools, tapes
from tapectl.state.database import State
from tapectl.state.errors import TapeStatusError
from tapectl.state.gateways import read_gateway
from tapectl.state.tape_status import LOADABLE, ON_SHELF, TapeStatus
from tapectl.state.tapes import Stamp, TapeRecord
from tapectl.store.interface import RetrievalTier, StorageClass


def eject_tape(
    state: State,
    barcode: str,
    *,
    hold_s: float,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> TapeInfo:
    """Eject a tape from a slot: it goes into a free import/export slot and is archived.

    Tapes in drives are refused, so no drive has to act. A tape that lies in an import/export slot
    is ejected where it is. Raises TapeNotFoundError, TapeInDriveError, TapeStatusError,
    ElementError.
    """
    check_barcode(barcode)
    eject = Eject(Stamp(actor, now_ms()), hold_s)
    with state.write() as db:
        tapes.release_expired_holds(db, eject.by.at_ms)
        elements = ElementMap.of(read_gateway(db))
        tape = tapes.get(db, barcode)
        refuse_loaded(tape, elements)
        if tape.status not in LOADABLE:
            ejected = tape.status is TapeStatus.IN_TRANSIT_TO_VTS
            raise TapeStatusError(
                f"tape {barcode} is {tape.status} and cannot be ejected",
                status=tape.status,
                hint="it is ejected already" if ejected else None,
            )
        source = tape.element_address
        if source is None or elements.type_of(source) is ElementType.IMPORT_EXPORT:
            begin_eject(db, tape, eject, source)
        else:
            occupied = tapes.occupied_elements(db)
            free = elements.first_free(ElementType.IMPORT_EXPORT, occupied)
            if not free:
                raise ElementError(
                    "no import/export slot is free",
                    hint="move tapes out of the import/export slots, or wait for ejected ones",
                )
            tapes.update(db, barcode, source_element=source)
            begin_eject(db, tape, eject, free[0])
            tapes.update(db, barcode, placed_by_operator=0)
    return describe_tape(state, barcode)


def cancel_eject(
    state: State,
    barcode: str,
    *,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> TapeInfo:
    """Take an ejected tape back into a storage slot; only while it is IN TRANSIT TO VTS.

    Raises TapeNotFoundError, TapeStatusError, ElementError (no slot is free).
    """
    check_barcode(barcode)
    by = Stamp(actor, now_ms())
    with state.write() as db:
        elements = ElementMap.of(read_gateway(db))
        tape = tapes.get(db, barcode)
        if tape.status is not TapeStatus.IN_TRANSIT_TO_VTS or tape.previous_status is None:
            raise TapeStatusError(
                f"tape {barcode} is {tape.status}, there is no eject to cancel",
                status=tape.status,
                hint="only a tape that is IN TRANSIT TO VTS can come back",
            )
        slot = home_slot(elements, tape, tapes.occupied_elements(db))
        tapes.transition(
            db,
            barcode,
            tape.previous_status,
            by,
            element_address=slot,
            placed_by_operator=0,
        )
    return describe_tape(state, barcode)


def retrieve_tape(
    state: State,
    barcode: str,
    tier: RetrievalTier | str = RetrievalTier.STANDARD,
    *,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> TapeInfo:
    """Ask for an archived tape back; it comes, write-protected, when its data can be read.

    Raises TapeNotFoundError, TapeStatusError, TapeLimitError, UsageError (no such tier).
    """
    check_barcode(barcode)
    named = check_tier(tier, None)
    by = Stamp(actor, now_ms())
    with state.write() as db:
        tape = tapes.get(db, barcode)
        if tape.status is not TapeStatus.ARCHIVED:
            raise TapeStatusError(
                f"tape {barcode} is {tape.status} and cannot be retrieved",
                status=tape.status,
                hint="only an ARCHIVED tape can be retrieved",
            )
        pool = pools.find(db, tape.pool_id)
        check_tier(named, None if pool is None else pool.storage_class)
        require_room(db, 1, tape.size_bytes)
        tapes.transition(db, barcode, TapeStatus.RETRIEVING, by, retrieval_tier=named)
    return describe_tape(state, barcode)


def cancel_retrieve(
    state: State,
    barcode: str,
    *,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> TapeInfo:
    """Give a retrieval up: the tape is ARCHIVED again.

    Raises TapeNotFoundError, TapeStatusError.
    """
    check_barcode(barcode)
    by = Stamp(actor, now_ms())
    with state.write() as db:
        tape = tapes.get(db, barcode)
        if tape.status is not TapeStatus.RETRIEVING:
            raise TapeStatusError(
                f"tape {barcode} is {tape.status}, there is no retrieval to cancel",
                status=tape.status,
                hint="a tape that is RETRIEVED goes back with `tapectl tape eject`"
                if tape.status is TapeStatus.RETRIEVED
                else None,
            )
        tapes.transition(db, barcode, TapeStatus.ARCHIVED, by, restore_until_ms=None)
    return describe_tape(state, barcode)


def complete_retrieval(
    state: State, barcode: str, by: Stamp, *, restore_until_ms: int | None
) -> bool:
    """Put a tape whose data can be read into the library, for the transfer engine.

    It comes into a free import/export slot, as AWS does, or into a storage slot when there is
    none. Returns False, and notes why, while no slot at all is free or when the retrieval was
    cancelled meanwhile.
    """
    with state.write() as db:
        elements = ElementMap.of(read_gateway(db))
        tapes.release_expired_holds(db, by.at_ms)
        tape = tapes.get(db, barcode)
        if tape.status is not TapeStatus.RETRIEVING:
            return False
        occupied = tapes.occupied_elements(db)
        free = elements.first_free(ElementType.IMPORT_EXPORT, occupied)
        if not (free := free or elements.first_free(ElementType.STORAGE, occupied)):
            tapes.update(db, barcode, status_detail="waits for a free slot in the library")
            return False
        tapes.transition(
            db,
            barcode,
            TapeStatus.RETRIEVED,
            by,
            element_address=free[0],
            placed_by_operator=1,
            restore_until_ms=restore_until_ms,
        )
    return True


def list_archive(
    state: State, *, pool_id: str | None = None, barcode: str | None = None
) -> Sequence[TapeInfo]:
    """Return the tapes of the shelf, retrieved ones included; `barcode` is a glob."""
    return list_tapes(state, statuses=ON_SHELF, pool_id=pool_id, barcode=barcode)


def describe_archive(state: State, barcode: str) -> TapeInfo:
    """Return one tape of the shelf; raise TapeNotFoundError, TapeStatusError if it is not there."""
    tape = describe_tape(state, barcode)
    if tape.status not in ON_SHELF:
        raise TapeStatusError(
            f"tape {barcode} is {tape.status} and not in the archive",
            status=tape.status,
            hint=f"run `tapectl tape show {barcode}`",
        )
    return tape


def delete_archive(
    state: State,
    barcode: str,
    *,
    bypass_governance: bool = False,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> TapeInfo:
    """Begin to delete an archived tape; the transfer engine deletes its data.

    Raises TapeNotFoundError, TapeStatusError for every status but ARCHIVED, and TapeLockedError
    until the date of its retention; of GOVERNANCE, unless that is to be bypassed. A deletion that
    a lock in the store holds up, of which the state knows nothing, goes on with the bypass.
    """
    check_barcode(barcode)
    with state.write() as db:
        tape, by = tapes.get(db, barcode), Stamp(actor, now_ms())
        if tape.status is TapeStatus.DELETING and bypass_governance:
            record_bypass(db, tape, by, "deleted")
            tapes.update(db, barcode, bypass_governance=1)
        else:
            _require_archived(tape)
            begin_deletion(db, tape, by, bypass_governance=bypass_governance)
    return describe_tape(state, barcode)


def _require_archived(tape: TapeRecord) -> None:
    if tape.status is TapeStatus.ARCHIVED:
        return
    barcode = tape.barcode
    raise TapeStatusError(
        f"tape {barcode} is {tape.status} and not in the archive alone",
        status=tape.status,
        hint=f"run `tapectl tape cancel-retrieve {barcode}`, or"
        f" `tapectl tape eject {barcode}` and wait until it is ARCHIVED"
        if tape.status in ON_SHELF
        else f"a tape of the library goes with `tapectl tape delete {barcode}`",
    )


def check_tier(tier: RetrievalTier | str, storage_class: str | None) -> RetrievalTier:
    """Return the tier of a name, for what is archived in a storage class; raise UsageError."""
    checked = next((known for known in RetrievalTier if known.lower() == str(tier).lower()), None)
    if checked is None:
        names = ", ".join(RetrievalTier)
        raise UsageError(f"no such retrieval tier: {tier}", hint=f"there are {names}")
    # S3 RestoreObject: expedited retrievals are not there for S3 Glacier Deep Archive.
    if checked is RetrievalTier.EXPEDITED and storage_class == StorageClass.DEEP_ARCHIVE:
        raise UsageError("Deep Archive knows no expedited retrieval", hint="use Standard or Bulk")
    return checked
