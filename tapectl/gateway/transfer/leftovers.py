"""Segments that a dead worker left behind: open, or sealed and not entered in the state.

A drive recovers them when it loads the tape. Here it is done where no drive can load it meanwhile:
for a tape that is being archived, and for all tapes while nothing serves.
"""

from __future__ import annotations

from collections.abc import Container

from tapectl.disks.recovery import recover
from tapectl.disks.tape_files import TapeDescription
from tapectl.gateway.journal import StateJournal
from tapectl.gateway.transfer.context import StepReport, TransferContext
from tapectl.gateway.transfer.local_files import (
    OPEN,
    SEALED,
    LocalDisks,
    files_in,
    tape_folder,
)
from tapectl.gateway.transfer.tape_errors import TapeErrors
from tapectl.medium.volume import VolumeRecord
from tapectl.state import segments, tapes, volumes
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeRecord
from tapectl.state.transfer_queries import last_sequence

# Of these nothing is written any more.
_GONE = frozenset({TapeStatus.DELETING, TapeStatus.DELETED, TapeStatus.IRRECOVERABLE})


class Leftovers:
    """The step of a process that knows that no drive runs."""

    def __init__(self, context: TransferContext, errors: TapeErrors) -> None:
        self._context = context
        self._errors = errors

    def run(self) -> StepReport:
        context = self._context
        local = LocalDisks.read(context)
        with context.state.read() as db:
            found = [tapes.find(db, barcode) for barcode in local.barcodes()]
        whose = [tape for tape in found if tape is not None and tape.status not in _GONE]

        def work(tape: TapeRecord) -> StepReport:
            return StepReport(done=recover_leftovers(context, local, tape))

        return self._errors.each(whose, work)


def recover_leftovers(context: TransferContext, local: LocalDisks, tape: TapeRecord) -> int:
    """Seal and enter what was left of a tape that no drive can have; return how many segments.

    Raises scsi.cartridge.CartridgeError if a disk fails or is full, or a segment is unknowable.
    """
    with context.state.read() as db:
        known = frozenset(segments.sequences(db, tape.barcode))
    if not _has_leftovers(local, tape.barcode, known):
        return 0
    description = TapeDescription(tape.barcode, tape.tape_uuid, tape.size_bytes)
    journal = StateJournal(context.state, context.settings, now_ms=context.now_ms)
    recovered = recover(description, journal, known)
    if recovered:
        _note_used_bytes(context, tape.barcode)
    return recovered


def _note_used_bytes(context: TransferContext, barcode: str) -> None:
    """Enter what the tape holds now: the drive that wrote it died before it could."""
    with context.state.write() as db:
        row = volumes.get(db, barcode)
        volume = VolumeRecord() if row is None else VolumeRecord.from_document(row.document)
        through = last_sequence(db, barcode) or 0
        used_bytes = volume.used_bytes(
            lambda partition: segments.latest_first(
                db, barcode, through=through, partition=partition
            )
        )
        if used_bytes is not None:
            tapes.update(db, barcode, used_bytes=used_bytes)


def _has_leftovers(local: LocalDisks, barcode: str, known: Container[int]) -> bool:
    """Whether the disks hold more of the tape than the state knows."""
    folders = [tape_folder(root, barcode) for root in local.paths.values()]
    if any(files_in(folder, f"*{OPEN}") for folder in folders):
        return True
    found = (path.stem for folder in folders for path in files_in(folder, f"*{SEALED}"))
    return any(stem.isdigit() and int(stem) not in known for stem in found)
