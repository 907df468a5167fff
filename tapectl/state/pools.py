"""The pools that archived tapes go to: GLACIER and DEEP_ARCHIVE are built in, others are made."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

BUILT_IN = ("GLACIER", "DEEP_ARCHIVE")
NO_LOCK = "NONE"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRecord:
    """A pool; columns as the schema says. What it is never changes, only its tags do."""

    id: str
    name: str
    storage_class: str
    created_at_ms: int
    retention_lock_type: str = NO_LOCK
    retention_lock_days: int = 0
    tags: str = "{}"

    @property
    def built_in(self) -> bool:
        """Whether it is one of those that every gateway has."""
        return self.id in BUILT_IN

    @property
    def locks(self) -> bool:
        """Whether tapes archived in it are locked."""
        return self.retention_lock_type != NO_LOCK


_COLUMNS = tuple(field.name for field in fields(PoolRecord))


def all_pools(db: sqlite3.Connection) -> Sequence[PoolRecord]:
    """Return every pool, the built-in ones first, then by name."""
    rows = db.execute("SELECT * FROM pool ORDER BY created_at_ms > 0, name")
    return [PoolRecord(**row) for row in rows]


def find(db: sqlite3.Connection, pool_id: str) -> PoolRecord | None:
    """Return a pool, None if there is none with this id."""
    row = db.execute("SELECT * FROM pool WHERE id = ?", (pool_id,)).fetchone()
    return None if row is None else PoolRecord(**row)


def find_by_name(db: sqlite3.Connection, name: str) -> PoolRecord | None:
    """Return a pool, None if there is none with this name."""
    row = db.execute("SELECT * FROM pool WHERE name = ?", (name,)).fetchone()
    return None if row is None else PoolRecord(**row)


def insert(db: sqlite3.Connection, pool: PoolRecord) -> None:
    """Enter a pool; raises sqlite3.IntegrityError if its id or its name is taken."""
    marks = ", ".join("?" * len(_COLUMNS))
    db.execute(f"INSERT INTO pool ({', '.join(_COLUMNS)}) VALUES ({marks})", astuple(pool))


def set_tags(db: sqlite3.Connection, pool_id: str, tags: str) -> None:
    """Set the tags of a pool, as JSON."""
    db.execute("UPDATE pool SET tags = ? WHERE id = ?", (tags, pool_id))


def delete(db: sqlite3.Connection, pool: PoolRecord) -> None:
    """Remove a pool that no tape is in; of deleted tapes the class of their pool stays known.

    Raises sqlite3.IntegrityError if there are tapes in it.
    """
    db.execute(
        "UPDATE tape SET pool_id = ? WHERE pool_id = ? AND status = 'DELETED'",
        (pool.storage_class, pool.id),
    )
    db.execute("DELETE FROM pool WHERE id = ?", (pool.id,))
