"""The tapes, and the one function that changes a tape's status."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from tapectl.state import events
from tapectl.state.errors import TapeMovedError, TapeNotFoundError, TapeStatusError
from tapectl.state.tape_status import IN_LIBRARY, TRANSITIONS, WRITE_PROTECTED, TapeStatus

Value = str | int | float | None

LAST_ELEMENT = 0xFFFF
"""The largest element address there can be."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who does something, and when; goes into the event."""

    actor: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TapeRecord:
    """A tape; columns as the schema says."""

    barcode: str
    tape_uuid: str
    size_bytes: int
    used_bytes: int = 0
    status: TapeStatus = TapeStatus.CREATING
    previous_status: TapeStatus | None = None
    pool_id: str
    worm: bool = False
    write_protected: bool = False
    element_address: int | None = None
    source_element: int | None = None
    placed_by_operator: bool = False
    hold_until_ms: int | None = None
    created_at_ms: int
    status_at_ms: int
    ejected_at_ms: int | None = None
    archive_completed_at_ms: int | None = None
    retrieval_tier: str | None = None
    retrieval_requested_at_ms: int | None = None
    retrieved_at_ms: int | None = None
    restore_until_ms: int | None = None
    progress: float | None = None
    manifest_number: int = 0
    archived_through_sequence: int | None = None
    store_epoch: int = 0
    store_etag: str | None = None
    status_detail: str | None = None
    generation: int = 5
    cleaning: bool = False
    tags: str = "{}"
    manifest_stale: bool = False
    pool_entered_at_ms: int | None = None
    retention_start_at_ms: int | None = None
    retention_mode: str | None = None
    retained_until_ms: int | None = None
    archive_pending: bool = False
    bypass_governance: bool = False
    encryption: str | None = None
    kms_key: str | None = None
    data_key: str | None = None
    expired: str = "[]"
    oldest_point: int = 0
    overwritten_seen: int = 0
    expiry_pending: bool = False
    on_shelf: bool | None = None
    moved_to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TapeFilter:
    """Which tapes to return; None means any. `barcode_glob` knows `*`, `?` and `[...]`."""

    statuses: frozenset[TapeStatus] | None = None
    pool_id: str | None = None
    barcode_glob: str | None = None


class Occupant(NamedTuple):
    """A tape in an element, with what an inventory tells of it; a tuple, as it is read often."""

    element_address: int
    barcode: str
    source_element: int | None
    placed_by_operator: int
    status: str
    hold_until_ms: int | None
    worm: int
    cleaning: int


@dataclass(frozen=True, slots=True)
class TapeTotals:
    """What counts against the quota of the gateway: tapes that are not on the shelf."""

    tapes: int
    size_bytes: int


_COLUMNS = tuple(field.name for field in fields(TapeRecord))
_BOOLEANS = (
    "worm",
    "write_protected",
    "placed_by_operator",
    "cleaning",
    "manifest_stale",
    "archive_pending",
    "bypass_governance",
    "expiry_pending",
)

UPDATABLE = frozenset(_COLUMNS) - {
    "barcode",
    "tape_uuid",
    "size_bytes",
    "status",
    "previous_status",
    "status_at_ms",
    "worm",
    "created_at_ms",
    "generation",
    "cleaning",
    "encryption",
    "kms_key",
}
"""Columns that `update` may set; statuses change through `transition`, the others never."""

_TIMES: Mapping[tuple[TapeStatus, TapeStatus], str] = {
    (TapeStatus.AVAILABLE, TapeStatus.IN_TRANSIT_TO_VTS): "ejected_at_ms",
    (TapeStatus.RETRIEVED, TapeStatus.IN_TRANSIT_TO_VTS): "ejected_at_ms",
    (TapeStatus.RECOVERED, TapeStatus.IN_TRANSIT_TO_VTS): "ejected_at_ms",
    # A cancelled retrieval also ends in ARCHIVED and must not touch the completion time.
    (TapeStatus.ARCHIVING, TapeStatus.ARCHIVED): "archive_completed_at_ms",
    (TapeStatus.ARCHIVED, TapeStatus.RETRIEVING): "retrieval_requested_at_ms",
    # A cancelled eject of a retrieved tape also ends in RETRIEVED.
    (TapeStatus.RETRIEVING, TapeStatus.RETRIEVED): "retrieved_at_ms",
}

OUT_OF_LIBRARY = frozenset(
    {
        TapeStatus.ARCHIVING,
        TapeStatus.ARCHIVED,
        TapeStatus.RETRIEVING,
        TapeStatus.DELETING,
        TapeStatus.DELETED,
    }
)
"""Statuses in which a tape occupies no element of the library."""


def insert(db: sqlite3.Connection, tape: TapeRecord, by: Stamp) -> None:
    """Enter a new tape with its event; raises sqlite3.IntegrityError if the barcode or the
    element is taken."""
    marks = ", ".join("?" * len(_COLUMNS))
    values = tuple(getattr(tape, column) for column in _COLUMNS)
    db.execute(f"INSERT INTO tape ({', '.join(_COLUMNS)}) VALUES ({marks})", values)
    events.append(db, _transition_event(tape.barcode, None, tape.status, by, {}))


def insert_back(db: sqlite3.Connection, tape: TapeRecord, by: Stamp) -> None:
    """Enter a tape of another gateway, with its event; it may have been one of this gateway before.

    Raises sqlite3.IntegrityError as `insert` does.
    """
    # What is left of it here beside the row, which keeps its barcode.
    db.execute(
        "DELETE FROM volume WHERE barcode IN"
        " (SELECT barcode FROM tape WHERE barcode = ? AND moved_to IS NOT NULL)",
        (tape.barcode,),
    )
    db.execute("DELETE FROM tape WHERE barcode = ? AND moved_to IS NOT NULL", (tape.barcode,))
    insert(db, tape, by)


def transition(
    db: sqlite3.Connection, barcode: str, to: TapeStatus, by: Stamp, **changes: Value
) -> TapeRecord:
    """Change the status of a tape, with its event, and return the tape as it is then.

    The only place where statuses change. `changes` are further columns (UPDATABLE).
    What follows from the status alone is set here: write protection, the time column of the
    step, progress, and the element, which a tape outside of the library gives up.
    Raises TapeNotFoundError, and TapeStatusError if TRANSITIONS has no such step.
    """
    tape = get(db, barcode)
    if to not in TRANSITIONS[tape.status]:
        raise TapeStatusError(f"tape {barcode} is {tape.status}, not {to} next", status=tape.status)
    columns: dict[str, Value] = {
        "previous_status": tape.status,
        "status_at_ms": by.at_ms,
        "progress": 0.0 if to in (TapeStatus.ARCHIVING, TapeStatus.RETRIEVING) else None,
        "hold_until_ms": None,
        "status_detail": None,
    }
    if to in WRITE_PROTECTED or to is TapeStatus.AVAILABLE:
        columns["write_protected"] = int(to in WRITE_PROTECTED)
    if to in OUT_OF_LIBRARY:
        columns |= {"element_address": None, "source_element": None, "placed_by_operator": 0}
    if (tape.status, to) in _TIMES:
        columns[_TIMES[tape.status, to]] = by.at_ms
    _require_updatable(changes)
    _set(db, barcode, {"status": to} | columns | changes)
    events.append(db, _transition_event(barcode, tape.status, to, by, changes))
    changed = find(db, barcode)
    assert changed is not None
    return changed


def update(db: sqlite3.Connection, barcode: str, **changes: Value) -> None:
    """Set columns (UPDATABLE) that are no status."""
    _require_updatable(changes)
    _set(db, barcode, changes)


def find(db: sqlite3.Connection, barcode: str) -> TapeRecord | None:
    """Return a tape, deleted or not; None if the barcode was never used."""
    row = db.execute("SELECT * FROM tape WHERE barcode = ?", (barcode,)).fetchone()
    return None if row is None else _record(row)


def get(db: sqlite3.Connection, barcode: str) -> TapeRecord:
    """Return a tape that is not deleted; raise TapeNotFoundError, TapeMovedError."""
    tape = find(db, barcode)
    if tape is not None and tape.moved_to is not None:
        raise TapeMovedError(barcode, tape.moved_to)
    if tape is None or tape.status is TapeStatus.DELETED:
        raise TapeNotFoundError(barcode, near=_nearest(db, barcode))
    return tape


def _nearest(db: sqlite3.Connection, barcode: str) -> str | None:
    """Return the barcode of a tape that differs least, None where none is like it."""
    import difflib  # needed where somebody has mistyped, only

    rows = db.execute("SELECT barcode FROM tape WHERE status <> ?", (TapeStatus.DELETED,))
    found = difflib.get_close_matches(barcode, [row["barcode"] for row in rows], 1, cutoff=0.8)
    return found[0] if found else None


def select(db: sqlite3.Connection, wanted: TapeFilter) -> Sequence[TapeRecord]:
    """Return the tapes that match, by barcode. DELETED ones only if their status is asked for."""
    statuses = wanted.statuses
    if statuses is None:
        statuses = frozenset(TapeStatus) - {TapeStatus.DELETED}
    rows = db.execute(
        "SELECT * FROM tape WHERE (?1 IS NULL OR pool_id = ?1) AND (?2 IS NULL OR barcode GLOB ?2)"
        f" AND status IN ({', '.join('?' * len(statuses))}) ORDER BY barcode",
        (wanted.pool_id, wanted.barcode_glob, *sorted(statuses)),
    )
    return [_record(row) for row in rows]


def with_status(db: sqlite3.Connection, status: TapeStatus) -> Sequence[TapeRecord]:
    """Return the tapes of one status, longest in it first: the work lists of the transfer engine
    (CREATING: to claim, ARCHIVING, RETRIEVING, DELETING)."""
    rows = db.execute(
        "SELECT * FROM tape WHERE status = ? ORDER BY status_at_ms, barcode", (status,)
    )
    return [_record(row) for row in rows]


def with_stale_manifest(db: sqlite3.Connection) -> Sequence[str]:
    """Return the barcodes whose pool or tags are newer than their last manifest."""
    rows = db.execute("SELECT barcode FROM tape WHERE manifest_stale ORDER BY barcode")
    return [str(row[0]) for row in rows]


def with_expiry_pending(db: sqlite3.Connection) -> Sequence[TapeRecord]:
    """Return the tapes of which objects of expired segments may be in the store."""
    rows = db.execute("SELECT * FROM tape WHERE expiry_pending ORDER BY barcode")
    return [_record(row) for row in rows]


def with_wrong_shelf_mark(db: sqlite3.Connection) -> Sequence[TapeRecord]:
    """Return the tapes that are archived, or were, whose ownership object may not say in the store
    what it should of whether they are on the shelf."""
    rows = db.execute(
        "SELECT * FROM tape WHERE status IN (?1, ?2, ?3, ?4, ?5)"
        " AND on_shelf IS NOT (status = ?1 AND NOT archive_pending) ORDER BY status_at_ms, barcode",
        (
            TapeStatus.ARCHIVED,
            TapeStatus.RETRIEVING,
            TapeStatus.RETRIEVED,
            TapeStatus.IN_TRANSIT_TO_VTS,
            TapeStatus.ARCHIVING,
        ),
    )
    return [_record(row) for row in rows]


def marked_on_shelf(db: sqlite3.Connection) -> Sequence[TapeRecord]:
    """Return the tapes that the store says are on the shelf."""
    rows = db.execute(
        "SELECT * FROM tape WHERE on_shelf AND status = ? ORDER BY barcode", (TapeStatus.ARCHIVED,)
    )
    return [_record(row) for row in rows]


def unseen_since_manifest(db: sqlite3.Connection, statuses: frozenset[TapeStatus]) -> Sequence[str]:
    """Return the barcodes of tapes of some statuses that have a manifest since it was looked what
    of them was overwritten."""
    rows = db.execute(
        "SELECT barcode FROM tape WHERE manifest_number > overwritten_seen"
        " AND status IN (SELECT value FROM json_each(?)) ORDER BY barcode",
        (json.dumps(sorted(statuses)),),
    )
    return [str(row[0]) for row in rows]


def count_in_pool(db: sqlite3.Connection, pool_id: str) -> int:
    """Return how many tapes, deleted ones apart, are in a pool."""
    row = db.execute(
        "SELECT count(*) FROM tape WHERE pool_id = ? AND status <> ?", (pool_id, TapeStatus.DELETED)
    ).fetchone()
    return int(row[0])


def count_by_wrapping_key(db: sqlite3.Connection) -> Mapping[str, int]:
    """Return how many tapes there are, of those that are encrypted by us, by the id of the key that
    wraps their data key."""
    rows = db.execute(
        "SELECT substr(data_key, 1, instr(data_key, ':') - 1), count(*) FROM tape"
        " WHERE data_key IS NOT NULL AND status != ? GROUP BY 1",
        (TapeStatus.DELETED,),
    )
    return {str(key_id): int(count) for key_id, count in rows}


def ready_to_archive(db: sqlite3.Connection, now_ms: int) -> Sequence[TapeRecord]:
    """Return the ejected tapes whose hold is over and whose every segment is in the store."""
    rows = db.execute(
        "SELECT * FROM tape WHERE status = ? AND coalesce(hold_until_ms, 0) <= ?"
        " AND NOT EXISTS (SELECT 1 FROM segment WHERE segment.barcode = tape.barcode"
        " AND uploaded_at_ms IS NULL) ORDER BY ejected_at_ms, barcode",
        (TapeStatus.IN_TRANSIT_TO_VTS, now_ms),
    )
    return [_record(row) for row in rows]


def release_expired_holds(db: sqlite3.Connection, now_ms: int) -> int:
    """Take the ejected tapes whose hold is over out of their elements; return how many."""
    cursor = db.execute(
        "UPDATE tape SET element_address = NULL, placed_by_operator = 0, hold_until_ms = NULL"
        " WHERE status = ? AND hold_until_ms <= ?",
        (TapeStatus.IN_TRANSIT_TO_VTS, now_ms),
    )
    return cursor.rowcount


def next_hold_end_ms(db: sqlite3.Connection) -> int | None:
    """Return when the next hold ends, None if none is running."""
    row = db.execute("SELECT min(hold_until_ms) FROM tape").fetchone()
    return None if row[0] is None else int(row[0])


def in_element(db: sqlite3.Connection, address: int) -> TapeRecord | None:
    """Return the tape that occupies an element, None if it is empty."""
    row = db.execute("SELECT * FROM tape WHERE element_address = ?", (address,)).fetchone()
    return None if row is None else _record(row)


def occupants(
    db: sqlite3.Connection, first: int = 0, last: int = LAST_ELEMENT
) -> Sequence[Occupant]:
    """Return every tape that is in an element, or in one of those from `first` to `last`."""
    rows = db.execute(
        f"SELECT {', '.join(Occupant._fields)} FROM tape WHERE element_address BETWEEN ? AND ?",
        (first, last),
    )
    return [Occupant(*row) for row in rows]


def occupied_elements(db: sqlite3.Connection) -> frozenset[int]:
    """Return the addresses of all elements that hold a tape."""
    rows = db.execute("SELECT element_address FROM tape WHERE element_address IS NOT NULL")
    return frozenset(row[0] for row in rows)


def totals(db: sqlite3.Connection) -> TapeTotals:
    """Return what counts against the quota."""
    row = db.execute(
        "SELECT count(*), coalesce(sum(size_bytes), 0) FROM tape"
        f" WHERE status IN ({', '.join('?' * len(IN_LIBRARY))})",
        sorted(IN_LIBRARY),
    ).fetchone()
    return TapeTotals(*row)


def count_by_status(db: sqlite3.Connection) -> Mapping[TapeStatus, int]:
    """Return how many tapes have each status; statuses of no tape are left out."""
    rows = db.execute("SELECT status, count(*) FROM tape GROUP BY status")
    return {TapeStatus(status): count for status, count in rows}


def _set(db: sqlite3.Connection, barcode: str, columns: Mapping[str, Value]) -> None:
    assignments = ", ".join(f"{column} = ?" for column in columns)
    cursor = db.execute(
        f"UPDATE tape SET {assignments} WHERE barcode = ?", (*columns.values(), barcode)
    )
    if cursor.rowcount == 0:
        raise TapeNotFoundError(barcode)


def _require_updatable(changes: Mapping[str, Value]) -> None:
    if unknown := changes.keys() - UPDATABLE:
        raise ValueError(f"not columns that may be set: {', '.join(sorted(unknown))}")


def event_of(
    barcode: str, by: Stamp, event_type: str, detail: Mapping[str, object]
) -> events.NewEvent:
    """Return an event of a tape that is no change of its status."""
    return events.NewEvent(
        at_ms=by.at_ms,
        actor=by.actor,
        subject_kind="tape",
        subject_id=barcode,
        type=event_type,
        detail=detail,
    )


def _transition_event(
    barcode: str,
    from_status: TapeStatus | None,
    to: TapeStatus,
    by: Stamp,
    detail: Mapping[str, object],
) -> events.NewEvent:
    return events.NewEvent(
        at_ms=by.at_ms,
        actor=by.actor,
        subject_kind="tape",
        subject_id=barcode,
        type=events.TAPE_STATUS_TRANSITION,
        from_status=from_status,
        to_status=to,
        detail=detail,
    )


def _record(row: sqlite3.Row) -> TapeRecord:
    values = dict(row)
    for column in _BOOLEANS:
        values[column] = bool(values[column])
    values["status"] = TapeStatus(values["status"])
    if values["on_shelf"] is not None:
        values["on_shelf"] = bool(values["on_shelf"])
    if values["previous_status"] is not None:
        values["previous_status"] = TapeStatus(values["previous_status"])
    return TapeRecord(**values)
