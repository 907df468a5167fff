"""Disks that are to go give up what only they hold: it goes to another disk of their role.

What is in the store needs no move: the cache's copy is evicted (`eviction`). A few segments a
pass, so that uploads go on beside it and empty the disk too.
"""

from __future__ import annotations

import logging

from tapectl.gateway.transfer.context import StepReport, TransferContext, combine
from tapectl.gateway.transfer.copying import NoPlaceError, NotCopiedError, SegmentCopier
from tapectl.gateway.transfer.local_files import SEALED, LocalDisks, remove
from tapectl.state import disks, segments
from tapectl.state.disks import DiskRecord
from tapectl.state.segments import SegmentRecord

_log = logging.getLogger(__name__)

_MOVES_A_PASS = 8
# What could not be moved is tried again after this: an upload may have made room.
_AGAIN_MS = 5_000


class Draining:
    """The step. It needs no store."""

    def __init__(self, context: TransferContext) -> None:
        self._context = context
        self._copier = SegmentCopier(context)

    def run(self) -> StepReport:
        with self._context.state.read() as db:
            draining = [disk for disk in disks.all_disks(db) if disk.draining]
        return combine([self._drain(disk) for disk in draining])

    def _drain(self, disk: DiskRecord) -> StepReport:
        with self._context.state.read() as db:
            waiting = segments.waiting_on_disk(db, disk.id)
            uploaded = [
                record
                for record in segments.in_buffer_and_uploaded(db)
                if record.buffer_disk_id == disk.id
            ]
        for record in uploaded:
            let_go_of_buffer_copy(self._context, record)
        moved = 0
        for record in waiting:
            self._context.check_stop()
            try:
                self._copier.copy(record, disk.role)
                moved += 1
            except NoPlaceError as exc:
                _log.info("%s cannot be drained further now: %s", disk.path, exc)
                break
            except NotCopiedError as exc:
                name = f"segment {record.sequence} of {record.barcode}"
                _log.warning("%s stays on %s: %s", name, disk.path, exc)
            if moved == _MOVES_A_PASS:
                break
        left = len(waiting) - moved
        due_ms = self._context.now_ms() + _AGAIN_MS if left else None
        return StepReport(done=moved + len(uploaded), waiting=left, next_due_ms=due_ms)


def let_go_of_buffer_copy(context: TransferContext, record: SegmentRecord) -> None:
    """Remove the upload buffer's copy of a segment that is in the store."""
    local = LocalDisks.read(context)
    with context.state.write() as db:
        segments.clear_buffer_disk(db, record.barcode, record.sequence)
    remove(local.file(record.buffer_disk_id, record.barcode, record.sequence, SEALED))
