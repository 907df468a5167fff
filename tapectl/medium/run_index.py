"""Where the objects of one segment are: a run-length coded index in flat arrays. Pure.

Frames stand one after the other without gaps, so a run of equal blocks is known by its
kind, its length and its count; offsets and counts of bytes follow. A segment of ten
thousand equal blocks is one run. An *ordinal* is the number of an object within its
segment, from 0.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from typing import NamedTuple

from tapectl.medium.errors import MediumFormatError
from tapectl.medium.frame import BLOCK_BYTES_MAX, BLOCK_KINDS, FRAME_HEADER_BYTES, FrameKind

# A segment with more runs is sealed before it is full: it bounds the memory of an index
# (1.9 MB) and the time to write and read one, whatever lengths an initiator mixes.
RUNS_MAX = 65536

_ENTRY = struct.Struct(">B3xII")  # kind, payload bytes of each object, count of objects
RUN_ENTRY_BYTES = _ENTRY.size


class Run(NamedTuple):
    """Equal objects that follow each other. `offset` is that of the first frame in the file."""

    kind: FrameKind
    length: int
    first: int
    objects: int
    offset: int


class RunIndex:
    """The objects of a segment, appended in order; lookups are O(log runs)."""

    __slots__ = (
        "_filemarks_before",
        "_firsts",
        "_kinds",
        "_last_kind",
        "_last_length",
        "_lengths",
        "_offsets",
        "_start_offset",
        "end_offset",
        "filemark_count",
        "object_count",
        "run_count",
    )

    def __init__(self, start_offset: int) -> None:
        self._start_offset = start_offset
        self._kinds = array("B")
        self._lengths = array("I")
        self._firsts = array("Q")
        self._offsets = array("Q")
        self._filemarks_before = array("Q")
        self._last_kind = 0
        self._last_length = 0
        self.run_count = 0
        self.object_count = 0
        self.filemark_count = 0
        self.end_offset = start_offset

    @property
    def data_bytes(self) -> int:
        """Bytes of user data in all blocks."""
        return self.data_bytes_before(self.object_count)

    def append(self, kind: FrameKind, length: int, count: int = 1) -> None:
        """Add `count` objects with payloads of `length` bytes each."""
        if kind != self._last_kind or length != self._last_length:
            self._kinds.append(kind)
            self._lengths.append(length)
            self._firsts.append(self.object_count)
            self._offsets.append(self.end_offset)
            self._filemarks_before.append(self.filemark_count)
            self._last_kind = kind
            self._last_length = length
            self.run_count += 1
        self.object_count += count
        self.end_offset += count * (FRAME_HEADER_BYTES + length)
        if kind == FrameKind.FILEMARK:
            self.filemark_count += count

    def run_at(self, ordinal: int) -> Run:
        """Return the run that holds an object; raise IndexError if there is no such object."""
        if not 0 <= ordinal < self.object_count:
            raise IndexError(ordinal)
        return self._run(bisect_right(self._firsts, ordinal) - 1)

    def offset_of(self, ordinal: int) -> int:
        """Return where the frame of an object starts; `object_count` gives their end."""
        if ordinal == self.object_count:
            return self.end_offset
        run = self.run_at(ordinal)
        return run.offset + (ordinal - run.first) * (FRAME_HEADER_BYTES + run.length)

    def filemarks_before(self, ordinal: int) -> int:
        """Return how many filemarks stand before an object."""
        if ordinal == self.object_count:
            return self.filemark_count
        at = bisect_right(self._firsts, ordinal) - 1
        before = self._filemarks_before[at]
        if self._kinds[at] == FrameKind.FILEMARK:
            before += ordinal - self._firsts[at]
        return before

    def data_bytes_before(self, ordinal: int) -> int:
        """Return the bytes of user data before an object: all bytes but the headers of frames."""
        return self.offset_of(ordinal) - self._start_offset - ordinal * FRAME_HEADER_BYTES

    def filemark(self, number: int) -> int:
        """Return the ordinal of the filemark `number` of this segment, counted from 0."""
        if not 0 <= number < self.filemark_count:
            raise IndexError(number)
        # Of the runs before which `number` filemarks stand, the last is that of the filemark.
        at = bisect_right(self._filemarks_before, number) - 1
        return self._firsts[at] + number - self._filemarks_before[at]

    def _run(self, at: int) -> Run:
        first = self._firsts[at]
        end = self._firsts[at + 1] if at + 1 < len(self._firsts) else self.object_count
        return Run(
            FrameKind(self._kinds[at]), self._lengths[at], first, end - first, self._offsets[at]
        )

    def encoded_bytes(self) -> int:
        """Return how long `encode` is, in bytes."""
        return self.run_count * RUN_ENTRY_BYTES

    def encode(self) -> bytes:
        """Return the index as it stands in a sealed segment."""
        return b"".join(
            _ENTRY.pack(run.kind, run.length, run.objects)
            for run in (self._run(at) for at in range(self.run_count))
        )

    @classmethod
    def decode(cls, data: bytes | memoryview, *, start_offset: int) -> RunIndex:
        """Return the index that `encode` made; raise MediumFormatError if none could have."""
        index = cls(start_offset)
        if len(data) % RUN_ENTRY_BYTES:
            raise MediumFormatError(f"index of {len(data)} bytes is no whole number of runs")
        for kind, length, count in _ENTRY.iter_unpack(data):
            is_block = kind in BLOCK_KINDS
            legal = 1 <= length <= BLOCK_BYTES_MAX if is_block else length == 0
            if not (is_block or kind == FrameKind.FILEMARK) or not legal or not count:
                raise MediumFormatError(f"run of {count} objects of kind {kind}, length {length}")
            index.append(FrameKind(kind), length, count)
        return index
