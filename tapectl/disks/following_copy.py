"""The copy of a segment on another disk, which follows the first one past the page cache.

What was written to the first copy is in the kernel's memory, where no death of a process takes it.
From there the pages go to the other disk as they are (splice, O_DIRECT): nothing is copied, and no
memory is taken for a file that nobody reads.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path

# What O_DIRECT wants lengths and offsets to be multiples of; no disk asks for more.
_ALIGNMENT = 4096
# One write of the disk, and what a pipe holds at most without privileges.
_AT_ONCE_BYTES = 1 << 20
# Less is written with the flush that follows, in one go with what is not aligned.
DIRECT_BYTES_MIN = 256 << 10
# The file system, or a sandbox, has no such thing: the bytes are copied then.
_UNKNOWN = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})


class FollowingCopy:
    """A file that gets what another one has, up to where it is told. Any thread may call."""

    def __init__(self, source: int, target: int, name: Path) -> None:
        """Follow the file behind `source` with that behind `target`, which is called `name`.

        Both descriptors stay the caller's. Raises OSError.
        """
        self.asked_bytes = 0  # for whoever counts when to ask for more
        self._copied_bytes = 0  # never in the middle of a page
        self._lock = threading.Lock()
        self._open = [os.dup(source)]
        self._source = self._open[0]
        try:
            self._target = self._keep(os.dup(target))
            self._direct: int | None = self._open_direct(name)
        except BaseException:
            self.close()
            raise

    def follow(self, end: int) -> None:
        """Bring the whole pages before `end` to the other disk, which may still lose them.

        Does nothing while another thread does it, or once it is closed. Raises OSError.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._open:
                self._copy_pages(end)
        finally:
            self._lock.release()

    def complete(self, end: int) -> int:
        """Bring everything before `end` there; return the descriptor that is to be flushed.

        Raises OSError, also once it is closed.
        """
        with self._lock:
            if not self._open:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            if end - self._copied_bytes >= DIRECT_BYTES_MIN:
                self._copy_pages(end)
            self._copy_bytes(end)
            return self._target

    def close(self) -> None:
        """Let go of the files. Idempotent."""
        with self._lock:
            kept, self._open = self._open, []
            for fd in kept:
                os.close(fd)

    def _keep(self, fd: int) -> int:
        self._open.append(fd)
        return fd

    def _open_direct(self, name: Path) -> int | None:
        try:
            direct = self._keep(os.open(name, os.O_WRONLY | os.O_DIRECT))
        except OSError as exc:
            if exc.errno in _UNKNOWN:
                return None
            raise
        self._make_pipe()
        return direct

    def _make_pipe(self) -> None:
        self._pipe = os.pipe()
        self._open.extend(self._pipe)
        try:
            fcntl.fcntl(self._pipe[1], fcntl.F_SETPIPE_SZ, _AT_ONCE_BYTES)
        except OSError as exc:
            # This user has many pipes: they get smaller, and more writes are made.
            if exc.errno != errno.EPERM:
                raise

    def _copy_pages(self, end: int) -> None:
        end -= end % _ALIGNMENT
        while self._copied_bytes < end and self._direct is not None:
            try:
                self._splice(self._direct, end)
            except OSError as exc:
                self._empty_pipe()
                if exc.errno not in _UNKNOWN:
                    raise
                self._direct = None
        self._copy_bytes(end)

    def _splice(self, direct: int, end: int) -> None:
        """Move pages of the source, as many as a pipe takes, to where they belong."""
        read, write = self._pipe
        at = self._copied_bytes
        moved = os.splice(self._source, write, min(end - at, _AT_ONCE_BYTES), offset_src=at)
        left = moved
        while left:
            written = os.splice(read, direct, left, offset_dst=at + moved - left)
            if not written:
                raise OSError(errno.EIO, "short write")
            left -= written
        if not moved:
            raise OSError(errno.EIO, "short read")
        self._copied_bytes = at + moved

    def _empty_pipe(self) -> None:
        """Have nothing in the pipe of what did not go out."""
        for fd in self._pipe:
            self._open.remove(fd)
            os.close(fd)
        self._make_pipe()

    def _copy_bytes(self, end: int) -> None:
        """Copy the rest through the page cache."""
        copy_range(self._source, self._target, self._copied_bytes, end)
        self._copied_bytes = max(self._copied_bytes, end - end % _ALIGNMENT)


def copy_range(source: int, target: int, start: int, end: int) -> None:
    """Copy bytes of a file to the same place of another one, by descriptors; raise OSError."""
    while start < end:
        data = os.pread(source, min(_AT_ONCE_BYTES, end - start), start)
        if not data:
            raise OSError(errno.EIO, "short read")
        start += os.pwrite(target, data, start)
