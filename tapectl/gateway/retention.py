"""Retention locks of archived tapes: from when until when, and what they forbid."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

from tapectl.errors import ExitCode, TapectlError
from tapectl.state import events, tapes
from tapectl.state.pools import PoolRecord
from tapectl.state.tapes import Stamp, TapeRecord, Value
from tapectl.store.interface import Retention, RetentionMode

DAY_MS = 86_400_000

RETENTION_LOCK_BYPASSED = "RetentionLockBypassed"


class TapeLockedError(TapectlError):
    """The retention lock of the tape's pool forbids it until a date."""

    exit_code = ExitCode.TAPE_LOCKED
    code = "tape_locked"
    # What AWS lets only who has storagegateway:BypassGovernanceRetention do.
    aws_code = "UnauthorizedOperation"


def lock_columns(pool: PoolRecord, start_ms: int) -> dict[str, Value]:
    """Return the columns of a tape that is archived in `pool` from `start_ms` on."""
    if not pool.locks:
        return NO_LOCK_COLUMNS
    return {
        "retention_start_at_ms": start_ms,
        "retention_mode": pool.retention_lock_type,
        "retained_until_ms": start_ms + pool.retention_lock_days * DAY_MS,
    }


NO_LOCK_COLUMNS: dict[str, Value] = {
    "retention_start_at_ms": None,
    "retention_mode": None,
    "retained_until_ms": None,
}
"""Those of a tape that no lock holds, or has held in its pool."""


def lock_of(tape: TapeRecord, now_ms: int) -> Retention | None:
    """Return the lock that holds now, None if there is none or its date has passed."""
    if tape.retention_mode is None or tape.retained_until_ms is None:
        return None
    if now_ms >= tape.retained_until_ms:
        return None
    return Retention(RetentionMode(tape.retention_mode), tape.retained_until_ms)


def pass_lock(
    db: sqlite3.Connection, tape: TapeRecord, by: Stamp, *, bypass_governance: bool, what: str
) -> None:
    """Raise TapeLockedError if a lock forbids `what`: every one but a GOVERNANCE lock that is to
    be bypassed, which is an event."""
    held = lock_of(tape, by.at_ms)
    if held is None:
        return
    governance = held.mode is RetentionMode.GOVERNANCE
    if governance and bypass_governance:
        record_bypass(db, tape, by, what)
        return
    until = datetime.fromtimestamp(held.until_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    raise TapeLockedError(
        f"tape {tape.barcode} is locked until {until} ({held.mode}) and cannot be {what}",
        hint="--bypass-governance-retention does it all the same, where the store allows it"
        if governance
        else "nobody can lift or shorten a COMPLIANCE lock",
    )


def record_bypass(db: sqlite3.Connection, tape: TapeRecord, by: Stamp, what: str) -> None:
    """Record who has a tape `what` in spite of its GOVERNANCE lock, which is the last trace of
    it when the tape is gone."""
    detail = {
        "what": what,
        "retention_mode": tape.retention_mode,
        "retained_until_ms": tape.retained_until_ms,
    }
    events.append(db, tapes.event_of(tape.barcode, by, RETENTION_LOCK_BYPASSED, detail))
