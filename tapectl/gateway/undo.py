"""An own tape goes back to how it was: one small change of its volume record.

The transfer engine makes a new recovery point of it. Nothing is destroyed for as long as what is
overwritten is kept, so that it can be undone likewise.
"""

from __future__ import annotations

from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.elements import ElementMap
from tapectl.gateway.recovery_points import last_sequence, require_kept
from tapectl.gateway.restoration import NotRestorableError, Restoration, restored_event
from tapectl.gateway.tapes import describe_tape, refuse_loaded
from tapectl.gateway.transfer.local_files import OPEN, SEALED, tape_folder
from tapectl.gateway.transfer.ownership import FencedError, require_ownership
from tapectl.medium.manifest import Manifest
from tapectl.state import disks, events, overwritten, segments, tapes, volumes
from tapectl.state.database import State
from tapectl.state.errors import TapeStatusError
from tapectl.state.gateways import read_gateway
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import Stamp, TapeRecord
from tapectl.state.transfer_queries import last_sequence as last_sequence_here
from tapectl.store.interface import ObjectStore

_RESTORABLE = frozenset(
    {
        TapeStatus.AVAILABLE,
        TapeStatus.RETRIEVED,
        TapeStatus.RECOVERED,
        TapeStatus.IRRECOVERABLE,
    }
)


def undo(
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
        require_kept(point, tape.oldest_point)
        last = last_sequence_here(db, barcode) or 0
        if lost:
            # They are on no disk that can be read, and the store will never have them.
            segments.delete_waiting(db, barcode)
            tapes.transition(db, barcode, TapeStatus.RECOVERED, by)
        volume = point.head.volume.without(undone_from, last)
        volumes.put(db, barcode, volume.to_document())
        tapes.update(db, barcode, used_bytes=point.head.used_bytes)
        overwritten.unmark_tape(db, barcode)
        events.append(db, restored_event(barcode, by, point.head, gateway.id))
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
    # What has lost data is write-protected afterwards, and says no less than it can.
    lost = tape.status is TapeStatus.IRRECOVERABLE
    if tape.worm and not tape.write_protected and not lost:
        raise NotRestorableError(
            f"tape {tape.barcode} is write once, read many: what was written on it stays",
        )


def _require_nothing_left_open(state: State, barcode: str) -> None:
    """Refuse a tape of which the disks hold more than the state knows: it would come after what
    is restored, and is part of no recovery point."""
    with state.read() as db:
        roots = [disk.path for disk in disks.all_disks(db)]
        known = frozenset(segments.sequences(db, barcode))
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
        known = frozenset(segments.sequences(db, barcode))
    for path in (path for root in roots for path in tape_folder(root, barcode).glob("*")):
        if path.suffix in (OPEN, SEALED) and path.stem.isdigit() and int(path.stem) not in known:
            path.unlink(missing_ok=True)
