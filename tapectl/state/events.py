"""The record of what happened: appended to, never changed; what is old is let go of."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tapectl.state import gateways
from tapectl.state.tape_status import TapeStatus

TAPE_STATUS_TRANSITION = "TapeStatusTransition"
"""Type of the event of every change of a tape's status; AWS's word in its health log."""

DISK_REMOVED = "DiskRemoved"
"""Type of the event of a disk that was taken out; one that is found again is known by it."""

TROUBLES = (
    "AlertRaised",
    "GatewayFenced",
    "GatewayEndedUncleanly",
    "WorkerDied",
    "TransferDied",
)
"""Types of events that tell of trouble whatever they say."""

# What the gateway itself goes by, however old it is.
_KEPT = (DISK_REMOVED,)
_TROUBLES_FORGOTTEN = "troubles_forgotten"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event to append. `subject_kind` is gateway, disk, tape or target; `detail` is JSON."""

    at_ms: int
    actor: str
    subject_kind: str
    subject_id: str
    type: str
    from_status: str | None = None
    to_status: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(NewEvent):
    """An event as recorded; ids only grow."""

    id: int


def tells_of_trouble(event: NewEvent) -> bool:
    """Say whether somebody should look: the severity ERROR of AWS's health log."""
    lost = event.to_status == TapeStatus.IRRECOVERABLE
    return lost or event.type in TROUBLES


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events to return; None means any. `limit` keeps the newest ones."""

    after_id: int = 0
    subject_id: str | None = None
    type: str | None = None
    since_ms: int | None = None
    limit: int = 1000


def last_id(db: sqlite3.Connection) -> int:
    """Return the id of the newest event, 0 before the first."""
    row = db.execute("SELECT max(id) FROM event").fetchone()
    return int(row[0] or 0)


def count_troubles(db: sqlite3.Connection) -> int:
    """Return how many events have told of trouble, those that are forgotten among them."""
    return _troubles_forgotten(db) + _count_troubles(db, up_to_id=last_id(db))


def _count_troubles(db: sqlite3.Connection, *, up_to_id: int) -> int:
    marks = ", ".join("?" * len(TROUBLES))
    row = db.execute(
        f"SELECT count(*) FROM event WHERE id <= ? AND (to_status = ? OR type IN ({marks}))",
        (up_to_id, TapeStatus.IRRECOVERABLE.value, *TROUBLES),
    ).fetchone()
    return int(row[0])


def _troubles_forgotten(db: sqlite3.Connection) -> int:
    return int(gateways.get_setting(db, _TROUBLES_FORGOTTEN) or 0)


def find_old(db: sqlite3.Connection, *, before_ms: int, limit: int) -> Sequence[int]:
    """Return the ids of the oldest `limit` events from before a time that can be forgotten.

    The newest event never can: whoever follows the events has come as far as it.
    """
    marks = ", ".join("?" * len(_KEPT))
    rows = db.execute(
        f"SELECT id FROM event WHERE at_ms < ? AND id < ? AND type NOT IN ({marks})"
        " ORDER BY id LIMIT ?",
        (before_ms, last_id(db), *_KEPT, limit),
    ).fetchall()
    return [int(row["id"]) for row in rows]


def forget(db: sqlite3.Connection, ids: Sequence[int]) -> None:
    """Remove events for good; those among them that told of trouble go on being counted."""
    before = _count_troubles(db, up_to_id=max(ids, default=0))
    db.executemany("DELETE FROM event WHERE id = ?", [(one,) for one in ids])
    lost = before - _count_troubles(db, up_to_id=max(ids, default=0))
    if lost:
        gateways.set_setting(db, _TROUBLES_FORGOTTEN, str(_troubles_forgotten(db) + lost))


def append(db: sqlite3.Connection, event: NewEvent) -> int:
    """Append an event and return its id."""
    cursor = db.execute(
        "INSERT INTO event (at_ms, actor, subject_kind, subject_id, type, from_status, to_status,"
        " detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            event.at_ms,
            event.actor,
            event.subject_kind,
            event.subject_id,
            event.type,
            event.from_status,
            event.to_status,
            json.dumps(dict(event.detail), sort_keys=True),
        ),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def select(db: sqlite3.Connection, wanted: EventFilter) -> Sequence[Event]:
    """Return the newest `limit` events that match, oldest first."""
    rows = db.execute(
        "SELECT * FROM event WHERE id > :after_id"
        " AND (:subject_id IS NULL OR subject_id = :subject_id)"
        " AND (:type IS NULL OR type = :type)"
        " AND (:since_ms IS NULL OR at_ms >= :since_ms)"
        " ORDER BY id DESC LIMIT :limit",
        {
            "after_id": wanted.after_id,
            "subject_id": wanted.subject_id,
            "type": wanted.type,
            "since_ms": wanted.since_ms,
            "limit": wanted.limit,
        },
    ).fetchall()
    return [_event(row) for row in reversed(rows)]


def following(db: sqlite3.Connection, after_id: int, *, limit: int) -> Sequence[Event]:
    """Return the first `limit` events after one, oldest first."""
    rows = db.execute("SELECT * FROM event WHERE id > ? ORDER BY id LIMIT ?", (after_id, limit))
    return [_event(row) for row in rows]


def _event(row: sqlite3.Row) -> Event:
    return Event(**{**dict(row), "detail": json.loads(row["detail"])})
