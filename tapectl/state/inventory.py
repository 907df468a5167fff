"""What the state knows beyond the manifests of the tapes, as rows that the store can keep.

Another machine that becomes the gateway starts from it. No secret is among it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

# Only what JSON holds; bytes are {"hex": digits}.
Row = Mapping[str, object]
Tables = Mapping[str, Sequence[Row]]

BEFORE_TAPES = ("setting", "automatic_tape_creation_rule", "bandwidth_interval")
AFTER_TAPES = ("allowed_initiator", "client_token", "device_memory", "verification")
KEPT = (*BEFORE_TAPES, "disk", "tape", *AFTER_TAPES)
"""Tables that are kept as they are. Those before and after the tapes are restored as they are, too;
disks are those of the machine that is gone."""

NOT_KEPT = {
    "gateway": "its document in the store says it",
    "pool": "their documents in the store say it",
    "segment": "the manifests of the tapes say it, but for what is not in the store",
    "disk_use": "added up from the segments",
    "volume": "the manifests of the tapes say it",
    "archive_object": "the manifests of the tapes say it",
    "retrieval": "the store knows what it was asked for, and is asked again",
    "chap": "secrets; kept without them",
    "event": "what happened to another machine",
}
"""The other tables, and why."""

# Columns that mean something to this machine only.
_LEFT_OUT = {"tape": frozenset({"store_etag", "overwritten_seen", "on_shelf"})}


def read_tables(db: sqlite3.Connection) -> dict[str, list[Row]]:
    """Return the rows of the tables that are kept."""
    tables: dict[str, list[Row]] = {}
    for table in KEPT:
        left_out = _LEFT_OUT.get(table, frozenset())
        rows = db.execute(f"SELECT * FROM {table}")
        tables[table] = [
            {name: _plain(row[name]) for name in row.keys() if name not in left_out}  # noqa: SIM118
            for row in rows
        ]
    tables["chap"] = [
        {"target": row[0], "initiator_name": row[1], "mutual": row[2], "created_at_ms": row[3]}
        for row in db.execute(
            "SELECT target, initiator_name, sealed_target_secret IS NOT NULL, created_at_ms"
            " FROM chap"
        )
    ]
    return tables


def waiting_by_tape(db: sqlite3.Connection) -> dict[str, tuple[int, int]]:
    """Return how many segments, and bytes, of each tape only the disks of this machine have."""
    rows = db.execute(
        "SELECT barcode, count(*), sum(file_bytes) FROM segment WHERE uploaded_at_ms IS NULL"
        " GROUP BY barcode"
    )
    return {row[0]: (int(row[1]), int(row[2])) for row in rows}


def restore_tables(db: sqlite3.Connection, names: Sequence[str], tables: Tables) -> None:
    """Enter the rows of another machine into a new state, but for those of tapes that it lacks.

    Tables and columns that this program does not know are left out.
    """
    barcodes = {row[0] for row in db.execute("SELECT barcode FROM tape")}
    for table in names:
        known = [row["name"] for row in db.execute(f"PRAGMA table_info({table})")]
        for row in tables.get(table, ()):
            if "barcode" in row and row["barcode"] not in barcodes:
                continue
            columns = [name for name in known if name in row]
            db.execute(
                f"INSERT OR REPLACE INTO {table} ({', '.join(columns)})"
                f" VALUES ({', '.join('?' * len(columns))})",
                [_stored(row[name]) for name in columns],
            )


def restore_chap(db: sqlite3.Connection, tables: Tables) -> None:
    """Let CHAP go on being asked for, with secrets that are to be set again."""
    for row in tables.get("chap", ()):
        db.execute(
            "INSERT INTO chap VALUES (?, ?, x'', iif(?, x'', NULL), ?)",
            [row[name] for name in ("target", "initiator_name", "mutual", "created_at_ms")],
        )


def _plain(value: object) -> object:
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def _stored(value: object) -> object:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value
