"""The pools that archived tapes go to: GLACIER and DEEP_ARCHIVE are built in."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

BUILT_IN = ("GLACIER", "DEEP_ARCHIVE")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRecord:
    """A pool; `storage_class` is the S3 storage class its tapes are archived in."""

    id: str
    name: str
    storage_class: str
    created_at_ms: int


def all_pools(db: sqlite3.Connection) -> Sequence[PoolRecord]:
    """Return every pool, by id."""
    return [PoolRecord(**row) for row in db.execute("SELECT * FROM pool ORDER BY id")]


def find(db: sqlite3.Connection, pool_id: str) -> PoolRecord | None:
    """Return a pool, None if there is none with this id."""
    row = db.execute("SELECT * FROM pool WHERE id = ?", (pool_id,)).fetchone()
    return None if row is None else PoolRecord(**row)
