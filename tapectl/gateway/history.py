"""What happened day by day: how much was written and uploaded, and how much there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from tapectl.state.database import State
from tapectl.state.segment_history import DAY_MS, by_day


@dataclass(frozen=True, slots=True)
class Day:
    """A day of a gateway. `written_bytes` are user data, `uploaded_bytes` as the store has them;
    `kept_bytes` is what had been written by its end. Only what is still on tapes is counted."""

    date: date
    written_bytes: int
    uploaded_bytes: int
    kept_bytes: int


def daily_history(state: State, *, days: int, now_ms: int) -> Sequence[Day]:
    """Return the last days, today last, in the local time of this process."""
    offset = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone().utcoffset() or timedelta()
    offset_ms = offset // timedelta(milliseconds=1)
    with state.read() as db:
        found = by_day(db, offset_ms)
    today = (now_ms + offset_ms) // DAY_MS
    first = today - days + 1
    kept_bytes = sum(size for day, size in found.sealed.items() if day < first)
    history = []
    for day in range(first, today + 1):
        written_bytes = found.sealed.get(day, 0)
        kept_bytes += written_bytes
        history.append(
            Day(
                date(1970, 1, 1) + timedelta(days=day),
                written_bytes,
                found.uploaded.get(day, 0),
                kept_bytes,
            )
        )
    return history
