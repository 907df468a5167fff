"""The objects of a segment from the bytes of its file in order, every checksum looked at. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator

from tapectl.medium.checksum import crc32c
from tapectl.medium.errors import MediumFormatError
from tapectl.medium.frame import FRAME_HEADER_BYTES, FrameKind, decode_frame
from tapectl.medium.segment import SEGMENT_HEADER_BYTES, SegmentHeader


class FrameStream:
    """Cuts the file of one segment into objects, as its pieces come; no more than one piece and one
    object are in memory."""

    def __init__(self, pieces: Iterable[bytes | memoryview], sequence: int) -> None:
        """Take pieces that begin where a frame does, or the segment; they may end anywhere."""
        self._pieces = iter(pieces)
        self._sequence = sequence
        self._rest = memoryview(b"")

    def read_header(self, tape_uuid: uuid.UUID) -> SegmentHeader:
        """Return the header, at which the pieces begin; raise MediumFormatError if it is not that
        of this segment of the tape."""
        header = SegmentHeader.decode(self._take(SEGMENT_HEADER_BYTES))
        if (header.tape_uuid, header.sequence) != (tape_uuid, self._sequence):
            raise MediumFormatError(f"segment {self._sequence} is another one")
        return header

    def objects(self, first_number: int, count: int) -> Iterator[tuple[FrameKind, bytes]]:
        """Yield kind and payload of the next `count` objects, which are numbered from
        `first_number`; raise MediumFormatError at the first that is not whole and undamaged."""
        for number in range(first_number, first_number + count):
            frame = decode_frame(self._take(FRAME_HEADER_BYTES))
            if (
                frame is None
                or (frame.number, frame.sequence) != (number, self._sequence & 0xFFFFFFFF)
                or frame.kind is FrameKind.END_OF_DATA
            ):
                raise MediumFormatError(f"no object {number} in segment {self._sequence}")
            payload = bytes(self._take(frame.length))
            if crc32c(payload) != frame.payload_crc:
                raise MediumFormatError(f"checksum of object {number}")
            yield frame.kind, payload

    def _take(self, size_bytes: int) -> bytes | memoryview:
        if size_bytes <= len(self._rest):
            taken, self._rest = self._rest[:size_bytes], self._rest[size_bytes:]
            return taken
        parts: list[memoryview] = []
        missing_bytes = size_bytes
        while missing_bytes > len(self._rest):
            parts.append(self._rest)
            missing_bytes -= len(self._rest)
            piece = next(self._pieces, None)
            if piece is None:
                raise MediumFormatError(f"segment {self._sequence} ends in the middle of an object")
            self._rest = memoryview(piece)
        parts.append(self._rest[:missing_bytes])
        self._rest = self._rest[missing_bytes:]
        return b"".join(parts)
