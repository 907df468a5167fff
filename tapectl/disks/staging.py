"""Frames on their way to a segment's files, in memory that outlives the process that filled it.

It is a mapped file: what is put there is the kernel's at once, whatever kills the process, and
whoever loads the tape next finds what was acknowledged there (`recovery`). So small blocks are
gathered, and the disks get one large write for many of them, while nobody waits for it. A power
cut may take it, as it may take what else is in the page cache.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from tapectl.disks.disk_directory import give_to_owner_of
from tapectl.medium.segment import SEGMENT_HEADER_BYTES

Buffer = bytes | bytearray | memoryview

_log = logging.getLogger(__name__)

STAGING_FOLDER = "staging"
"""Beside the state, and on no disk of the gateway by intent."""
# Four blocks of 256 KiB with their headers.
STAGING_BYTES = (1 << 20) + (64 << 10)
# Longer ones gain nothing by being copied once more.
STAGED_BYTES_MAX = 320 << 10
# The header of the segment and where in its file the frames belong; they begin a page later.
_BASE = struct.Struct(">Q")
_BASE_AT = slice(SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES + _BASE.size)
# Between them: how far files have been written of which another copy is behind, a sequence number
# and a length of each segment that is not sealed; there are fewer of those. In the machine's byte
# order, which is stored at once.
_REACHED = struct.Struct("@QQ")
_REACHED_AT = 512
_REACHED_SLOTS = 64
_FRAMES_AT = mmap.PAGESIZE


class Staging:
    """The mapped file of the open segment of one tape.

    `take_up`, for another segment, and `clear` empty it. Whoever brings some of its `size_bytes` to
    the files says so in `written_bytes`, counted from the first. One thread at a time.

    Nothing that is here is moved, and no place is taken again before the files have all of it.
    So whatever has reached them and whenever we die, each frame from `base` on is whole here, also
    one that the files have the beginning of, and `base` is written only while none is needed.
    """

    def __init__(self, path: Path) -> None:
        """Make it; raise OSError where there is no room."""
        self._path = path
        path.parent.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        for made in (path.parent, path):
            give_to_owner_of(path.parent.parent, made)
        try:
            # Without this, a disk that has run full would be a SIGBUS later.
            os.posix_fallocate(fd, 0, _FRAMES_AT + STAGING_BYTES)
            self._view = memoryview(mmap.mmap(fd, _FRAMES_AT + STAGING_BYTES))
        finally:
            os.close(fd)
        self._frames = self._view[_FRAMES_AT:]
        self.size_bytes = self.written_bytes = 0
        self.base = 0

    @classmethod
    def make(cls, path: Path | None) -> Staging | None:
        """Return one, None where it has no place: then the disks get each block by itself."""
        if path is None:
            return None
        try:
            return cls(path)
        except OSError as exc:
            _log.warning("blocks are not gathered, writing is slower: %s", exc)
            return None

    def take_up(self, header: bytes) -> None:
        """Hold frames of the segment with that header from now on."""
        self.clear()
        self._view[:SEGMENT_HEADER_BYTES] = header

    def append(self, header: Buffer, payload: Buffer, offset: int) -> None:
        """Add a frame that belongs at `offset` of the segment's file; there is room for it.

        The header goes last: a frame that a kill cut short is none.
        """
        at = self.size_bytes
        if not at:
            self.base = offset
            self._view[_BASE_AT] = _BASE.pack(offset)
        payload_at = at + len(header)
        end = payload_at + len(payload)
        self._frames[payload_at:end] = payload
        self._frames[at:payload_at] = header
        self.size_bytes = end

    def reach(self, sequence: int, size_bytes: int) -> None:
        """Note how far the first copy of a segment is written, which the others may not be."""
        at = _slot_of(sequence)
        self._view[at : at + _REACHED.size] = _REACHED.pack(sequence, size_bytes)

    def part(self, start: int, end: int) -> memoryview:
        """Return what belongs in the files from `base` + `start` to `base` + `end`."""
        return self._frames[start:end]

    def clear(self) -> None:
        """The files have all of it now."""
        self.size_bytes = self.written_bytes = 0

    def remove_if_empty(self) -> None:
        """Let the next load find nothing, unless it has to."""
        if not self.size_bytes:
            remove_staged(self._path)


@dataclass(frozen=True, slots=True)
class StagedFrames:
    """What a dead process left of a segment: bytes that belong at `base` of its file.

    After the last frame stands anything; a frame is known by its checksums and its number.
    """

    base: int
    data: memoryview

    def at(self, offset: int) -> memoryview:
        """Return what belongs at an offset of the segment's file and after it; may be empty."""
        return self.data[offset - self.base :] if offset >= self.base else self.data[:0]


NOTHING_STAGED = StagedFrames(0, memoryview(b""))


def staged_header(path: Path | None) -> bytes:
    """Return the header of the segment that was open last, empty if none was.

    Raises OSError if that cannot be read.
    """
    return _read(path)[:SEGMENT_HEADER_BYTES]


def staged_frames(path: Path | None, header: bytes) -> StagedFrames:
    """Return what is left of the segment with that header; raise OSError as staged_header."""
    data = memoryview(_read(path))
    if data[:SEGMENT_HEADER_BYTES] != header:
        return NOTHING_STAGED
    (base,) = _BASE.unpack_from(data, SEGMENT_HEADER_BYTES)
    return StagedFrames(base, data[_FRAMES_AT:])


def reached_bytes(path: Path | None, sequence: int) -> int:
    """Return how far the first copy of a segment was written, 0 if all copies were.

    Raises OSError as staged_header.
    """
    data = _read(path)
    number, size_bytes = _REACHED.unpack_from(data, _slot_of(sequence)) if data else (0, 0)
    return size_bytes if number == sequence else 0


def _read(path: Path | None) -> bytes:
    """Return the file that a dead process left, nothing if it left none that is whole."""
    data = b""
    if path is not None:
        with contextlib.suppress(FileNotFoundError):
            data = path.read_bytes()
    return data if len(data) > _FRAMES_AT else b""


def _slot_of(sequence: int) -> int:
    return _REACHED_AT + sequence % _REACHED_SLOTS * _REACHED.size


def remove_staged(path: Path | None) -> None:
    """Remove what a process left, if there is anything."""
    if path is not None:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
