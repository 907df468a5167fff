"""A tape of any length whose bytes are made when they are read: real segments, real objects.

Blocks of one size, as many in each segment; each begins with its number. Nothing is compressed, so
that every object is as long as its segment.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from tapectl.medium.frame import FRAME_HEADER_BYTES, FrameEncoder, FrameKind
from tapectl.medium.run_index import RunIndex
from tapectl.medium.segment import (
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    encode_tail,
    summarize,
)
from tapectl.medium.segment_object import (
    CHUNK_BYTES,
    OBJECT_FOOTER_BYTES,
    OBJECT_HEADER_BYTES,
    ObjectHeader,
    encode_object,
)
from tapectl.medium.summary import SegmentSummary, Totals
from tests.support.transfer_gateway import START_MS

BLOCK_BYTES = 256 * 1024
_FILLING = bytes(range(251)) * (BLOCK_BYTES // 251 + 1)
_FRAME_BYTES = FRAME_HEADER_BYTES + BLOCK_BYTES


@dataclass(frozen=True)
class SimulatedTape:
    """`segments` of `blocks` blocks each; sequence numbers begin at 1."""

    barcode: str
    tape_uuid: uuid.UUID
    segments: int
    blocks: int

    @property
    def block_count(self) -> int:
        return self.segments * self.blocks

    @property
    def data_bytes(self) -> int:
        return self.block_count * BLOCK_BYTES

    @cached_property
    def object_bytes(self) -> int:
        """The length of each object."""
        chunks = -(-self._first.file_bytes // CHUNK_BYTES)
        table_bytes = 16 * chunks
        return OBJECT_HEADER_BYTES + self._first.file_bytes + table_bytes + OBJECT_FOOTER_BYTES

    def summary(self, sequence: int) -> SegmentSummary:
        first_object = (sequence - 1) * self.blocks
        before = Totals(0, first_object * BLOCK_BYTES)
        return replace(self._first, sequence=sequence, first_object=first_object, before=before)

    def stored(self, sequence: int, offset: int, size_bytes: int) -> bytes:
        """Return a part of the object of a segment."""
        chunks_end = OBJECT_HEADER_BYTES + self._first.file_bytes
        end = min(offset + size_bytes, self.object_bytes)
        pieces = []
        if offset < OBJECT_HEADER_BYTES:
            pieces.append(self._ends(sequence)[0][offset:end])
        start, stop = max(offset, OBJECT_HEADER_BYTES), min(end, chunks_end)
        if start < stop:
            pieces.append(
                self.raw(sequence, start - OBJECT_HEADER_BYTES, stop - OBJECT_HEADER_BYTES)
            )
        if end > chunks_end:
            pieces.append(self._ends(sequence)[1][max(0, offset - chunks_end) : end - chunks_end])
        return b"".join(pieces)

    def raw(self, sequence: int, start: int, end: int) -> bytes:
        """Return bytes [start, end) of a segment file."""
        frames_end = SEGMENT_HEADER_BYTES + self.blocks * _FRAME_BYTES
        pieces = []
        if start < SEGMENT_HEADER_BYTES:
            pieces.append(self._header(sequence).encode()[start:end])
        begin, stop = max(start, SEGMENT_HEADER_BYTES), min(end, frames_end)
        if begin < stop:
            at = begin - SEGMENT_HEADER_BYTES
            first, last = at // _FRAME_BYTES, (stop - 1 - SEGMENT_HEADER_BYTES) // _FRAME_BYTES
            encoder = FrameEncoder(sequence)
            base = (sequence - 1) * self.blocks
            frames = b"".join(_frame(encoder, base + n) for n in range(first, last + 1))
            skipped = at - first * _FRAME_BYTES
            pieces.append(frames[skipped : skipped + stop - begin])
        if end > frames_end:
            tail = encode_tail(self.summary(sequence), self._index)
            pieces.append(tail[max(0, start - frames_end) : end - frames_end])
        return b"".join(pieces)

    @cached_property
    def _index(self) -> RunIndex:
        index = RunIndex(SEGMENT_HEADER_BYTES)
        for _ in range(self.blocks):
            index.append(FrameKind.BLOCK, BLOCK_BYTES)
        return index

    @cached_property
    def _first(self) -> SegmentSummary:
        return summarize(self._header(1), self._index, erases=False)

    def _header(self, sequence: int) -> SegmentHeader:
        first_object = (sequence - 1) * self.blocks
        return SegmentHeader(
            tape_uuid=self.tape_uuid,
            barcode=self.barcode,
            sequence=sequence,
            first_object=first_object,
            file_number=0,
            data_bytes_before=first_object * BLOCK_BYTES,
            created_ms=START_MS,
        )

    def _ends(self, sequence: int) -> tuple[bytes, bytes]:
        return _object_ends(self, sequence)

    def chunks(self, sequence: int) -> Iterator[bytes]:
        """Yield the pieces that an object is made of."""
        size_bytes = self._first.file_bytes
        for start in range(0, size_bytes, CHUNK_BYTES):
            yield self.raw(sequence, start, min(start + CHUNK_BYTES, size_bytes))


@lru_cache(maxsize=4)
def _object_ends(tape: SimulatedTape, sequence: int) -> tuple[bytes, bytes]:
    """Return what stands before and after the chunks of an object."""
    header = ObjectHeader(tape.tape_uuid, tape.barcode, sequence, tape.summary(sequence).file_bytes)
    pieces = encode_object(header, tape.chunks(sequence), level=None)
    head = bytes(next(pieces))
    tail = b""
    for piece in pieces:
        # The chunks are made again when they are read.
        tail = (tail + bytes(piece))[-(OBJECT_FOOTER_BYTES + 16 * 1024) :]
    chunks = -(-tape.summary(sequence).file_bytes // CHUNK_BYTES)
    return head, tail[-(OBJECT_FOOTER_BYTES + 16 * chunks) :]


def block(number: int) -> bytes:
    """Return a block of the tape."""
    return number.to_bytes(8, "big") + _FILLING[: BLOCK_BYTES - 8]


def _frame(encoder: FrameEncoder, number: int) -> bytes:
    payload = block(number)
    return bytes(encoder.block(number, memoryview(payload))) + payload
