"""The files of segments on the local disks, as the transfer engine finds and removes them.

Files go after the state has said that they are gone: a crash between leaves a file that nobody
counts, which `sweep` removes at the next start. The other order would leave a row that
names a file that is not there.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tapectl.gateway.transfer.context import TransferContext
from tapectl.state import disks, segments, tapes
from tapectl.state.disks import DiskRole
from tapectl.state.segments import SegmentRecord
from tapectl.state.tape_status import TapeStatus

_log = logging.getLogger(__name__)

SEALED, OPEN, FILLING = ".seg", ".open", ".fill"


@dataclass(frozen=True, slots=True)
class LocalDisks:
    """The allocated disks by id, as they were when the step began."""

    paths: Mapping[str, Path]
    roles: Mapping[str, DiskRole]
    sizes: Mapping[str, int]
    draining: frozenset[str]

    @classmethod
    def read(cls, context: TransferContext) -> LocalDisks:
        with context.state.read() as db:
            found = disks.all_disks(db)
        return cls(
            {disk.id: disk.path for disk in found},
            {disk.id: disk.role for disk in found},
            {disk.id: disk.size_bytes for disk in found},
            frozenset(disk.id for disk in found if disk.draining),
        )

    def file(self, disk_id: str | None, barcode: str, sequence: int, suffix: str) -> Path | None:
        """Return where a segment's file is, None if the disk is not allocated (any more)."""
        root = self.paths.get(disk_id or "")
        return None if root is None else tape_folder(root, barcode) / f"{sequence:08d}{suffix}"

    def sealed_files(self, record: SegmentRecord) -> list[Path]:
        """Return the sealed files of a segment that the state knows.

        The cache's comes first: only that is likely to be in memory (`disks/segment_files.py`).
        """
        found = (
            self.file(disk_id, record.barcode, record.sequence, SEALED)
            for disk_id in (record.cache_disk_id, record.buffer_disk_id)
        )
        return [path for path in found if path is not None]

    def barcodes(self) -> list[str]:
        """Return the barcodes of the tapes that have a folder on any disk."""
        found = (path for root in self.paths.values() for path in files_in(root, "tapes/*"))
        return sorted({path.name for path in found})

    def files_of(self, suffix: str) -> Iterator[tuple[str, str, Path]]:
        """Yield disk id, barcode and path of every file with a suffix on any disk."""
        for disk_id, root in self.paths.items():
            for path in files_in(root, f"tapes/*/*{suffix}"):
                yield disk_id, path.parent.name, path


def tape_folder(disk: Path, barcode: str) -> Path:
    """Return the folder of a tape on a disk."""
    return disk / "tapes" / barcode


def remove(path: Path | None) -> None:
    """Remove a file; no error if there is none, or on a disk that refuses: nothing counts it.

    Its folder stays: a drive may be about to begin the next segment in it.
    """
    if path is not None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s is left there: %s", path, error.strerror)


def files_in(root: Path, pattern: str) -> list[Path]:
    """Return the sorted paths in a folder of a disk, none where that cannot be read."""
    try:
        return sorted(root.glob(pattern))
    except OSError as error:
        _log.warning("%s cannot be looked at: %s", root, error.strerror)
        return []


def remove_empty_folders(local: LocalDisks, barcode: str) -> None:
    """Remove the folders of a tape that has left the library, where nothing is in them."""
    for root in local.paths.values():
        with contextlib.suppress(OSError):
            tape_folder(root, barcode).rmdir()


def sweep(context: TransferContext) -> int:
    """Remove files that a crash left behind and return how many: unfinished fills, and sealed
    files that the state has let go of.

    A sealed file the state does not know is none of these: it may be on its way in.
    """
    local = LocalDisks.read(context)
    removed = 0
    for _, _, path in local.files_of(FILLING):
        remove(path)
        removed += 1
    for disk_id, barcode, path in local.files_of(SEALED):
        if path.stem.isdigit() and _let_go(context, local, disk_id, barcode, int(path.stem)):
            remove(path)
            removed += 1
    return removed


def _let_go(
    context: TransferContext, local: LocalDisks, disk_id: str, barcode: str, sequence: int
) -> bool:
    with context.state.read() as db:
        tape = tapes.find(db, barcode)
        record = segments.find(db, barcode, sequence)
    if tape is not None and tape.status is TapeStatus.DELETED:
        return True
    if record is None or record.uploaded_at_ms is None:
        return False
    if local.roles[disk_id] is DiskRole.UPLOAD_BUFFER:
        return record.buffer_disk_id != disk_id
    return record.cache_disk_id != disk_id
