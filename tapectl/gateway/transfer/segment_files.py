"""A sealed segment file, read whole and checked, and the object it becomes."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from tapectl.medium.errors import MediumFormatError
from tapectl.medium.sealing import TapeSeal
from tapectl.medium.segment import (
    SEGMENT_FOOTER_BYTES,
    SEGMENT_HEADER_BYTES,
    SegmentFooter,
    SegmentHeader,
    frame_at,
    scan,
)
from tapectl.medium.segment_object import CHUNK_BYTES, ObjectHeader, encode_object
from tapectl.medium.summary import SegmentSummary

# The fastest level of zstd that still finds what tapes mostly hold twice: text and zeros.
_ZSTD_LEVEL = 1


class SegmentBuffers:
    """The memory of one upload after the other: the raw segment and its object.

    For one thread at a time. It is kept, because the first touch of fresh memory costs
    more than compressing what is put into it.
    """

    def __init__(self) -> None:
        self._raw = bytearray()
        self._stored = bytearray()

    def read_verified(
        self, paths: Sequence[Path], header: ObjectHeader, summary: SegmentSummary
    ) -> memoryview:
        """Return the content of the first of `paths` that is whole and undamaged.

        Every frame is checked, so that no damage of a local disk gets into the store, where it
        would outlive the other copy. The view is good until the next call. Raises
        MediumFormatError if none of them is whole, OSError if none is there.
        """
        failure: Exception = FileNotFoundError(f"no local copy of segment {summary.sequence}")
        for path in paths:
            try:
                content = self._read(path, summary.file_bytes)
                verify(content, header, summary)
            except (OSError, MediumFormatError) as error:
                if isinstance(failure, FileNotFoundError):
                    failure = error
            else:
                return content
        raise failure

    def room(self, size_bytes: int) -> memoryview:
        """Return the memory of a raw segment; its content is good until the next call."""
        if len(self._raw) < size_bytes:
            self._raw = bytearray(size_bytes)
        return memoryview(self._raw)[:size_bytes]

    def encode(
        self,
        content: memoryview,
        header: ObjectHeader,
        *,
        compression: bool,
        seal: TapeSeal | None = None,
    ) -> bytearray:
        """Return the object of a segment, encrypted with the `seal` of its tape; it is good until
        the next call, and longer while somebody has a view of it."""
        chunks = (content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES))
        level = _ZSTD_LEVEL if compression else None
        lock = None if seal is None else seal.of_object(header.sequence, header.raw_bytes)
        stored, end = self._free_memory(), 0
        for piece in encode_object(header, chunks, level=level, lock=lock):
            # Over what the last object left, and beyond it.
            stored[end : end + len(piece)] = piece
            end += len(piece)
        del stored[end:]
        return stored

    def _free_memory(self) -> bytearray:
        """Return the memory of the last object; new memory where a request that was broken off
        still holds that, which so can be neither sent otherwise nor made longer or shorter."""
        try:
            self._stored.append(0)
            self._stored.pop()
        except BufferError:
            self._stored = bytearray()
        return self._stored

    def _read(self, path: Path, size_bytes: int) -> memoryview:
        with path.open("rb", buffering=0) as file:
            found_bytes = os.fstat(file.fileno()).st_size
            if found_bytes != size_bytes:
                raise MediumFormatError(f"{path} has {found_bytes} bytes, not {size_bytes}")
            view = self.room(size_bytes)
            filled = 0
            while filled < size_bytes:
                count = file.readinto(view[filled:])
                if not count:
                    raise MediumFormatError(f"{path} ends at {filled} of {size_bytes} bytes")
                filled += count
        return view


def verify(content: memoryview, header: ObjectHeader, summary: SegmentSummary) -> None:
    """Raise MediumFormatError unless `content` is the sealed segment that the summary speaks of."""
    name = f"segment {summary.sequence} of {header.barcode}"
    if len(content) != summary.file_bytes:
        raise MediumFormatError(f"{name} has {len(content)} bytes, not {summary.file_bytes}")
    found = SegmentHeader.decode(content[:SEGMENT_HEADER_BYTES])
    if (found.tape_uuid, found.sequence) != (header.tape_uuid, summary.sequence):
        raise MediumFormatError(f"{name} is that of another tape or place")
    footer = SegmentFooter.decode(content[-SEGMENT_FOOTER_BYTES:])
    index = content[footer.index_offset : footer.index_offset + footer.index_bytes]
    footer.decode_index(index)
    view = content[: footer.index_offset]
    scanned = scan(found, lambda offset, number: frame_at(view[offset:], number, summary.sequence))
    if not scanned.summary == footer.summary == summary:
        raise MediumFormatError(f"checksum of a frame of {name}")


def object_header(tape_uuid: str, barcode: str, summary: SegmentSummary) -> ObjectHeader:
    """Return the header of the object that holds a segment; `tape_uuid` as the state has it."""
    return ObjectHeader(uuid.UUID(tape_uuid), barcode, summary.sequence, summary.file_bytes)
