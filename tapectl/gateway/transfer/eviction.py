"""The cache gives up what the store has, longest unread first, before it is full; a disk that is
being drained gives up all of that.

A segment that is not uploaded is never touched: room for the writer comes from uploading it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tapectl.gateway.transfer.context import StepReport, TransferContext
from tapectl.gateway.transfer.local_files import SEALED, LocalDisks, remove
from tapectl.state import segments
from tapectl.state.disks import DiskRole

# Below the high watermark by this part of the disk when it is done, so that it is not at it again
# with the next segment.
_HYSTERESIS_PERCENT = 10


class Eviction:
    """The step, and room for the fetch service. `filling_bytes` returns what unfinished fetches
    will take on each disk."""

    def __init__(
        self, context: TransferContext, filling_bytes: Callable[[], Mapping[str, int]]
    ) -> None:
        self._context = context
        self._filling_bytes = filling_bytes

    def run(self) -> StepReport:
        local = LocalDisks.read(self._context)
        high_percent = self._context.settings.cache_high_watermark_percent
        low_percent = max(0, high_percent - _HYSTERESIS_PERCENT)
        evicted = 0
        for disk_id, used_bytes in self.used_bytes().items():
            size_bytes = local.sizes[disk_id]
            if disk_id in local.draining:
                evicted += self._evict(local, disk_id, used_bytes)
            elif used_bytes * 100 > size_bytes * high_percent:
                excess = used_bytes - size_bytes * low_percent // 100
                evicted += self._evict(local, disk_id, excess)
        return StepReport(done=evicted)

    def used_bytes(self) -> Mapping[str, int]:
        """Return the bytes in use on each cache disk, or about to be."""
        local = LocalDisks.read(self._context)
        with self._context.state.read() as db:
            used = segments.bytes_by_disk(db)
        filling = self._filling_bytes()
        return {
            disk_id: used.get(disk_id, 0) + filling.get(disk_id, 0)
            for disk_id, role in local.roles.items()
            if role is DiskRole.CACHE_STORAGE
        }

    def make_room(self, disk_id: str, filling_bytes: int) -> bool:
        """Evict until a cache disk takes fills of so many bytes in all; return whether that could
        be done."""
        local = LocalDisks.read(self._context)
        room_bytes = local.sizes.get(disk_id, 0) - filling_bytes
        excess = self._segment_bytes(disk_id) - room_bytes
        if excess > 0:
            self._evict(local, disk_id, excess)
        return self._segment_bytes(disk_id) <= room_bytes

    def _segment_bytes(self, disk_id: str) -> int:
        with self._context.state.read() as db:
            return segments.bytes_by_disk(db).get(disk_id, 0)

    def _evict(self, local: LocalDisks, disk_id: str, excess_bytes: int) -> int:
        """Evict at least `excess_bytes` where there is so much; return how many segments went."""
        with self._context.state.write() as db:
            chosen = []
            for record in segments.evictable(db, disk_id):
                if excess_bytes <= 0:
                    break
                segments.set_cache_disk(db, record.barcode, record.sequence, None)
                excess_bytes -= record.summary.file_bytes
                chosen.append(record)
        for record in chosen:
            remove(local.file(disk_id, record.barcode, record.sequence, SEALED))
        return len(chosen)
