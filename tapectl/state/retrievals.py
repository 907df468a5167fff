"""How far asking for readable copies of archived tapes has got."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalProgress:
    """Columns as the schema says; sequence numbers are -1 before the first object."""

    barcode: str
    request_ms: int
    asked_through: int = -1
    readable_through: int = -1
    until_ms: int | None = None


def progress_of(db: sqlite3.Connection, barcode: str, request_ms: int) -> RetrievalProgress:
    """Return how far a request has got; what is left of an earlier one counts for nothing."""
    row = db.execute(
        "SELECT * FROM retrieval WHERE barcode = ? AND request_ms = ?", (barcode, request_ms)
    ).fetchone()
    if row is None:
        return RetrievalProgress(barcode=barcode, request_ms=request_ms)
    return RetrievalProgress(**dict(row))


def record(db: sqlite3.Connection, progress: RetrievalProgress) -> None:
    """Enter how far a request has got."""
    db.execute(
        "INSERT OR REPLACE INTO retrieval"
        " (barcode, request_ms, asked_through, readable_through, until_ms) VALUES (?, ?, ?, ?, ?)",
        (
            progress.barcode,
            progress.request_ms,
            progress.asked_through,
            progress.readable_through,
            progress.until_ms,
        ),
    )


def delete_of_tape(db: sqlite3.Connection, barcode: str) -> None:
    """Forget a request that has come to its end."""
    db.execute("DELETE FROM retrieval WHERE barcode = ?", (barcode,))
