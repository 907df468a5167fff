"""Verifications of tapes: how far the one that runs is, and what the last one found."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tapectl.state.segments import SegmentRecord, find


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationRecord:
    """One a tape at most; columns as the schema says."""

    barcode: str
    requested: bool
    local_only: bool
    rate_bytes_per_s: int | None
    started_at_ms: int
    finished_at_ms: int | None = None
    next_sequence: int = 0
    segment_count: int = 0
    checked_bytes: int = 0
    healed_count: int = 0
    damaged_count: int = 0
    lost_count: int = 0
    unread_count: int = 0

    @property
    def status(self) -> str:
        """VERIFYING, and then SOUND, or DAMAGED where a copy stays damaged or is missing."""
        if self.finished_at_ms is None:
            return "VERIFYING"
        return "DAMAGED" if self.damaged_count or self.lost_count else "SOUND"


@dataclass(frozen=True, slots=True)
class Findings:
    """What one segment adds: its bytes that are right in all copies, copies made anew, and whether
    a copy stays damaged, no copy is right, and a copy could not be read."""

    checked_bytes: int
    healed: int
    damaged: bool
    lost: bool
    unread: bool


def begin(db: sqlite3.Connection, record: VerificationRecord) -> None:
    """Enter a new verification in the place of the tape's last one."""
    db.execute(
        "INSERT OR REPLACE INTO verification (barcode, requested, local_only, rate_bytes_per_s,"
        " started_at_ms) VALUES (?, ?, ?, ?, ?)",
        (
            record.barcode,
            record.requested,
            record.local_only,
            record.rate_bytes_per_s,
            record.started_at_ms,
        ),
    )


def request(db: sqlite3.Connection, record: VerificationRecord) -> None:
    """Let one that goes on be one that was asked for, at its rate."""
    db.execute(
        "UPDATE verification SET requested = 1, rate_bytes_per_s = ? WHERE barcode = ?",
        (record.rate_bytes_per_s, record.barcode),
    )


def find_verification(db: sqlite3.Connection, barcode: str) -> VerificationRecord | None:
    """Return the last verification of a tape."""
    row = db.execute("SELECT * FROM verification WHERE barcode = ?", (barcode,)).fetchone()
    return None if row is None else _record(row)


def all_verifications(db: sqlite3.Connection) -> Mapping[str, VerificationRecord]:
    """Return the last verification of every tape that has had one, by barcode."""
    rows = db.execute("SELECT * FROM verification")
    return {row["barcode"]: _record(row) for row in rows}


def running(db: sqlite3.Connection) -> Sequence[VerificationRecord]:
    """Return those that go on, requested ones first, the oldest of them first."""
    rows = db.execute(
        "SELECT * FROM verification WHERE finished_at_ms IS NULL"
        " ORDER BY requested DESC, started_at_ms, barcode"
    )
    return [_record(row) for row in rows]


def due_for_scrub(
    db: sqlite3.Connection, *, before_ms: int, statuses: Sequence[str], local_only: bool
) -> str | None:
    """Return the tape of these statuses whose last verification, or creation, is longest ago and
    before `before_ms`; with `local_only` of those that have a copy on a local disk."""
    row = db.execute(
        "SELECT tape.barcode FROM tape LEFT JOIN verification USING (barcode)"
        " WHERE tape.status IN (SELECT value FROM json_each(?))"
        " AND coalesce(verification.finished_at_ms, tape.created_at_ms) < ?"
        f" AND EXISTS (SELECT 1 FROM {_looked_at(local_only)}"
        " AND segment.barcode = tape.barcode)"
        " ORDER BY coalesce(verification.finished_at_ms, tape.created_at_ms), tape.barcode LIMIT 1",
        (json.dumps(list(statuses)), before_ms),
    ).fetchone()
    return None if row is None else str(row[0])


def next_segment(db: sqlite3.Connection, record: VerificationRecord) -> SegmentRecord | None:
    """Return the segment that a verification looks at next, None at its end."""
    row = db.execute(
        f"SELECT sequence FROM {_looked_at(record.local_only)}"
        " AND barcode = ? AND sequence >= ? ORDER BY sequence LIMIT 1",
        (record.barcode, record.next_sequence),
    ).fetchone()
    return None if row is None else find(db, record.barcode, row[0])


def segments_left(db: sqlite3.Connection, record: VerificationRecord) -> int:
    """Return how many segments a verification has still to look at."""
    row = db.execute(
        f"SELECT count(*) FROM {_looked_at(record.local_only)} AND barcode = ? AND sequence >= ?",
        (record.barcode, record.next_sequence),
    ).fetchone()
    return int(row[0])


def advance(db: sqlite3.Connection, barcode: str, sequence: int, findings: Findings) -> None:
    """Say that a segment has been looked at."""
    db.execute(
        "UPDATE verification SET next_sequence = ?, segment_count = segment_count + 1,"
        " checked_bytes = checked_bytes + ?, healed_count = healed_count + ?,"
        " damaged_count = damaged_count + ?, lost_count = lost_count + ?,"
        " unread_count = unread_count + ? WHERE barcode = ?",
        (
            sequence + 1,
            findings.checked_bytes,
            findings.healed,
            findings.damaged,
            findings.lost,
            findings.unread,
            barcode,
        ),
    )


def finish(db: sqlite3.Connection, barcode: str, *, now_ms: int) -> None:
    """Say that a verification has come to its end."""
    db.execute("UPDATE verification SET finished_at_ms = ? WHERE barcode = ?", (now_ms, barcode))


def delete_of_tape(db: sqlite3.Connection, barcode: str) -> None:
    """Forget the verification of a tape that is being deleted."""
    db.execute("DELETE FROM verification WHERE barcode = ?", (barcode,))


def _record(row: sqlite3.Row) -> VerificationRecord:
    values = dict(row)
    for name in ("requested", "local_only"):
        values[name] = bool(values[name])
    return VerificationRecord(**values)


def _looked_at(local_only: bool) -> str:
    """Return the segments that there is something to look at of, up to the AND of a condition; of
    the few that have a copy on a disk, the index knows."""
    if local_only:
        copies = "(cache_disk_id IS NOT NULL OR buffer_disk_id IS NOT NULL)"
        return f"segment INDEXED BY segment_on_disk WHERE {copies}"
    return "segment WHERE NOT expired"
