"""What the transfer engine asks of the state beyond the repositories of tapes and segments."""

from __future__ import annotations

import itertools
import sqlite3
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from tapectl.state.segments import SegmentRecord, record_of


@dataclass(frozen=True, slots=True)
class SegmentPlace:
    """A segment and a disk that has, or had, a file of it."""

    barcode: str
    sequence: int
    disk_id: str


def tapes_waiting_for_upload(db: sqlite3.Connection) -> Sequence[str]:
    """Return the barcodes of tapes that have segments which are not in the store and may go there,
    longest waiting first."""
    rows = db.execute(
        "SELECT barcode FROM segment JOIN tape USING (barcode) WHERE uploaded_at_ms IS NULL"
        " AND tape.status NOT IN ('CREATING', 'DELETING', 'DELETED', 'IRRECOVERABLE')"
        " GROUP BY barcode ORDER BY min(sealed_at_ms), barcode"
    )
    return [row[0] for row in rows]


def waiting_of_tape(db: sqlite3.Connection, barcode: str, *, limit: int) -> Sequence[SegmentRecord]:
    """Return up to `limit` segments of a tape that are not in the store, by sequence: the order
    of a tape's log, whatever the clock did."""
    rows = db.execute(
        "SELECT * FROM segment WHERE barcode = ? AND uploaded_at_ms IS NULL"
        " ORDER BY sequence LIMIT ?",
        (barcode, limit),
    )
    return [record_of(row) for row in rows]


def uploaded_by_epoch(db: sqlite3.Connection, barcode: str) -> Sequence[tuple[int, int]]:
    """Return how many segments of a tape are in the store, by the epoch in which they were put,
    ascending. Epochs only grow along a tape's log."""
    rows = db.execute(
        "SELECT store_epoch, count(*) FROM segment WHERE barcode = ? AND uploaded_at_ms IS NOT NULL"
        " GROUP BY store_epoch ORDER BY store_epoch",
        (barcode,),
    )
    return [(int(epoch), int(count)) for epoch, count in rows]


def epochs_of_rows(counts: Sequence[tuple[int, int]], rows: Sequence[int]) -> list[int]:
    """Return the epoch in which each of these rows was put, by their places among the uploaded
    ones in order of sequence; `counts` are those of `uploaded_by_epoch`."""
    epochs = [epoch for epoch, _ in counts]
    ends = list(itertools.accumulate(count for _, count in counts))
    return [epochs[bisect_right(ends, row)] for row in rows]


def last_uploaded(db: sqlite3.Connection, barcode: str, *, count: int) -> Sequence[SegmentRecord]:
    """Return the last `count` uploaded segments of a tape in order of sequence."""
    rows = db.execute(
        "SELECT * FROM segment WHERE barcode = ? AND uploaded_at_ms IS NOT NULL"
        " ORDER BY sequence DESC LIMIT ?",
        (barcode, count),
    )
    return [record_of(row) for row in rows][::-1]


def stored_after(
    db: sqlite3.Connection, barcode: str, sequence: int, *, limit: int
) -> Sequence[SegmentRecord]:
    """Return up to `limit` segments of a tape whose data the store has, by ascending sequence,
    those after `sequence`."""
    rows = db.execute(
        "SELECT * FROM segment WHERE barcode = ? AND sequence > ? AND uploaded_at_ms IS NOT NULL"
        " AND NOT expired ORDER BY sequence LIMIT ?",
        (barcode, sequence, limit),
    )
    return [record_of(row) for row in rows]


def count_stored(db: sqlite3.Connection, barcode: str, first: int, last: int) -> int:
    """Return of how many segments of a tape the store has the data, of those from sequence `first`
    to `last`."""
    row = db.execute(
        "SELECT count(*) FROM segment WHERE barcode = ? AND sequence BETWEEN ? AND ?"
        " AND uploaded_at_ms IS NOT NULL AND NOT expired",
        (barcode, first, last),
    ).fetchone()
    return int(row[0])


def last_stored(db: sqlite3.Connection, barcode: str, *, through: int | None = None) -> int | None:
    """Return the sequence of the last segment whose data the store has, up to `through` where that
    is given; None if there is none."""
    row = db.execute(
        "SELECT max(sequence) FROM segment WHERE barcode = ?1 AND uploaded_at_ms IS NOT NULL"
        " AND NOT expired AND (?2 IS NULL OR sequence <= ?2)",
        (barcode, through),
    ).fetchone()
    return None if row[0] is None else int(row[0])


def next_sequence(db: sqlite3.Connection, barcode: str, sequence: int) -> int | None:
    """Return the sequence of the sealed segment after `sequence` that a reader may come to, None at
    the last."""
    row = db.execute(
        "SELECT min(sequence) FROM segment WHERE barcode = ? AND sequence > ?"
        " AND overwritten_at_ms IS NULL",
        (barcode, sequence),
    ).fetchone()
    return None if row[0] is None else int(row[0])


def last_sequence(db: sqlite3.Connection, barcode: str) -> int | None:
    """Return the sequence of the last sealed segment, None if there is none."""
    row = db.execute("SELECT max(sequence) FROM segment WHERE barcode = ?", (barcode,)).fetchone()
    return None if row[0] is None else int(row[0])


def cached_of_tape(db: sqlite3.Connection, barcode: str) -> Sequence[SegmentPlace]:
    """Return the segments of a tape that the cache holds."""
    rows = db.execute(
        "SELECT barcode, sequence, cache_disk_id FROM segment"
        " WHERE barcode = ? AND cache_disk_id IS NOT NULL ORDER BY sequence",
        (barcode,),
    )
    return [SegmentPlace(*row) for row in rows]


def forget_cached(db: sqlite3.Connection, barcode: str) -> None:
    """Say that the cache holds nothing of a tape that is whole in the store."""
    db.execute(
        "UPDATE segment SET cache_disk_id = NULL"
        " WHERE barcode = ? AND uploaded_at_ms IS NOT NULL AND buffer_disk_id IS NULL",
        (barcode,),
    )
