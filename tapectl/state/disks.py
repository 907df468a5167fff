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
    """An allocated disk; columns as the schema says. `size_bytes` is the room that segments may
    take."""

    id: str
    role: DiskRole
    path: Path
    device_node: str | None
    size_bytes: int
    created_at_ms: int
    draining_since_ms: int | None = None
    failed_at_ms: int | None = None
    failed_detail: str | None = None

    @property
    def draining(self) -> bool:
        return self.draining_since_ms is not None

    @property
    def failed(self) -> bool:
        return self.failed_at_ms is not None


def insert(db: sqlite3.Connection, disk: DiskRecord) -> None:
    """Enter a disk; raises sqlite3.IntegrityError if the id or the path is there already."""
    values = tuple(str(value) if isinstance(value, Path) else value for value in astuple(disk))
    db.execute(
        "INSERT INTO disk (id, role, path, device_node, size_bytes, created_at_ms,"
        " draining_since_ms, failed_at_ms, failed_detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    )


def set_draining(db: sqlite3.Connection, disk_id: str, since_ms: int | None) -> None:
    """Say since when a disk is being drained; None: it is in use again."""
    db.execute("UPDATE disk SET draining_since_ms = ? WHERE id = ?", (since_ms, disk_id))


def note_failure(db: sqlite3.Connection, disk_id: str, at_ms: int, detail: str) -> None:
    """Say that a disk has refused a write or a flush."""
    db.execute(
        "UPDATE disk SET failed_at_ms = ?, failed_detail = ? WHERE id = ?",
        (at_ms, detail, disk_id),
    )


def forget_failure(db: sqlite3.Connection, disk_id: str) -> None:
    """Say that a disk has taken what it was given."""
    db.execute(
        "UPDATE disk SET failed_at_ms = NULL, failed_detail = NULL"
        " WHERE id = ? AND failed_at_ms IS NOT NULL",
        (disk_id,),
    )


def delete(db: sqlite3.Connection, disk_id: str) -> None:
    """Forget a disk that no segment names; raises sqlite3.IntegrityError if one does."""
    db.execute("DELETE FROM disk WHERE id = ?", (disk_id,))


def find(db: sqlite3.Connection, disk_id: str) -> DiskRecord | None:
    """Return one disk, None if it is not allocated (any more)."""
    return next((disk for disk in all_disks(db) if disk.id == disk_id), None)


def all_disks(db: sqlite3.Connection, role: DiskRole | None = None) -> Sequence[DiskRecord]:
    """Return the disks in the order they were added, of one role or of both."""
    rows = db.execute(
        "SELECT * FROM disk WHERE ?1 IS NULL OR role = ?1 ORDER BY created_at_ms, id", (role,)
    )
    return [
        DiskRecord(**{**dict(row), "role": DiskRole(row["role"]), "path": Path(row["path"])})
        for row in rows
    ]
