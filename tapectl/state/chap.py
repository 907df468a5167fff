"""CHAP credentials, by target and initiator. The secrets are sealed (secret_box)."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ChapRecord:
    """Credentials of one initiator at one target device.

    `target` is `mediachanger`, `tapedrive-NN`, `library` or `discovery`; `target_secret` None for
    one-way CHAP.
    """

    target: str
    initiator_name: str
    sealed_initiator_secret: bytes
    sealed_target_secret: bytes | None
    created_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChapEntry:
    """What may be shown of credentials."""

    target: str
    initiator_name: str
    mutual: bool
    created_at_ms: int


def replace(db: sqlite3.Connection, record: ChapRecord) -> None:
    """Enter credentials in place of those there were."""
    db.execute(
        "INSERT OR REPLACE INTO chap (target, initiator_name, sealed_initiator_secret,"
        " sealed_target_secret, created_at_ms) VALUES (?, ?, ?, ?, ?)",
        (
            record.target,
            record.initiator_name,
            record.sealed_initiator_secret,
            record.sealed_target_secret,
            record.created_at_ms,
        ),
    )


def find(db: sqlite3.Connection, target: str, initiator_name: str) -> ChapRecord | None:
    """Return the credentials of an initiator at a target, None if there are none."""
    row = db.execute(
        "SELECT * FROM chap WHERE target = ? AND initiator_name = ?", (target, initiator_name)
    ).fetchone()
    return None if row is None else ChapRecord(**row)


def is_asked_for(db: sqlite3.Connection, target: str) -> bool:
    """Say whether any initiator has credentials at a target."""
    row = db.execute("SELECT 1 FROM chap WHERE target = ? LIMIT 1", (target,)).fetchone()
    return row is not None


def entries(db: sqlite3.Connection) -> Sequence[ChapEntry]:
    """Return all entries without their secrets, by target and initiator."""
    rows = db.execute(
        "SELECT target, initiator_name, sealed_target_secret IS NOT NULL AS mutual, created_at_ms"
        " FROM chap ORDER BY target, initiator_name"
    )
    return [ChapEntry(**{**dict(row), "mutual": bool(row["mutual"])}) for row in rows]


def delete(db: sqlite3.Connection, target: str, initiator_name: str) -> bool:
    """Delete credentials; say whether there were any."""
    cursor = db.execute(
        "DELETE FROM chap WHERE target = ? AND initiator_name = ?", (target, initiator_name)
    )
    return cursor.rowcount > 0
