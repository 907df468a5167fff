"""A segment's object in the store, or within an archived one: where it is, its chunks by range."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tapectl.gateway.transfer.bucket_layout import (
    archive_key,
    archived_copy_key,
    segment_key,
)
from tapectl.medium.chain import ChainEntry
from tapectl.medium.errors import MediumFormatError
from tapectl.medium.run_index import RunIndex
from tapectl.medium.sealing import TapeSeal
from tapectl.medium.segment import SEGMENT_FOOTER_BYTES, SegmentFooter
from tapectl.medium.segment_object import (
    OBJECT_FOOTER_BYTES,
    OBJECT_TAIL_BYTES,
    ObjectFooter,
    StoredChunk,
    chunk_numbers,
    decode_table,
)
from tapectl.medium.summary import SegmentSummary
from tapectl.state import archive_objects, segments, tapes
from tapectl.state.segments import SegmentRecord
from tapectl.state.transfer_queries import stored_after
from tapectl.store.interface import ObjectStore

# Rows of the state at once.
_ROWS = 512


@dataclass(frozen=True, slots=True)
class ObjectPlace:
    """The bytes of the store that are a segment's object: `size_bytes` from `offset` on of what is
    at `key`; `archived`: in the pool's class."""

    key: str
    size_bytes: int
    archived: bool
    offset: int = 0


def locate(db: sqlite3.Connection, record: SegmentRecord) -> ObjectPlace:
    """Return where an uploaded segment is."""
    barcode, sequence = record.barcode, record.sequence
    through = tapes.get(db, barcode).archived_through_sequence
    if through is None or sequence > through:
        return ObjectPlace(object_key(record), record.object_bytes or 0, archived=False)
    composed = archive_objects.holding(db, barcode, sequence)
    if composed is None:
        return ObjectPlace(copied_key(record), record.object_bytes or 0, archived=True)
    return ObjectPlace(
        archive_key(barcode, composed),
        record.object_bytes or 0,
        archived=True,
        offset=segments.object_bytes_between(db, barcode, composed.first_sequence, sequence),
    )


def locate_all(db: sqlite3.Connection, barcode: str) -> Iterator[tuple[SegmentRecord, ObjectPlace]]:
    """Yield every segment whose data the store has by ascending sequence, and where it is."""
    through = tapes.get(db, barcode).archived_through_sequence
    composed = deque(archive_objects.of_tape(db, barcode))
    after, offset = -1, 0
    while records := stored_after(db, barcode, after, limit=_ROWS):
        after = records[-1].sequence
        for record in records:
            while composed and composed[0].last_sequence < record.sequence:
                composed.popleft()
                offset = 0
            size_bytes = record.object_bytes or 0
            if through is None or record.sequence > through:
                yield record, ObjectPlace(object_key(record), size_bytes, archived=False)
            elif not composed or record.sequence < composed[0].first_sequence:
                yield record, ObjectPlace(copied_key(record), size_bytes, archived=True)
            else:
                key = archive_key(barcode, composed[0])
                yield record, ObjectPlace(key, size_bytes, archived=True, offset=offset)
                offset += size_bytes


def object_key(record: SegmentRecord) -> str:
    """Return the key of an uploaded segment that is not archived."""
    return segment_key(record.barcode, *_names(record))


def copied_key(record: SegmentRecord) -> str:
    """Return the key of an archived segment that is an object of its own."""
    return archived_copy_key(record.barcode, *_names(record))


def _names(record: SegmentRecord) -> tuple[int, int, int]:
    assert record.object_bytes is not None, "it is uploaded"
    assert record.store_epoch is not None, "it is uploaded"
    return record.store_epoch, record.sequence, record.object_bytes


class StoredSegment:
    """Reads a segment's object, with the `seal` of its tape where that is encrypted. What it
    returns has been checked."""

    def __init__(
        self,
        store: ObjectStore,
        place: ObjectPlace,
        summary: SegmentSummary | ChainEntry,
        seal: TapeSeal | None = None,
    ) -> None:
        self._store = store
        self._place = place
        self._summary = summary
        self._seal = seal

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
        return decode_table(footer, table, seal=self._seal)

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

    def read_index(self) -> RunIndex:
        """Return the index of the segment; one request more than for the table, or two.

        Raises StoreError, MediumFormatError.
        """
        table = self.read_table()
        end = self._summary.file_bytes - SEGMENT_FOOTER_BYTES
        footer = SegmentFooter.decode(self._read_range(table, end, SEGMENT_FOOTER_BYTES))
        return footer.decode_index(self._read_range(table, footer.index_offset, footer.index_bytes))

    def _read_range(self, table: Sequence[StoredChunk], offset: int, size_bytes: int) -> bytes:
        numbers = chunk_numbers(offset, size_bytes, self._summary.file_bytes)
        run = table[numbers.start : numbers.stop]
        raw = b"".join(content for _, content in self.read_run(run))
        start = offset - run[0].raw_offset
        return raw[start : start + size_bytes]

    def _get(self, offset: int, size_bytes: int) -> bytes:
        place = self._place
        return self._store.get(place.key, offset=place.offset + offset, size_bytes=size_bytes)
