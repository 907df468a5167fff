"""The files of one open segment: a copy on the cache disk and one on the upload buffer.

On one file system it is one file with two names, else two files. A frame is in all of them, or on
its way to them in memory that outlives us (`staging`), before it is acknowledged.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from tapectl.disks.disk_directory import sync_folder
from tapectl.disks.interface import Placement
from tapectl.disks.staging import STAGED_BYTES_MAX, STAGING_BYTES, Buffer, Staging
from tapectl.disks.tape_files import OPEN, SEALED, segment_name, tape_folder
from tapectl.medium.frame import FRAME_HEADER_BYTES
from tapectl.scsi.cartridge import CartridgeBusyError, CartridgeWriteError

# After the disks were found full without warning: as long as an upload of a small segment takes.
_FULL_RETRY_S = 0.25
# Flushes the second disk while a tape's thread flushes the first; no block goes through it.
_flusher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="flush")


class SegmentFiles:
    """`names` are all names of the copies, `fds` one descriptor for each file behind them.

    No other segment uses `staging` before this one is flushed; without it, frames go to the files
    at once.
    """

    def __init__(
        self, names: Sequence[Path], fds: Sequence[int], staging: Staging | None = None
    ) -> None:
        self.names = tuple(names)
        self.fds = tuple(fds)
        self._staging = staging
        self.failed = False  # takes no more frames
        self._flush_failed = False
        self._folders_are_synced = False

    @classmethod
    def create(
        cls,
        placement: Placement,
        *,
        barcode: str,
        sequence: int,
        size_bytes: int,
        staging: Staging | None = None,
    ) -> SegmentFiles:
        """Make the file or files and allocate their room, so that no later write finds none.

        Raises CartridgeBusyError if a disk is full, CartridgeWriteError if it fails; nothing
        is left behind then.
        """
        name = segment_name(sequence, OPEN)
        cache_name = tape_folder(placement.cache_path, barcode) / name
        buffer_name = tape_folder(placement.buffer_path, barcode) / name
        files = cls((), (), staging)
        try:
            for path in (cache_name, buffer_name):
                path.parent.mkdir(mode=0o700, exist_ok=True)
                if placement.shared and files.fds:
                    os.link(cache_name, path)
                else:
                    files.fds += (os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600),)
                files.names += (path,)
            for fd in files.fds:
                os.posix_fallocate(fd, 0, size_bytes)
        except OSError as exc:
            files.discard()
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                raise CartridgeBusyError("a local disk is full", _FULL_RETRY_S) from exc
            raise CartridgeWriteError(f"new segment {sequence} of {barcode}: {exc}") from exc
        return files

    def begin(self, header: bytes) -> None:
        """Write the segment's header to every copy; raise CartridgeWriteError."""
        self.append((header,), len(header), 0)
        if self._staging is not None:
            self._staging.take_up(header)

    def append_frame(self, header: Buffer, payload: memoryview, offset: int) -> None:
        """Add a frame, which belongs at `offset`, where no kill can take it. As `append`."""
        size_bytes = len(header) + len(payload)
        staging = self._staging
        if staging is None or size_bytes > STAGED_BYTES_MAX:
            self.append((header, payload), size_bytes, offset)
            return
        if staging.size_bytes + size_bytes > STAGING_BYTES:
            self.flush()
        staging.append(header, payload, offset)

    def append(self, buffers: Sequence[Buffer], size_bytes: int, offset: int) -> None:
        """Write frames of `size_bytes` together at `offset` of every copy.

        Raises CartridgeWriteError; then they are in no copy as far as any reader can tell, and
        `failed` is set: the segment takes nothing more.
        """
        self.flush()
        try:
            self._write(buffers, size_bytes, offset)
        except OSError as exc:
            self._take_back(offset)
            raise CartridgeWriteError(f"write to {self.names[0].name}: {exc}") from exc

    def flush(self) -> None:
        """Bring all frames to the files.

        Raises CartridgeWriteError; then `failed` is set, but those that were acknowledged stay
        where they are, and this can be tried again.
        """
        staging = self._staging
        if staging is None or not staging.size_bytes:
            return
        try:
            self._write((staging.frames(),), staging.size_bytes, staging.base)
        except OSError as exc:
            self.failed = True
            raise CartridgeWriteError(f"write to {self.names[0].name}: {exc}") from exc
        staging.clear()

    def _write(self, buffers: Sequence[Buffer], size_bytes: int, offset: int) -> None:
        for fd in self.fds:
            if os.pwritev(fd, buffers, offset) != size_bytes:
                raise OSError(errno.EIO, "short write")

    def _take_back(self, offset: int) -> None:
        """Make the frame at `offset` none in the copies that got it."""
        self.failed = True
        for fd in self.fds:
            # A copy that cannot take this write is the failed one: it has no frame there.
            with contextlib.suppress(OSError):
                os.pwrite(fd, bytes(FRAME_HEADER_BYTES), offset)

    def synchronize(self) -> None:
        """Return when all copies and their names are on stable storage; raise CartridgeWriteError.

        After a flush that failed nobody knows what the kernel has dropped: `failed` is set, and
        every further call fails.
        """
        if self.failed:
            raise CartridgeWriteError(f"{self.names[0].name} has failed before")
        self.flush()
        try:
            _synchronize_at_once(self.fds)
            if not self._folders_are_synced:
                self._sync_folders()
                self._folders_are_synced = True
        except OSError as exc:
            self.failed = self._flush_failed = True
            raise CartridgeWriteError(f"flush of {self.names[0].name}: {exc}") from exc

    def seal(self, tail: bytes, file_bytes: int) -> None:
        """Put index and footer at the end, make all durable, and then give the final names.

        May be done again on a segment that was sealed in part. Raises CartridgeWriteError.
        """
        if self._flush_failed:
            # The next flush may well succeed: it knows nothing of the pages that this one lost.
            raise CartridgeWriteError(f"{self.names[0].name} has failed before")
        try:
            for fd in self.fds:
                if os.pwrite(fd, tail, file_bytes - len(tail)) != len(tail):
                    raise OSError(errno.EIO, "short write")
                os.ftruncate(fd, file_bytes)
                os.fsync(fd)
            for fd in self.fds[1:]:
                # Whoever reads, reads the first: memory is for what may be read.
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            self.names = tuple(_with_final_name(name) for name in self.names)
            self._sync_folders()
        except OSError as exc:
            raise CartridgeWriteError(f"sealing of {self.names[0].name}: {exc}") from exc

    def discard(self) -> None:
        """Remove the files: nothing in them counts."""
        for name in self.names:
            with contextlib.suppress(OSError):
                name.unlink()
        self.close()

    def close(self) -> None:
        """Close the files; they stay as they are. Idempotent."""
        fds, self.fds = self.fds, ()
        for fd in fds:
            os.close(fd)

    def _sync_folders(self) -> None:
        for folder in {name.parent for name in self.names}:
            sync_folder(folder)
            sync_folder(folder.parent)


def _synchronize_at_once(fds: Sequence[int]) -> None:
    """Flush files to their disks; two disks take their time together. Raises OSError."""
    others = [_flusher.submit(os.fdatasync, fd) for fd in fds[1:]]
    try:
        for fd in fds[:1]:
            os.fdatasync(fd)
    finally:
        wait(others)
    for other in others:
        other.result()


def _with_final_name(name: Path) -> Path:
    sealed = name.with_suffix(SEALED)
    if name != sealed:
        name.rename(sealed)
    return sealed
