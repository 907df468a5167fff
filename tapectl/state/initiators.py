"""Which initiators may log in to a target, by name. A target without an entry takes every one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedInitiator:
    """`target` is `mediachanger`, `tapedrive-NN` or `library`."""

    target: str
    initiator_name: str
    created_at_ms: int


def add(db: sqlite3.Connection, entry: AllowedInitiator) -> bool:
    """Enter an initiator; say whether it was not there yet."""
    cursor = db.execute(
        "INSERT INTO allowed_initiator (target, initiator_name, created_at_ms) VALUES (?, ?, ?)"
        " ON CONFLICT (target, initiator_name) DO NOTHING",
        (entry.target, entry.initiator_name, entry.created_at_ms),
    )
    return cursor.rowcount > 0


def remove(db: sqlite3.Connection, target: str, initiator_name: str) -> bool:
    """Take an initiator off; say whether it was there."""
    cursor = db.execute(
        "DELETE FROM allowed_initiator WHERE target = ? AND initiator_name = ?",
        (target, initiator_name),
    )
    return cursor.rowcount > 0


def entries(db: sqlite3.Connection) -> Sequence[AllowedInitiator]:
    """Return all entries, by target and initiator."""
    rows = db.execute(
        "SELECT target, initiator_name, created_at_ms FROM allowed_initiator"
        " ORDER BY target, initiator_name"
    )
    return [AllowedInitiator(**dict(row)) for row in rows]
