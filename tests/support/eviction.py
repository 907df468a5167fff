"""Takes a tape out of the cache, as eviction does when room is needed."""

from __future__ import annotations

from pathlib import Path

from tapectl.state import disks, segments
from tapectl.state.database import State


def evict(state_path: Path, barcode: str) -> int:
    """Drop the cache's copies of a tape whose data is in the store; return how many."""
    with State.open(state_path) as state, state.write() as db:
        paths = {disk.id: disk.path for disk in disks.all_disks(db)}
        found = [one for one in segments.of_tape(db, barcode) if one.cache_disk_id is not None]
        for record in found:
            assert record.uploaded_at_ms is not None
            assert record.cache_disk_id is not None
            segments.set_cache_disk(db, barcode, record.sequence, None)
            folder = paths[record.cache_disk_id] / "tapes" / barcode
            (folder / f"{record.sequence:08d}.seg").unlink()
    return len(found)
