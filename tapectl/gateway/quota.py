"""How many tapes a library takes, and how much they may hold together: AWS's quotas, or others."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.state import events, gateways, tapes
from tapectl.state.database import State
from tapectl.units import PIB, TIB, format_size

MAX_TAPES = 100_000
MAX_BYTES = 1024 * PIB
"""What can be asked for: ten times the slots that a library can have, and more than anybody has."""

_TAPES_KEY, _BYTES_KEY = "tapes_max", "tape_bytes_max"


class TapeLimitError(TapectlError):
    """More tapes, or more bytes, than a library takes."""

    exit_code = ExitCode.TAPE_LIMIT
    code = "tape_limit"
    aws_code = "MaximumTapeCartridgeCountExceeded"


@dataclass(frozen=True, slots=True)
class Quota:
    """Of the tapes of a library; those on the shelf do not count."""

    tapes: int
    size_bytes: int


AWS_QUOTA = Quota(1500, PIB)


def read_quota(db: sqlite3.Connection) -> Quota:
    """Return what the library takes."""
    count = gateways.get_setting(db, _TAPES_KEY)
    size = gateways.get_setting(db, _BYTES_KEY)
    return Quota(
        AWS_QUOTA.tapes if count is None else int(count),
        AWS_QUOTA.size_bytes if size is None else int(size),
    )


def set_quota(
    state: State,
    *,
    tapes: int | None = None,
    size_bytes: int | None = None,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> Quota:
    """Change what is given and return the quota; tapes that are there already stay.

    Raises UsageError.
    """
    if tapes is not None and not 1 <= tapes <= MAX_TAPES:
        raise UsageError(f"not a number of tapes: {tapes}", hint=f"1 to {MAX_TAPES}")
    if size_bytes is not None and not TIB <= size_bytes <= MAX_BYTES:
        limits = f"{format_size(TIB)} to {format_size(MAX_BYTES)}"
        raise UsageError(f"not a capacity: {format_size(size_bytes)}", hint=limits)
    with state.write() as db:
        before = read_quota(db)
        after = Quota(tapes or before.tapes, size_bytes or before.size_bytes)
        if after != before:
            gateways.set_setting(db, _TAPES_KEY, str(after.tapes))
            gateways.set_setting(db, _BYTES_KEY, str(after.size_bytes))
            events.append(
                db,
                events.NewEvent(
                    at_ms=now_ms(),
                    actor=actor,
                    subject_kind="gateway",
                    subject_id=gateways.read_gateway(db).id,
                    type="QuotaChanged",
                    detail={"tapes": after.tapes, "size_bytes": after.size_bytes},
                ),
            )
    return after


def require_room(db: sqlite3.Connection, count: int, size_bytes: int) -> None:
    """Raise TapeLimitError if so many tapes, of so many bytes together, are too many."""
    quota, there = read_quota(db), tapes.totals(db)
    hint = "archive or delete tapes first, or see `tapectl gateway set --help`"
    if there.tapes + count > quota.tapes:
        raise TapeLimitError(
            f"a library has at most {quota.tapes} tapes, {there.tapes} are there", hint=hint
        )
    if there.size_bytes + size_bytes > quota.size_bytes:
        raise TapeLimitError(
            f"the tapes of a library have at most {format_size(quota.size_bytes)} together,"
            f" {format_size(there.size_bytes)} are there",
            hint=hint,
        )
