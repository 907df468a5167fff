"""The one gateway row of the state, and the settings kept with it."""

from __future__ import annotations

import sqlite3
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from tapectl.state.errors import NotActivatedError


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRecord:
    """The gateway of this state file; columns as the schema says."""

    id: str
    name: str
    timezone: str
    region: str | None
    store_url: str
    endpoint_url: str | None
    profile: str | None
    changer_type: str
    drive_type: str
    drive_count: int
    slot_count: int
    import_export_count: int
    iqn_prefix: str
    device_serial_base: str
    created_at_ms: int
    tags: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingRecord:
    """Whether this machine still is the gateway, as far as it knows; columns as the schema says."""

    store_epoch: int
    store_etag: str | None
    inventory_etag: str | None
    fenced_at_ms: int | None
    fenced_detail: str | None


_COLUMNS = tuple(field.name for field in fields(GatewayRecord))


def insert(db: sqlite3.Connection, gateway: GatewayRecord) -> None:
    """Enter the gateway; raises sqlite3.IntegrityError if there is one."""
    marks = ", ".join("?" * len(_COLUMNS))
    db.execute(
        f"INSERT INTO gateway (singleton, {', '.join(_COLUMNS)}) VALUES (1, {marks})",
        astuple(gateway),
    )


def read_gateway(db: sqlite3.Connection) -> GatewayRecord:
    """Return the gateway; raise NotActivatedError from a state file that has none yet."""
    row = db.execute(f"SELECT {', '.join(_COLUMNS)} FROM gateway").fetchone()
    if row is None:
        raise NotActivatedError(Path(db.execute("PRAGMA database_list").fetchone()["file"]))
    return GatewayRecord(**row)


_STANDING_COLUMNS = tuple(field.name for field in fields(StandingRecord))


def read_standing(db: sqlite3.Connection) -> StandingRecord:
    """Return whether this machine still is the gateway."""
    row = db.execute(f"SELECT {', '.join(_STANDING_COLUMNS)} FROM gateway").fetchone()
    return StandingRecord(**row)


def set_standing(
    db: sqlite3.Connection, *, store_epoch: int, store_etag: str | None, inventory_etag: str | None
) -> None:
    """Set which epoch of the gateway this machine is, and what it left in the store."""
    db.execute(
        "UPDATE gateway SET store_epoch = ?, store_etag = ?, inventory_etag = ?",
        (store_epoch, store_etag, inventory_etag),
    )


def fence(db: sqlite3.Connection, at_ms: int, detail: str) -> bool:
    """Say that this machine is not the gateway any more; False if that was known."""
    cursor = db.execute(
        "UPDATE gateway SET fenced_at_ms = ?, fenced_detail = ? WHERE fenced_at_ms IS NULL",
        (at_ms, detail),
    )
    return cursor.rowcount == 1


def update_library(db: sqlite3.Connection, gateway: GatewayRecord) -> None:
    """Set what the gateway's library looks like: its changer and its numbers of elements."""
    db.execute(
        "UPDATE gateway SET changer_type = ?, drive_count = ?, slot_count = ?,"
        " import_export_count = ?",
        (
            gateway.changer_type,
            gateway.drive_count,
            gateway.slot_count,
            gateway.import_export_count,
        ),
    )


def set_tags(db: sqlite3.Connection, tags: str) -> None:
    """Set the tags of the gateway, as JSON."""
    db.execute("UPDATE gateway SET tags = ?", (tags,))


def update_identity(db: sqlite3.Connection, gateway: GatewayRecord) -> None:
    """Set the name and the time zone."""
    db.execute("UPDATE gateway SET name = ?, timezone = ?", (gateway.name, gateway.timezone))


def get_setting(db: sqlite3.Connection, key: str) -> str | None:
    """Return a stored setting, None if it was never set."""
    row = db.execute("SELECT value FROM setting WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row["value"])


def set_setting(db: sqlite3.Connection, key: str, value: str) -> None:
    """Store a setting."""
    db.execute("INSERT OR REPLACE INTO setting (key, value) VALUES (?, ?)", (key, value))


def delete_setting(db: sqlite3.Connection, key: str) -> None:
    """Forget a setting."""
    db.execute("DELETE FROM setting WHERE key = ?", (key,))
