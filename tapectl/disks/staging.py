"""Frames on their way to a segment's files, in memory that outlives the process that filled it.

A file in shared memory: whatever kills the process leaves it, and whoever loads the tape next
finds what was acknowledged there (`recovery`). So small blocks are gathered, and the disks get a
few large writes for many blocks. A power cut takes it, as it takes what is in the page cache.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import stat
import struct
from pathlib import Path

from tapectl.medium.segment import SEGMENT_HEADER_BYTES

Buffer = bytes | bytearray | memoryview

_log = logging.getLogger(__name__)

STAGING_BYTES = 1 << 20
# Longer ones gain nothing by being copied once more.
STAGED_BYTES_MAX = 320 << 10
# The header of the segment and where in its file the frames belong; they begin a page later.
_BASE = struct.Struct(">Q")
_FRAMES_AT = mmap.PAGESIZE


class Staging:
    """One piece of shared memory for the open segment of one tape.

    `take_up`, for another segment, and `clear` empty it. One thread at a time.
    """

    def __init__(self, path: Path) -> None:
        """Make it; raise OSError where there is no room, or somebody else's file in its place."""
        self._path = path
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _require_ours(fd, path)
            # Without this, memory that has run out would be a SIGBUS later.
            os.posix_fallocate(fd, 0, _FRAMES_AT + STAGING_BYTES)
            self._memory = mmap.mmap(fd, _FRAMES_AT + STAGING_BYTES)
        finally:
            os.close(fd)
        self._view = memoryview(self._memory)
        self._frames = self._view[_FRAMES_AT:]
        self.size_bytes = 0
        self.base = 0

    @classmethod
    def make(cls, path: Path | None) -> Staging | None:
        """Return one, None where the machine has no place for it: then the disks get each block."""
        if path is None:
            return None
        try:
            return cls(path)
        except OSError as exc:
            _log.warning("no shared memory, writing is slower: %s", exc)
            return None

    def take_up(self, header: bytes) -> None:
        """Hold frames of the segment with that header from now on."""
        self.size_bytes = 0
        self._view[:SEGMENT_HEADER_BYTES] = header

    def append(self, header: Buffer, payload: memoryview, offset: int) -> None:
        """Add a frame that belongs at `offset` of the segment's file; there is room for it.

        The header goes last: a frame that a kill cut short is none.
        """
        at = self.size_bytes
        if not at:
            self.base = offset
            _BASE.pack_into(self._view, SEGMENT_HEADER_BYTES, offset)
        payload_at = at + len(header)
        end = payload_at + len(payload)
        self._frames[payload_at:end] = payload
        self._frames[at:payload_at] = header
        self.size_bytes = end

    def frames(self) -> memoryview:
        """Return all frames, as they belong in the file from `base` on."""
        return self._frames[: self.size_bytes]

    def clear(self) -> None:
        """What was here is in the files now."""
        self.size_bytes = 0

    def close(self) -> None:
        """Let go of the memory; a file that was not removed stays, with what is in it."""
        self._frames.release()
        self._view.release()
        self._memory.close()

    def remove(self) -> None:
        """All of it is in the files: let the next load find nothing."""
        remove_staged(self._path)


def staged_frames(path: Path | None, header: bytes) -> tuple[int, memoryview]:
    """Return what a dead process left of the segment with that header: offset in its file, bytes.

    After the last frame stands anything; a frame is known by its checksums and its number.
    Raises OSError if it is there and cannot be read.
    """
    if path is None:
        return 0, memoryview(b"")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0, memoryview(b"")
    with open(fd, "rb") as file:
        data = memoryview(file.read(_FRAMES_AT + STAGING_BYTES))
    if len(data) <= _FRAMES_AT or data[:SEGMENT_HEADER_BYTES] != header:
        return 0, memoryview(b"")
    (base,) = _BASE.unpack_from(data, SEGMENT_HEADER_BYTES)
    return base, data[_FRAMES_AT:]


def remove_staged(path: Path | None) -> None:
    """Remove what a process left, if there is anything."""
    if path is not None:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _require_ours(fd: int, path: Path) -> None:
    """Shared memory is a folder for everybody: another's file must not get what a tape holds."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"not our own: {path}")
