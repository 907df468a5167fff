"""The volume records of tapes: partitions and auxiliary memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple


class VolumeRow(NamedTuple):
    """A record as JSON holds it, and how often it has changed."""

    document: dict[str, Any]
    version: int


def get(db: sqlite3.Connection, barcode: str) -> VolumeRow | None:
    """Return the record of a tape, None if it never had one."""
    row = db.execute(
        "SELECT document, version FROM volume WHERE barcode = ?", (barcode,)
    ).fetchone()
    return VolumeRow(json.loads(row[0]), int(row[1])) if row else None


def put(db: sqlite3.Connection, barcode: str, document: dict[str, Any]) -> None:
    """Make a record the tape's current one."""
    db.execute(
        "INSERT INTO volume (barcode, document) VALUES (?, ?) ON CONFLICT (barcode)"
        " DO UPDATE SET document = excluded.document, version = version + 1",
        (barcode, json.dumps(document, separators=(",", ":"))),
    )


def changed_since_manifest(db: sqlite3.Connection) -> Sequence[str]:
    """Return the barcodes whose record is newer than the one in their last manifest."""
    rows = db.execute(
        "SELECT barcode FROM volume WHERE version > manifest_version ORDER BY barcode"
    )
    return [str(row[0]) for row in rows]


def record_manifest(db: sqlite3.Connection, barcode: str, version: int) -> None:
    """Note that a manifest in the store holds the record's `version`."""
    db.execute(
        "UPDATE volume SET manifest_version = max(manifest_version, ?) WHERE barcode = ?",
        (version, barcode),
    )
