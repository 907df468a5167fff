"""A sealed segment file, read whole and checked, and the object it becomes."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

from tapectl.medium.errors import MediumFormatError
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


def read_verified(paths: Sequence[Path], header: ObjectHeader, summary: SegmentSummary) -> bytes:
    """Return the content of the first of `paths` that is whole and undamaged.

    Every frame is checked, so that no damage of a local disk gets into the store, where it would
    outlive the other copy. Raises MediumFormatError if none of them is, OSError if none is there.
    """
    failure: Exception = FileNotFoundError(f"no local copy of segment {summary.sequence}")
    for path in paths:
        try:
            content = path.read_bytes()
            verify(content, header, summary)
        except (OSError, MediumFormatError) as error:
            if isinstance(failure, FileNotFoundError):
                failure = error
        else:
            return content
    raise failure


def verify(content: bytes, header: ObjectHeader, summary: SegmentSummary) -> None:
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
    view = memoryview(content)[: footer.index_offset]
    scanned = scan(found, lambda offset, number: frame_at(view[offset:], number, summary.sequence))
    if not scanned.summary == footer.summary == summary:
        raise MediumFormatError(f"checksum of a frame of {name}")


def object_header(tape_uuid: str, barcode: str, summary: SegmentSummary) -> ObjectHeader:
    """Return the header of the object that holds a segment; `tape_uuid` as the state has it."""
    return ObjectHeader(uuid.UUID(tape_uuid), barcode, summary.sequence, summary.file_bytes)


def encode(content: bytes, header: ObjectHeader, *, compression: bool) -> bytes:
    """Return the object of a segment."""
    view = memoryview(content)
    chunks = (view[offset : offset + CHUNK_BYTES] for offset in range(0, len(view), CHUNK_BYTES))
    return b"".join(encode_object(header, chunks, level=_ZSTD_LEVEL if compression else None))
