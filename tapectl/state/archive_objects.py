"""Composed objects of archived tapes: which segments each of them holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from tapectl.medium.manifest import ArchiveObject

_COLUMNS = "first_sequence, last_sequence, size_bytes, store_epoch"


def insert(db: sqlite3.Connection, barcode: str, objects: Iterable[ArchiveObject]) -> None:
    """Enter objects that a manifest of the tape names."""
    db.executemany(
        f"INSERT INTO archive_object (barcode, {_COLUMNS}) VALUES (?, ?, ?, ?, ?)",
        [
            (barcode, one.first_sequence, one.last_sequence, one.size_bytes, one.epoch)
            for one in objects
        ],
    )


def of_tape(db: sqlite3.Connection, barcode: str) -> Sequence[ArchiveObject]:
    """Return the composed objects of a tape by ascending sequence."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM archive_object WHERE barcode = ? ORDER BY first_sequence",
        (barcode,),
    )
    return [ArchiveObject(*row) for row in rows]


def of_tape_after(
    db: sqlite3.Connection, barcode: str, sequence: int, *, limit: int
) -> Sequence[ArchiveObject]:
    """Return up to `limit` composed objects of segments after `sequence`, by ascending sequence."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM archive_object WHERE barcode = ? AND first_sequence > ?"
        " ORDER BY first_sequence LIMIT ?",
        (barcode, sequence, limit),
    )
    return [ArchiveObject(*row) for row in rows]


def holding(db: sqlite3.Connection, barcode: str, sequence: int) -> ArchiveObject | None:
    """Return the composed object that holds a segment, None if there is none."""
    row = db.execute(
        f"SELECT {_COLUMNS} FROM archive_object WHERE barcode = ? AND first_sequence <= ?"
        " ORDER BY first_sequence DESC LIMIT 1",
        (barcode, sequence),
    ).fetchone()
    if row is None or row["last_sequence"] < sequence:
        return None
    return ArchiveObject(*row)


def first_sequence(db: sqlite3.Connection, barcode: str) -> int | None:
    """Return the first segment of a tape that is in a composed object, None if none is."""
    row = db.execute(
        "SELECT min(first_sequence) FROM archive_object WHERE barcode = ?", (barcode,)
    ).fetchone()
    return None if row[0] is None else int(row[0])


def delete(db: sqlite3.Connection, barcode: str, objects: Iterable[ArchiveObject]) -> None:
    """Forget objects of which nothing is needed any more."""
    db.executemany(
        "DELETE FROM archive_object WHERE barcode = ? AND first_sequence = ?",
        [(barcode, one.first_sequence) for one in objects],
    )


def delete_of_tape(db: sqlite3.Connection, barcode: str) -> None:
    """Forget the objects of a tape that is being deleted."""
    db.execute("DELETE FROM archive_object WHERE barcode = ?", (barcode,))
