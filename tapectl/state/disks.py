"""The directories allocated as cache and upload buffer."""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path


@enum.unique
class DiskRole(enum.StrEnum):
    """What a disk is for: AWS's DiskAllocationType."""

    UPLOAD_BUFFER = "UPLOAD_BUFFER"
    CACHE_STORAGE = "CACHE_STORAGE"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRecord:
    """An allocated disk; `size_bytes` is the room that segments may take."""

    id: str
    role: DiskRole
    path: Path
    device_node: str | None
    size_bytes: int
    created_at_ms: int


def insert(db: sqlite3.Connection, disk: DiskRecord) -> None:
    """Enter a disk; raises sqlite3.IntegrityError if the id or the path is there already."""
    values = tuple(str(value) if isinstance(value, Path) else value for value in astuple(disk))
    db.execute(
        "INSERT INTO disk (id, role, path, device_node, size_bytes, created_at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        values,
    )


def all_disks(db: sqlite3.Connection, role: DiskRole | None = None) -> Sequence[DiskRecord]:
    """Return the disks in the order they were added, of one role or of both."""
    rows = db.execute(
        "SELECT * FROM disk WHERE ?1 IS NULL OR role = ?1 ORDER BY created_at_ms, id", (role,)
    )
    return [
        DiskRecord(**{**dict(row), "role": DiskRole(row["role"]), "path": Path(row["path"])})
        for row in rows
    ]
