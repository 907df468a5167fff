"""The rules of automatic tape creation."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CreationRule:
    """Keep `minimum_tapes` tapes with this prefix in the import/export slots."""

    prefix: str
    minimum_tapes: int
    size_bytes: int
    pool_id: str
    worm: bool


def all_rules(db: sqlite3.Connection) -> Sequence[CreationRule]:
    """Return the rules by prefix."""
    rows = db.execute("SELECT * FROM automatic_tape_creation_rule ORDER BY prefix")
    return [CreationRule(**{**dict(row), "worm": bool(row["worm"])}) for row in rows]


def put(db: sqlite3.Connection, rule: CreationRule) -> None:
    """Enter a rule, in the place of the one of its prefix if there is one."""
    db.execute(
        "INSERT OR REPLACE INTO automatic_tape_creation_rule"
        " (prefix, minimum_tapes, size_bytes, pool_id, worm) VALUES (?, ?, ?, ?, ?)",
        astuple(rule),
    )


def delete(db: sqlite3.Connection, prefix: str) -> bool:
    """Delete a rule; False if there is none of this prefix."""
    cursor = db.execute("DELETE FROM automatic_tape_creation_rule WHERE prefix = ?", (prefix,))
    return cursor.rowcount == 1
