"""What can be done about findings: one repair for each thing that has one.

Every repair looks again before it changes anything, and makes what is missing before it lets go of
anything. What would lose data has no repair.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tapectl.gateway.check.bucket import list_tape, missing_objects
from tapectl.gateway.check.copies import SegmentFault, faults_of_tape
from tapectl.gateway.check.files import StrayFile, is_still_stray, stray_files
from tapectl.gateway.check.findings import Code
from tapectl.gateway.check.library import misplaced_tapes
from tapectl.gateway.check.view import CheckView
from tapectl.gateway.elements import ElementMap
from tapectl.gateway.transfer.context import TransferContext
from tapectl.gateway.transfer.copying import NotCopiedError, SegmentCopier
from tapectl.gateway.transfer.draining import let_go_of_buffer_copy
from tapectl.gateway.transfer.leftovers import recover_leftovers
from tapectl.gateway.transfer.local_files import LocalDisks
from tapectl.gateway.transfer.segment_verifier import (
    Copy,
    CopyState,
    SegmentVerifier,
    Verdict,
)
from tapectl.scsi.library import ElementType
from tapectl.state import disks, tapes
from tapectl.state.disks import DiskRecord, DiskRole
from tapectl.state.segments import SegmentRecord
from tapectl.state.tape_status import LOADABLE, TapeStatus
from tapectl.state.tapes import TapeRecord
from tapectl.store.interface import ObjectStore, StoreError

_PROBE_NAME = "tapectl-probe"
_PROBE_BYTES = 1 << 20
_GONE = frozenset({TapeStatus.DELETING, TapeStatus.DELETED})


class NotRepairedError(Exception):
    """Why a repair could not be made; nothing has changed."""


@dataclass(frozen=True, slots=True)
class PlannedRepair:
    """`what` says what `run` does; that may raise NotRepairedError, and the errors of disks, store
    and state."""

    code: Code
    subject_type: str
    subject: str
    what: str
    run: Callable[[], None]


class Repairs:
    """Finds the repairs of one look at the gateway, and makes them."""

    def __init__(self, view: CheckView, context: TransferContext) -> None:
        self._view = view
        self._context = context
        self._copier = SegmentCopier(context)
        self._verifier = SegmentVerifier(context)

    def plan(self) -> Iterator[PlannedRepair]:
        """Yield what can be done, in the order in which it should be."""
        view = self._view
        for disk in view.disks.values():
            if disk.failed and view.is_there(disk.id):
                yield PlannedRepair(
                    Code.DISK_FAILING,
                    "disk",
                    disk.id,
                    f"try to write to {disk.path}",
                    partial(self._probe, disk),
                )
        strays = list(stray_files(view))
        yield from self._leftovers(strays)
        for tape in view.tapes.values():
            if tape.status not in _GONE:
                for fault in faults_of_tape(view, tape.barcode):
                    yield from self._fault(tape, fault)
        yield from self._orphans(strays)
        for tape in misplaced_tapes(view):
            yield self._of_tape(Code.TAPE_ELEMENT, tape, "put it where it belongs", self._place)
        if view.store is not None:
            # A store that cannot be asked is a finding of its own.
            with contextlib.suppress(StoreError):
                yield from self._objects(view.store)

    # -- disks ------------------------------------------------------------------------------
    def _probe(self, disk: DiskRecord) -> None:
        """Write, flush and read a file; a disk that takes it is well."""
        path = disk.path / _PROBE_NAME
        data = os.urandom(_PROBE_BYTES)
        try:
            with open(path, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if path.read_bytes() != data:
                raise NotRepairedError("it reads other bytes than were written")
        finally:
            path.unlink(missing_ok=True)
        with self._context.state.write() as db:
            disks.forget_failure(db, disk.id)

    # -- segments ---------------------------------------------------------------------------
    def _leftovers(self, strays: list[StrayFile]) -> Iterator[PlannedRepair]:
        """Seal and enter what a dead drive has left; a drive that runs does it itself."""
        if self._view.drives_run:
            return
        found = {
            one.barcode: one.code
            for one in strays
            if one.code in (Code.SEGMENT_UNSEALED, Code.SEGMENT_UNRECORDED)
        }
        for barcode, code in found.items():
            yield self._of_tape(code, self._view.tapes[barcode], "seal what was left", self._seal)

    def _seal(self, tape: TapeRecord) -> None:
        recover_leftovers(self._context, LocalDisks.read(self._context), tape)

    def _fault(self, tape: TapeRecord, fault: SegmentFault) -> Iterator[PlannedRepair]:
        record, role = fault.record, fault.role
        if role is None or (record.uploaded_at_ms is not None and self._view.store is None):
            return
        what, run = {
            Code.SECOND_COPY_MISSING: ("make another copy", self._copy),
            Code.COPY_MISSING: ("make the copy anew, or let go of it", self._heal),
            Code.COPY_DAMAGED: ("make the copy anew, or let go of it", self._heal),
            Code.BUFFER_COPY_KEPT: ("let go of the copy", self._let_go),
        }[fault.code]
        yield PlannedRepair(
            fault.code,
            "tape",
            tape.barcode,
            f"segment {record.sequence}, {role}: {what}",
            partial(run, tape, record, role),
        )

    def _copy(self, _tape: TapeRecord, record: SegmentRecord, role: DiskRole) -> None:
        try:
            self._copier.copy(record, role)
        except NotCopiedError as exc:
            raise NotRepairedError(str(exc)) from exc

    def _heal(self, tape: TapeRecord, record: SegmentRecord, role: DiskRole) -> None:
        verdict = self._verify(tape, record, local_only=True)
        copy = Copy.CACHE if role is DiskRole.CACHE_STORAGE else Copy.UPLOAD_BUFFER
        if copy not in verdict.damaged:
            return
        if record.uploaded_at_ms is not None:
            raise NotRepairedError("no other copy of it is right")
        # Its own disk refuses it.
        self._copy(tape, record, role)

    def _let_go(self, tape: TapeRecord, record: SegmentRecord, _role: DiskRole) -> None:
        verdict = self._verify(tape, record, local_only=False)
        if verdict.found.get(Copy.STORE) is not CopyState.RIGHT:
            raise NotRepairedError("the store's copy is not right, or cannot be read now")
        let_go_of_buffer_copy(self._context, record)

    def _verify(self, tape: TapeRecord, record: SegmentRecord, *, local_only: bool) -> Verdict:
        verdict = self._verifier.verify(tape, record, local_only=local_only)
        if verdict is None:
            raise NotRepairedError("it was moved meanwhile")
        return verdict

    # -- files ------------------------------------------------------------------------------
    def _orphans(self, strays: list[StrayFile]) -> Iterator[PlannedRepair]:
        for stray in strays:
            if stray.code is Code.ORPHAN_FILE:
                yield PlannedRepair(
                    stray.code,
                    "tape",
                    stray.barcode,
                    f"remove {stray.path}",
                    partial(self._remove, stray),
                )

    def _remove(self, stray: StrayFile) -> None:
        if is_still_stray(self._view, stray):
            Path(stray.path).unlink(missing_ok=True)

    # -- tapes ------------------------------------------------------------------------------
    def _place(self, tape: TapeRecord) -> None:
        """Put a tape that a drive could load into a free slot, any other out of the library."""
        elements = ElementMap.of(self._view.gateway)
        address = tape.element_address
        in_drive = address is not None and (elements.type_of(address) is ElementType.DATA_TRANSFER)
        if in_drive and self._view.drives_run:
            raise NotRepairedError("a drive has it: stop `tapectl serve` first")
        with self._context.state.write() as db:
            now = tapes.get(db, tape.barcode)
            if (now.status, now.element_address) != (tape.status, address):
                raise NotRepairedError("it was moved meanwhile")
            free = elements.first_free(ElementType.STORAGE, tapes.occupied_elements(db))
            if tape.status in LOADABLE and not free:
                raise NotRepairedError("no slot is free")
            target = free[0] if tape.status in LOADABLE else None
            tapes.update(db, tape.barcode, element_address=target)

    def _objects(self, store: ObjectStore) -> Iterator[PlannedRepair]:
        for tape in self._view.tapes.values():
            if tape.status in _GONE or not tape.store_epoch:
                continue
            for record in list(missing_objects(self._view, tape, list_tape(store, tape.barcode))):
                yield PlannedRepair(
                    Code.STORE_OBJECT_MISSING,
                    "tape",
                    tape.barcode,
                    f"segment {record.sequence}: put it into the store again",
                    partial(self._put_again, tape, record),
                )

    def _put_again(self, tape: TapeRecord, record: SegmentRecord) -> None:
        verdict = self._verify(tape, record, local_only=False)
        if Copy.STORE in verdict.damaged:
            raise NotRepairedError("no disk has a copy of it that is right")

    def _of_tape(
        self, code: Code, tape: TapeRecord, what: str, run: Callable[[TapeRecord], None]
    ) -> PlannedRepair:
        return PlannedRepair(code, "tape", tape.barcode, what, partial(run, tape))
