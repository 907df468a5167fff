"""Sealed segments: where their copies are, and which wait for an upload."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tapectl.medium.summary import SegmentSummary, Totals


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRecord:
    """A sealed segment; columns as the schema says. A disk id is None where there is no copy.

    `overwritten_at_ms` and `expired` are entered by `state.overwritten` only.
    """

    barcode: str
    summary: SegmentSummary
    sealed_at_ms: int
    cache_disk_id: str | None
    buffer_disk_id: str | None
    uploaded_at_ms: int | None = None
    object_bytes: int | None = None
    store_epoch: int | None = None
    last_read_at_ms: int = 0
    overwritten_at_ms: int | None = None
    expired: bool = False

    @property
    def sequence(self) -> int:
        return self.summary.sequence


@dataclass(frozen=True, slots=True)
class SegmentTotals:
    """How many segments, and the bytes of their files."""

    segments: int
    bytes: int


def insert(db: sqlite3.Connection, record: SegmentRecord) -> None:
    """Enter a sealed segment; entering the same sequence again changes nothing."""
    insert_all(db, [record])


def insert_all(db: sqlite3.Connection, records: Iterable[SegmentRecord]) -> None:
    """Enter sealed segments as `insert` does."""
    db.executemany(
        "INSERT INTO segment (barcode, sequence, partition, first_object, object_count,"
        " filemark_count, data_bytes, file_bytes, erases, sealed_at_ms, cache_disk_id,"
        " buffer_disk_id, uploaded_at_ms, object_bytes, store_epoch, last_read_at_ms,"
        " filemarks_before, data_bytes_before)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (barcode, sequence) DO NOTHING",
        map(_values, records),
    )


def _values(record: SegmentRecord) -> tuple[object, ...]:
    summary = record.summary
    return (
        record.barcode,
        summary.sequence,
        summary.partition,
        summary.first_object,
        summary.object_count,
        summary.filemark_count,
        summary.data_bytes,
        summary.file_bytes,
        int(summary.erases),
        record.sealed_at_ms,
        record.cache_disk_id,
        record.buffer_disk_id,
        record.uploaded_at_ms,
        record.object_bytes,
        record.store_epoch,
        record.last_read_at_ms or record.sealed_at_ms,
        *(summary.before or (None, None)),
    )


def of_tape(db: sqlite3.Connection, barcode: str) -> Sequence[SegmentRecord]:
    """Return the segments of a tape by ascending sequence, voided ones included."""
    rows = db.execute("SELECT * FROM segment WHERE barcode = ? ORDER BY sequence", (barcode,))
    return [record_of(row) for row in rows]


def of_tape_after(
    db: sqlite3.Connection, barcode: str, sequence: int, *, limit: int
) -> Sequence[SegmentRecord]:
    """Return up to `limit` segments of a tape that have not expired by ascending sequence, those
    after `sequence`: for walking a tape that has too many for one list."""
    rows = db.execute(
        "SELECT * FROM segment WHERE barcode = ? AND sequence > ? AND NOT expired"
        " ORDER BY sequence LIMIT ?",
        (barcode, sequence, limit),
    )
    return [record_of(row) for row in rows]


def sequences(db: sqlite3.Connection, barcode: str) -> Iterator[int]:
    """Yield the sequence numbers of all segments of a tape, ascending."""
    rows = db.execute(
        "SELECT sequence FROM segment WHERE barcode = ? ORDER BY sequence", (barcode,)
    )
    with contextlib.closing(rows):
        yield from (row[0] for row in rows)


def latest_first(
    db: sqlite3.Connection, barcode: str, *, through: int, partition: int
) -> Iterator[SegmentSummary]:
    """Yield what the segments of a tape's partition are, from sequence `through` back to the first,
    each read when it is asked for."""
    rows = db.execute(
        "SELECT * FROM segment WHERE barcode = ? AND sequence <= ? AND partition = ?"
        " ORDER BY sequence DESC",
        (barcode, through, partition),
    )
    with contextlib.closing(rows):  # few are asked for, and what is left would hold the snapshot
        for row in rows:
            yield record_of(row).summary


def of_tape_on_disks(db: sqlite3.Connection, barcode: str) -> Sequence[SegmentRecord]:
    """Return the segments of a tape that have a copy on a disk, or should have one as the store has
    none, by ascending sequence: few of a long tape."""
    rows = db.execute(
        "SELECT * FROM segment WHERE barcode = ? AND (uploaded_at_ms IS NULL"
        " OR cache_disk_id IS NOT NULL OR buffer_disk_id IS NOT NULL) ORDER BY sequence",
        (barcode,),
    )
    return [record_of(row) for row in rows]


def find(db: sqlite3.Connection, barcode: str, sequence: int) -> SegmentRecord | None:
    """Return one segment, None if it is not sealed or does not exist."""
    row = db.execute(
        "SELECT * FROM segment WHERE barcode = ? AND sequence = ?", (barcode, sequence)
    ).fetchone()
    return None if row is None else record_of(row)


def object_bytes_between(db: sqlite3.Connection, barcode: str, first: int, end: int) -> int:
    """Return the bytes in the store of the segments from sequence `first` on, before `end`."""
    row = db.execute(
        "SELECT coalesce(sum(object_bytes), 0) FROM segment"
        " WHERE barcode = ? AND sequence >= ? AND sequence < ?",
        (barcode, first, end),
    ).fetchone()
    return int(row[0])


def waiting_uploads(db: sqlite3.Connection, barcode: str | None = None) -> SegmentTotals:
    """Return how much is not in the store, of one tape or of all."""
    row = db.execute(
        "SELECT count(*), coalesce(sum(file_bytes), 0) FROM segment"
        " WHERE uploaded_at_ms IS NULL AND (?1 IS NULL OR barcode = ?1)",
        (barcode,),
    ).fetchone()
    return SegmentTotals(*row)


def waiting_bytes_by_tape(db: sqlite3.Connection) -> Mapping[str, int]:
    """Return the bytes that wait for an upload, by barcode; tapes with none are left out."""
    rows = db.execute(
        "SELECT barcode, sum(file_bytes) FROM segment WHERE uploaded_at_ms IS NULL GROUP BY barcode"
    )
    return dict(row for row in map(tuple, rows))


def mark_uploaded(
    db: sqlite3.Connection,
    barcode: str,
    sequence: int,
    *,
    object_bytes: int,
    now_ms: int,
    epoch: int = 1,
) -> None:
    """Say that the segment is in the store, as an object of `object_bytes` put in `epoch`."""
    db.execute(
        "UPDATE segment SET uploaded_at_ms = ?, object_bytes = ?, store_epoch = ?"
        " WHERE barcode = ? AND sequence = ?",
        (now_ms, object_bytes, epoch, barcode, sequence),
    )


def set_cache_disk(
    db: sqlite3.Connection, barcode: str, sequence: int, disk_id: str | None
) -> None:
    """Say which cache disk holds a copy; None: evicted. The file is deleted after the commit."""
    db.execute(
        "UPDATE segment SET cache_disk_id = ? WHERE barcode = ? AND sequence = ?",
        (disk_id, barcode, sequence),
    )


def set_buffer_disk(db: sqlite3.Connection, barcode: str, sequence: int, disk_id: str) -> None:
    """Say which upload-buffer disk holds a copy. The file is there before, and the one that it
    replaces goes after the commit."""
    db.execute(
        "UPDATE segment SET buffer_disk_id = ? WHERE barcode = ? AND sequence = ?",
        (disk_id, barcode, sequence),
    )


def clear_buffer_disk(db: sqlite3.Connection, barcode: str, sequence: int) -> None:
    """Say that the upload buffer has no copy any more. The file is deleted after the commit."""
    db.execute(
        "UPDATE segment SET buffer_disk_id = NULL WHERE barcode = ? AND sequence = ?",
        (barcode, sequence),
    )


def touch(db: sqlite3.Connection, barcode: str, sequences: Sequence[int], *, now_ms: int) -> None:
    """Say that segments were read, so that they are evicted later."""
    db.executemany(
        "UPDATE segment SET last_read_at_ms = ? WHERE barcode = ? AND sequence = ?",
        [(now_ms, barcode, sequence) for sequence in sequences],
    )


def evictable(
    db: sqlite3.Connection, cache_disk_id: str, *, limit: int = 1000
) -> Sequence[SegmentRecord]:
    """Return cached segments that the store has and the upload buffer has let go, longest unread
    first."""
    rows = db.execute(
        "SELECT * FROM segment WHERE cache_disk_id = ? AND uploaded_at_ms IS NOT NULL"
        " AND buffer_disk_id IS NULL ORDER BY last_read_at_ms LIMIT ?",
        (cache_disk_id, limit),
    )
    return [record_of(row) for row in rows]


def evictable_of_tape(
    db: sqlite3.Connection, barcode: str, sequences: Collection[int]
) -> Sequence[SegmentRecord]:
    """Return those of a tape's segments that are like `evictable`, on any disk."""
    rows = db.execute(
        "SELECT * FROM segment WHERE barcode = ? AND sequence IN (SELECT value FROM json_each(?))"
        " AND cache_disk_id IS NOT NULL AND uploaded_at_ms IS NOT NULL AND buffer_disk_id IS NULL",
        (barcode, json.dumps(sorted(sequences))),
    )
    return [record_of(row) for row in rows]


def in_buffer_and_uploaded(db: sqlite3.Connection) -> Sequence[SegmentRecord]:
    """Return uploaded segments whose upload-buffer copy can go."""
    rows = db.execute(
        "SELECT * FROM segment WHERE buffer_disk_id IS NOT NULL AND uploaded_at_ms IS NOT NULL"
    )
    return [record_of(row) for row in rows]


def bytes_by_disk(db: sqlite3.Connection) -> Mapping[str, int]:
    """Return the bytes that sealed segments take on each disk, by disk id."""
    rows = db.execute("SELECT disk_id, bytes FROM disk_use")
    return dict(row for row in map(tuple, rows))


def tapes_waiting_on_disk(db: sqlite3.Connection, disk_id: str) -> Sequence[str]:
    """Return the barcodes of tapes with a copy on the disk that is not in the store, sorted."""
    rows = db.execute(
        "SELECT DISTINCT barcode FROM segment WHERE uploaded_at_ms IS NULL"
        " AND (cache_disk_id = ?1 OR buffer_disk_id = ?1) ORDER BY barcode",
        (disk_id,),
    )
    return [row[0] for row in rows]


def waiting_on_disk(
    db: sqlite3.Connection, disk_id: str, *, limit: int = -1
) -> Sequence[SegmentRecord]:
    """Return segments with a copy on the disk that are not in the store, by tape; all of them, or
    the first `limit`."""
    rows = db.execute(
        "SELECT * FROM segment WHERE uploaded_at_ms IS NULL"
        " AND (cache_disk_id = ?1 OR buffer_disk_id = ?1) ORDER BY barcode, sequence LIMIT ?2",
        (disk_id, limit),
    )
    return [record_of(row) for row in rows]


def totals_on_disk(db: sqlite3.Connection, disk_id: str) -> SegmentTotals:
    """Return how many segments have a copy on the disk, and their bytes."""
    row = db.execute(
        "SELECT count(*), coalesce(sum(file_bytes), 0) FROM segment"
        " WHERE cache_disk_id = ?1 OR buffer_disk_id = ?1",
        (disk_id,),
    ).fetchone()
    return SegmentTotals(*row)


def forget_disk(db: sqlite3.Connection, disk_id: str) -> None:
    """Say that a disk holds no copy any more."""
    for column in ("cache_disk_id", "buffer_disk_id"):
        db.execute(f"UPDATE segment SET {column} = NULL WHERE {column} = ?", (disk_id,))


def dirty_cache_bytes(db: sqlite3.Connection) -> int:
    """Return the bytes in the cache that are not in the store."""
    row = db.execute(
        "SELECT coalesce(sum(file_bytes), 0) FROM segment"
        " WHERE cache_disk_id IS NOT NULL AND uploaded_at_ms IS NULL"
    ).fetchone()
    return int(row[0])


def delete_waiting(db: sqlite3.Connection, barcode: str) -> None:
    """Forget the segments of a tape that are not in the store and never will be."""
    db.execute("DELETE FROM segment WHERE barcode = ? AND uploaded_at_ms IS NULL", (barcode,))


def delete_of_tape(db: sqlite3.Connection, barcode: str) -> None:
    """Forget the segments of a tape that is being deleted, after their files are gone."""
    db.execute("DELETE FROM segment WHERE barcode = ?", (barcode,))


def record_of(row: sqlite3.Row) -> SegmentRecord:
    """Return the segment of a whole row."""
    filemarks_before = row["filemarks_before"]
    return SegmentRecord(
        barcode=row["barcode"],
        summary=SegmentSummary(
            sequence=row["sequence"],
            first_object=row["first_object"],
            object_count=row["object_count"],
            filemark_count=row["filemark_count"],
            data_bytes=row["data_bytes"],
            file_bytes=row["file_bytes"],
            partition=row["partition"],
            erases=bool(row["erases"]),
            before=(
                None
                if filemarks_before is None
                else Totals(filemarks_before, row["data_bytes_before"])
            ),
        ),
        sealed_at_ms=row["sealed_at_ms"],
        cache_disk_id=row["cache_disk_id"],
        buffer_disk_id=row["buffer_disk_id"],
        uploaded_at_ms=row["uploaded_at_ms"],
        object_bytes=row["object_bytes"],
        store_epoch=row["store_epoch"],
        last_read_at_ms=row["last_read_at_ms"],
        overwritten_at_ms=row["overwritten_at_ms"],
        expired=bool(row["expired"]),
    )
