"""A segment's object in the store: where it is, and its chunks by range."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tapectl.gateway.transfer.bucket_layout import archive_key, segment_key
from tapectl.medium.errors import MediumFormatError
from tapectl.medium.segment_object import (
    OBJECT_FOOTER_BYTES,
    OBJECT_TAIL_BYTES,
    ObjectFooter,
    StoredChunk,
    decode_table,
)
from tapectl.medium.summary import SegmentSummary
from tapectl.state import tapes
from tapectl.state.segments import SegmentRecord
from tapectl.store.interface import ObjectStore


@dataclass(frozen=True, slots=True)
class ObjectPlace:
    """The bytes of the store that are a segment's object; `archived`: in the pool's class."""

    key: str
    size_bytes: int
    archived: bool


def locate(db: sqlite3.Connection, record: SegmentRecord) -> ObjectPlace:
    """Return where an uploaded segment is."""
    through = tapes.get(db, record.barcode).archived_through_sequence
    archived = through is not None and record.sequence <= through
    return ObjectPlace(object_key(record, archived=archived), record.object_bytes or 0, archived)


def object_key(record: SegmentRecord, *, archived: bool) -> str:
    """Return the key of an uploaded segment, before or after it has been archived."""
    assert record.object_bytes is not None, "it is uploaded"
    assert record.store_epoch is not None, "it is uploaded"
    key_of = archive_key if archived else segment_key
    return key_of(record.barcode, record.store_epoch, record.sequence, record.object_bytes)


class StoredSegment:
    """Reads one object. What it returns has been checked."""

    def __init__(self, store: ObjectStore, place: ObjectPlace, summary: SegmentSummary) -> None:
        self._store = store
        self._place = place
        self._summary = summary

    def read_table(self) -> Sequence[StoredChunk]:
        """Return all chunks; one request, and another for a huge table.

        Raises StoreError, MediumFormatError.
        """
        place = self._place
        tail_offset = max(0, place.size_bytes - OBJECT_TAIL_BYTES)
        tail = self._get(tail_offset, place.size_bytes - tail_offset)
        footer = ObjectFooter.decode(tail[-OBJECT_FOOTER_BYTES:])
        if (footer.sequence, footer.raw_bytes) != (
            self._summary.sequence,
            self._summary.file_bytes,
        ):
            raise MediumFormatError(f"object {place.key} is that of another segment")
        start = footer.table_offset - tail_offset
        if start >= 0:
            table = tail[start : start + footer.table_bytes]
        else:
            table = self._get(footer.table_offset, footer.table_bytes)
        return decode_table(footer, table)

    def read_run(
        self, run: Sequence[StoredChunk]
    ) -> Iterator[tuple[StoredChunk, bytes | memoryview]]:
        """Yield chunks that stand one after the other, with their bytes of the segment file; one
        request.

        Raises StoreError, MediumFormatError.
        """
        start = run[0].offset
        stored = memoryview(self._get(start, run[-1].offset + run[-1].stored_bytes - start))
        for chunk in run:
            begin = chunk.offset - start
            yield chunk, chunk.decode(stored[begin : begin + chunk.stored_bytes])

    def _get(self, offset: int, size_bytes: int) -> bytes:
        return self._store.get(self._place.key, offset=offset, size_bytes=size_bytes)
