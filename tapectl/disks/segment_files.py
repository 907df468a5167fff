"""The files of one open segment: a copy on the cache disk and one on the upload buffer.

On one file system it is one file with two names, else two files. A frame is in the first, or on
its way there in memory that outlives us (`staging`), before it is acknowledged; the second follows
(`following_copy`), and has it before it is called durable.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

from tapectl.disks.disk_directory import give_to_owner_of, sync_folder
from tapectl.disks.flushing import flush_in_steps
from tapectl.disks.following_copy import FollowingCopy
from tapectl.disks.interface import Placement
from tapectl.disks.staging import STAGED_BYTES_MAX, STAGING_BYTES, Buffer, Staging
from tapectl.disks.tape_files import OPEN, SEALED, segment_name, tape_folder
from tapectl.disks.void_segments import VoidSegments, take_over
from tapectl.medium.frame import FRAME_HEADER_BYTES
from tapectl.scsi.cartridge import CartridgeBusyError, CartridgeWriteError

# After the disks were found full without warning: as long as an upload of a small segment takes.
_FULL_RETRY_S = 0.25
_BUFFERS_OF_A_FRAME = 2
# Frames of a command that are gathered: more of them make a write that is large enough.
_JOINED_BYTES_MAX = 128 << 10
# What is written behind an answer begins and ends at multiples of this in the file: the page cache
# takes larger folios for it, and so little at a time costs hardly more than a MiB.
PIECE_BYTES = 128 << 10
# Flushes other files and folders while a tape's thread, or the one that seals, flushes the first;
# no block goes through it. Each of the two has at most five for it.
_flusher = ThreadPoolExecutor(max_workers=10, thread_name_prefix="flush")
# How far the second copy may be behind before it is asked to follow: few wake-ups of a thread, and
# little that the first disk alone has.
FOLLOW_BYTES = 16 << 20

# For 2 MiB and more at once the page cache takes folios of 2 MiB, and a virtual machine that gives
# free memory of that size back to its host waits for each of them.
WRITE_BYTES_MAX = 1 << 20

# The directory of a disk, and what is to be done there.
_DiskJob = tuple[Path, Callable[[], object]]


class DiskFailedError(CartridgeWriteError):
    """One disk refused a write, a flush or a name; `disk` is its directory. `full`: for want of
    room. `sick`: for want of health, neither full nor gone."""

    def __init__(self, message: str, disk: Path, cause: OSError) -> None:
        super().__init__(message)
        self.disk = disk
        self.full = cause.errno in (errno.ENOSPC, errno.EDQUOT)
        self.sick = not self.full and cause.errno != errno.ENOENT


class SegmentFiles:
    """`names` are all names of the copies, `fds` one descriptor for each file behind them.

    `disks` are the directories of the disks that these files are on. `on_failure` is told of each
    disk that refuses something, and why. No other segment uses `staging` before this one is
    flushed; without it, frames go to all files at once.
    """

    def __init__(
        self,
        names: Sequence[Path],
        fds: Sequence[int],
        disks: Sequence[Path],
        on_failure: Callable[[Path, str], None],
        staging: Staging | None = None,
    ) -> None:
        self.names = tuple(names)
        self.fds = tuple(fds)
        self._staging = staging
        self.failed = False  # takes no more frames
        self._disks = tuple(disks)
        self._on_failure = on_failure
        self._flush_failed = False
        # Of two files, only the first is written to by us then.
        self._following: FollowingCopy | None = None
        self._sequence = 0
        self._folders_are_synced = False
        # How far the files have been written, and how far flushed.
        self._written_bytes = self._flushed_bytes = 0

    @classmethod
    def create(
        cls,
        placement: Placement,
        *,
        barcode: str,
        sequence: int,
        size_bytes: int,
        on_failure: Callable[[Path, str], None],
        staging: Staging | None = None,
        void: VoidSegments | None = None,
    ) -> SegmentFiles:
        """Make the file or files and allocate their room, so that no later write finds none.

        The first may be one of `void`.

        Raises CartridgeBusyError if a disk is full, DiskFailedError if it fails; nothing
        is left behind then.
        """
        name = segment_name(sequence, OPEN)
        what = f"new segment {sequence} of {barcode}"
        files = cls((), (), (), on_failure, staging)
        try:
            for disk in (placement.cache_path, placement.buffer_path):
                with files._asking(disk, what):
                    path = tape_folder(disk, barcode) / name
                    files._add(disk, path, shared=placement.shared, void=void)
            for fd, disk in zip(files.fds, files._disks, strict=True):
                with files._asking(disk, what):
                    os.posix_fallocate(fd, 0, size_bytes)
            files._let_second_follow(sequence, what)
        except DiskFailedError as exc:
            files.discard()
            if exc.full:
                raise CartridgeBusyError("a local disk is full", _FULL_RETRY_S) from exc
            raise
        return files

    def _add(self, disk: Path, name: Path, *, shared: bool, void: VoidSegments | None) -> None:
        name.parent.mkdir(mode=0o700, exist_ok=True)
        if shared and self.fds:
            os.link(self.names[0], name)
        else:
            # Only the cache keeps what the store has, and the first copy is there.
            old = None if void is None or self.fds else void.take(name.parent)
            fd = None if old is None else take_over(old, name)
            if fd is None:
                fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            self.fds += (fd,)
            self._disks += (disk,)
        self.names += (name,)
        for made in (name.parent, name):
            give_to_owner_of(name.parent.parent, made)

    def _let_second_follow(self, sequence: int, what: str) -> None:
        """Have a second file follow the first, if there is memory to note in how far that is."""
        self._sequence = sequence
        if self._staging is None:
            return
        # One that was given up may have had this number.
        self._staging.reach(sequence, 0)
        if len(self.fds) > 1:
            first, second = self.fds
            with self._asking(self._disks[1], what):
                self._following = FollowingCopy(first, second, self.names[1])

    def begin(self, header: bytes) -> None:
        """Write the segment's header; raise DiskFailedError."""
        self.append((header,), len(header), 0)
        if self._staging is not None:
            self._staging.take_up(header)

    def append_frame(self, header: Buffer, payload: Buffer, offset: int) -> None:
        """Add a frame, which belongs at `offset`, where no kill can take it. As `append`."""
        size_bytes = len(header) + len(payload)
        staging = self._staging
        if staging is None or size_bytes > STAGED_BYTES_MAX:
            self.append((header, payload), size_bytes, offset)
            return
        if staging.size_bytes + size_bytes > STAGING_BYTES:
            self.flush()
        staging.append(header, payload, offset)

    def append_frames(self, buffers: Sequence[Buffer], size_bytes: int, offset: int) -> None:
        """Add frames of `size_bytes` together, header and payload of each. As `append_frame`."""
        if len(buffers) == _BUFFERS_OF_A_FRAME:
            header, payload = buffers
            self.append_frame(header, payload, offset)
        elif size_bytes <= _JOINED_BYTES_MAX:
            self.append_frame(b"".join(buffers), b"", offset)
        else:
            self.append(buffers, size_bytes, offset)

    def append(self, buffers: Sequence[Buffer], size_bytes: int, offset: int) -> None:
        """Write frames of `size_bytes` together at `offset`.

        Raises DiskFailedError; then they are in no copy as far as any reader can tell, and
        `failed` is set: the segment takes nothing more.
        """
        self.flush()
        try:
            self._write(buffers, size_bytes, offset)
        except DiskFailedError:
            self._take_back(offset)
            raise

    def flush(self) -> None:
        """Bring all frames to the files.

        Raises DiskFailedError; then `failed` is set, but those that were acknowledged stay where
        they are, and this can be tried again.
        """
        staging = self._staging
        if staging is not None and staging.size_bytes:
            self._write_staged(staging, staging.size_bytes)
            staging.clear()

    def write_behind(self) -> None:
        """Bring whole pieces of what is staged to the files, now that nobody waits for it.

        A disk that refuses is told of; whoever writes or flushes next hears of it, as `flush` has
        it.
        """
        staging = self._staging
        if staging is None or staging.size_bytes - staging.written_bytes < PIECE_BYTES:
            return
        if not self.failed:
            beyond_bytes = (staging.base + staging.size_bytes) % PIECE_BYTES
            with contextlib.suppress(DiskFailedError):
                self._write_staged(staging, staging.size_bytes - beyond_bytes)

    def _write_staged(self, staging: Staging, end: int) -> None:
        start = staging.written_bytes
        try:
            self._write((staging.part(start, end),), end - start, staging.base + start)
        except DiskFailedError:
            self.failed = True
            raise
        staging.written_bytes = end

    def _write(self, buffers: Sequence[Buffer], size_bytes: int, offset: int) -> None:
        for fd, disk in self._written_files():
            try:
                if _write_in_parts(fd, buffers, size_bytes, offset) != size_bytes:
                    raise OSError(errno.EIO, "short write")
            except OSError as exc:
                self._save_second()
                raise self._failure(f"write to {self.names[0].name}", disk, exc) from exc
        self._written_bytes = end = offset + size_bytes
        if self._following is not None:
            self._lead(self._following, end)

    def _written_files(self) -> Sequence[tuple[int, Path]]:
        """Return the files that get frames from us, each with its disk."""
        files = list(zip(self.fds, self._disks, strict=True))
        return files if self._following is None else files[:1]

    def _lead(self, following: FollowingCopy, end: int) -> None:
        """Tell whoever comes after us how far the first copy is; have the second follow."""
        assert self._staging is not None, "without it nothing follows"
        self._staging.reach(self._sequence, end)
        if end - following.asked_bytes >= FOLLOW_BYTES:
            following.asked_bytes = end
            _flusher.submit(self._follow, following, end)

    def _save_second(self) -> None:
        """The first disk refuses: give the second what that one has, while it is in memory."""
        if self._following is not None:
            with contextlib.suppress(OSError):
                self._following.complete(self._written_bytes)

    def _follow(self, following: FollowingCopy, end: int) -> None:
        """Bring the second copy nearer; if its disk refuses, the next block goes elsewhere."""
        try:
            following.follow(end)
        except OSError as exc:
            self.failed = True
            self._failure(f"copy of {self.names[0].name}", self._disks[1], exc)

    def _take_back(self, offset: int) -> None:
        """Make the frame at `offset` none in the copies that got it."""
        self.failed = True
        for fd in self.fds:
            # A copy that cannot take this write is the failed one: it has no frame there.
            with contextlib.suppress(OSError):
                os.pwrite(fd, bytes(FRAME_HEADER_BYTES), offset)

    def synchronize(self) -> None:
        """Return when all copies and their names are on stable storage; raise DiskFailedError.

        After a flush that failed nobody knows what the kernel has dropped: `failed` is set, and
        every further call fails.
        """
        if self.failed:
            raise CartridgeWriteError(f"{self.names[0].name} has failed before")
        self.flush()
        what = f"flush of {self.names[0].name}"
        try:
            folders = () if self._folders_are_synced else self._folder_syncs()
            self._at_once((*self._flushes(os.fdatasync), *folders), what)
        except DiskFailedError:
            self.failed = self._flush_failed = True
            raise
        self._flushed_bytes, self._folders_are_synced = self._written_bytes, True

    def seal(self, tail: bytes, file_bytes: int) -> None:
        """Put index and footer at the end, make all durable, and then give the final names.

        May be done again on a segment that was sealed in part. Raises DiskFailedError.
        """
        if self._flush_failed:
            # The next flush may well succeed: it knows nothing of the pages that this one lost.
            raise CartridgeWriteError(f"{self.names[0].name} has failed before")
        what = f"sealing of {self.names[0].name}"
        for fd, disk in self._written_files():
            with self._asking(disk, what):
                if os.pwrite(fd, tail, file_bytes - len(tail)) != len(tail):
                    raise OSError(errno.EIO, "short write")
                os.ftruncate(fd, file_bytes)
        self._at_once(self._flushes(os.fsync, file_bytes), what)
        for fd in self.fds[1:]:
            # Whoever reads, reads the first: memory is for what may be read.
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        for name in self.names:
            if name.suffix != SEALED:
                with self._asking(_disk_of(name), what):
                    name.rename(name.with_suffix(SEALED))
        self.names = tuple(name.with_suffix(SEALED) for name in self.names)
        self._at_once(self._folder_syncs(), what)

    def discard(self) -> None:
        """Remove the files: nothing in them counts."""
        for name in self.names:
            with contextlib.suppress(OSError):
                name.unlink()
        self.close()

    def stop_following(self) -> None:
        """Leave the second copy as it is. Idempotent."""
        if self._following is not None:
            self._following.close()

    def close(self) -> None:
        """Close the files; they stay as they are. Idempotent."""
        self.stop_following()
        fds, self.fds = self.fds, ()
        for fd in fds:
            os.close(fd)

    def _flushes(
        self, flush: Callable[[int], None], file_bytes: int | None = None
    ) -> Sequence[_DiskJob]:
        """Return what makes all copies durable; `file_bytes` is where they end, if it is known."""
        written = range(self._flushed_bytes, self._written_bytes)
        jobs: list[_DiskJob] = [
            (disk, partial(flush_in_steps, fd, written, flush))
            for fd, disk in self._written_files()
        ]
        if self._following is not None:
            job = partial(self._complete_second, self._following, flush, file_bytes)
            jobs.append((self._disks[1], job))
        return jobs

    def _complete_second(
        self, following: FollowingCopy, flush: Callable[[int], None], file_bytes: int | None
    ) -> None:
        fd = following.complete(self._written_bytes if file_bytes is None else file_bytes)
        if file_bytes is not None:
            os.ftruncate(fd, file_bytes)
        flush(fd)

    def _folder_syncs(self) -> Sequence[_DiskJob]:
        return [
            (_disk_of(name), partial(sync_folder, folder))
            for name in self.names
            for folder in (name.parent, name.parent.parent)
        ]

    def _at_once(self, jobs: Sequence[_DiskJob], what: str) -> None:
        """Do what waits for disks: two of them take their time together, and one file system has
        one commit for all."""
        first_disk, first = jobs[0]
        others = [_flusher.submit(job) for _, job in jobs[1:]]
        try:
            with self._asking(first_disk, what):
                first()
        finally:
            wait(others)
        for other, (disk, _) in zip(others, jobs[1:], strict=True):
            with self._asking(disk, what):
                other.result()

    @contextlib.contextmanager
    def _asking(self, disk: Path, what: str) -> Iterator[None]:
        """Tell whose it is when a disk refuses."""
        try:
            yield
        except OSError as exc:
            raise self._failure(what, disk, exc) from exc

    def _failure(self, what: str, disk: Path, exc: OSError) -> DiskFailedError:
        """Return the error of a disk that refuses, which is told of if it is sick."""
        failure = DiskFailedError(f"{what}: {exc}", disk, exc)
        if failure.sick:
            self._on_failure(disk, f"{what}: {exc.strerror}")
        return failure


def _write_in_parts(fd: int, buffers: Sequence[Buffer], size_bytes: int, offset: int) -> int:
    """As os.pwritev, of `size_bytes` together, no more than WRITE_BYTES_MAX of a buffer at once."""
    if size_bytes <= 2 * WRITE_BYTES_MAX:
        return os.pwritev(fd, buffers, offset)
    written = 0
    for buffer in buffers:
        for start in range(0, len(buffer), WRITE_BYTES_MAX):
            part = memoryview(buffer)[start : start + WRITE_BYTES_MAX]
            written += os.pwrite(fd, part, offset + written)
    return written


def _disk_of(name: Path) -> Path:
    """Return the disk of <disk>/tapes/<barcode>/<name>."""
    return name.parents[2]
