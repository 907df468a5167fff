"""Segments of which nothing counts any more: since when, and which of them have expired."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tapectl.medium.overwritten import SegmentExtent
from tapectl.state import tapes
from tapectl.state.segments import SegmentRecord, record_of

Ranges = Sequence[tuple[int, int]]
"""Sequence numbers, each pair from its first to its last."""


class UploadedSegment(NamedTuple):
    """A segment that the store has had, the bytes of its object, and whether it is marked as
    overwritten; a tuple, as there are very many."""

    extent: SegmentExtent
    object_bytes: int
    marked: int


class OverwrittenSegment(NamedTuple):
    """A segment that is marked, and the bytes of its object."""

    sequence: int
    object_bytes: int


@dataclass(frozen=True, slots=True)
class OverwrittenTotals:
    """What the store still has of overwritten segments, and since when the first of them is one."""

    object_bytes: int = 0
    since_ms: int | None = None


def uploaded(db: sqlite3.Connection, barcode: str) -> Iterator[UploadedSegment]:
    """Yield the segments that manifests of a tape name and that have not expired, by ascending
    sequence."""
    rows = db.execute(
        "SELECT object_bytes, overwritten_at_ms IS NOT NULL, sequence, partition, first_object,"
        " object_count, erases FROM segment"
        " WHERE barcode = ? AND uploaded_at_ms IS NOT NULL AND NOT expired ORDER BY sequence",
        (barcode,),
    )
    for object_bytes, marked, *extent in rows:
        yield UploadedSegment(SegmentExtent(*extent), object_bytes, marked)


def mark(
    db: sqlite3.Connection, barcode: str, sequences: Iterable[int], *, at_ms: int, point: int
) -> None:
    """Say that segments count for nothing since `at_ms`, as recovery point `point` has it."""
    db.executemany(
        "UPDATE segment SET overwritten_at_ms = ?, overwritten_point = ?"
        " WHERE barcode = ? AND sequence = ? AND overwritten_at_ms IS NULL",
        [(at_ms, point, barcode, sequence) for sequence in sequences],
    )


def unmark(db: sqlite3.Connection, barcode: str, sequences: Iterable[int]) -> None:
    """Say that segments count again; those that have expired never do."""
    db.executemany(
        "UPDATE segment SET overwritten_at_ms = NULL, overwritten_point = NULL"
        " WHERE barcode = ? AND sequence = ? AND NOT expired",
        [(barcode, sequence) for sequence in sequences],
    )


def unmark_tape(db: sqlite3.Connection, barcode: str) -> None:
    """Forget since when anything of a tape is overwritten: it was brought back to an earlier
    point, and everything is looked at anew."""
    db.execute(
        "UPDATE segment SET overwritten_at_ms = NULL, overwritten_point = NULL"
        " WHERE barcode = ? AND overwritten_at_ms IS NOT NULL AND NOT expired",
        (barcode,),
    )
    tapes.update(db, barcode, overwritten_seen=0)


def tapes_due(db: sqlite3.Connection, before_ms: int) -> Sequence[str]:
    """Return the barcodes of tapes with segments that were overwritten at `before_ms` or
    earlier."""
    rows = db.execute(
        "SELECT DISTINCT barcode FROM segment WHERE overwritten_at_ms <= ? AND expired = 0"
        " ORDER BY barcode",
        (before_ms,),
    )
    return [row[0] for row in rows]


def next_at_ms(db: sqlite3.Connection, after_ms: int) -> int | None:
    """Return when the next segment after `after_ms` was overwritten, None if there is none."""
    row = db.execute(
        "SELECT min(overwritten_at_ms) FROM segment WHERE overwritten_at_ms > ? AND expired = 0",
        (after_ms,),
    ).fetchone()
    return None if row[0] is None else int(row[0])


def due_of_tape(
    db: sqlite3.Connection, barcode: str, before_ms: int
) -> Sequence[OverwrittenSegment]:
    """Return a tape's segments that were overwritten at `before_ms` or earlier and are still kept,
    by ascending sequence."""
    rows = db.execute(
        "SELECT sequence, object_bytes FROM segment"
        " WHERE barcode = ? AND overwritten_at_ms <= ? AND expired = 0 ORDER BY sequence",
        (barcode, before_ms),
    )
    return [OverwrittenSegment(*row) for row in rows]


def totals_by_tape(
    db: sqlite3.Connection, barcode: str | None = None
) -> Mapping[str, OverwrittenTotals]:
    """Return what the store still keeps of tapes that were overwritten, of one or of all; those of
    which it keeps nothing are left out."""
    rows = db.execute(
        "SELECT barcode, sum(object_bytes), min(overwritten_at_ms) FROM segment"
        " WHERE overwritten_at_ms IS NOT NULL AND expired = 0 AND (?1 IS NULL OR barcode = ?1)"
        " GROUP BY barcode",
        (barcode,),
    )
    return {row[0]: OverwrittenTotals(row[1], row[2]) for row in rows}


def expire(db: sqlite3.Connection, barcode: str, sequences: Sequence[int]) -> None:
    """Say that the data of marked segments, by ascending sequence, is let go of: no recovery point
    before the one at which the last of them was marked can be restored from now on, and their
    objects are to go."""
    db.executemany(
        "UPDATE segment SET expired = 1 WHERE barcode = ? AND sequence = ?",
        [(barcode, sequence) for sequence in sequences],
    )
    newest_point = db.execute(
        "SELECT max(overwritten_point) FROM segment"
        " WHERE barcode = ? AND sequence BETWEEN ? AND ? AND expired = 1",
        (barcode, sequences[0], sequences[-1]),
    ).fetchone()[0]
    tape = tapes.get(db, barcode)
    ranges = [*decode_ranges(tape.expired), *((sequence, sequence) for sequence in sequences)]
    tapes.update(
        db,
        barcode,
        expired=_encode_ranges(_joined(ranges)),
        oldest_point=max(tape.oldest_point, newest_point),
        expiry_pending=1,
    )


def enter_expired(
    db: sqlite3.Connection, barcode: str, ranges: Ranges, *, at_ms: int, oldest_point: int
) -> None:
    """Enter what the manifest of a tape that comes to this gateway says has expired. Objects of it
    may still be there: who had the tape may not have got to them."""
    for first, last in ranges:
        db.execute(
            "UPDATE segment SET overwritten_at_ms = ?, overwritten_point = ?, expired = 1"
            " WHERE barcode = ? AND sequence BETWEEN ? AND ?",
            (at_ms, oldest_point, barcode, first, last),
        )
    tapes.update(
        db,
        barcode,
        expired=_encode_ranges(ranges),
        oldest_point=oldest_point,
        expiry_pending=int(bool(ranges)),
        overwritten_seen=0,
    )


def expired_on_disks(db: sqlite3.Connection, barcode: str) -> Sequence[SegmentRecord]:
    """Return expired segments of a tape of which the cache has a copy."""
    rows = db.execute(
        "SELECT * FROM segment WHERE barcode = ? AND expired = 1 AND cache_disk_id IS NOT NULL",
        (barcode,),
    )
    return [record_of(row) for row in rows]


def decode_ranges(text: str) -> Ranges:
    """Return what the column `expired` of a tape holds."""
    return [(first, last) for first, last in json.loads(text)]


def _encode_ranges(ranges: Ranges) -> str:
    return json.dumps([list(one) for one in ranges], separators=(",", ":"))


def _joined(ranges: Ranges) -> Ranges:
    """Return ranges that do not overlap, ascending, those that meet as one."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first == joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined
