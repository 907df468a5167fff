"""What happened to the gateway, its disks and its tapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.state import events
from tapectl.state.database import State
from tapectl.state.events import Event, EventFilter

_DAY_MS = 86_400_000
# Whoever waits for the state waits for a few milliseconds.
_FORGOTTEN_AT_ONCE = 500


def list_events(
    state: State,
    *,
    subject: str | None = None,
    event_type: str | None = None,
    since_ms: int | None = None,
    after_id: int = 0,
    limit: int = 1000,
) -> Sequence[Event]:
    """Return the newest `limit` events that match, oldest first.

    `subject` is a barcode, a disk id, a device name or the gateway's id. Whoever follows events
    asks again with `after_id` of the last one seen.
    """
    wanted = EventFilter(
        after_id=after_id, subject_id=subject, type=event_type, since_ms=since_ms, limit=limit
    )
    with state.read() as db:
        return events.select(db, wanted)


def forget_old_events(
    state: State, keep_days: float, *, now_ms: Callable[[], int] = clock_now_ms
) -> int:
    """Remove what happened longer ago, the oldest 500 of it at most; return how many that were.

    The newest event always stays, and what the gateway itself goes by.
    """
    before_ms = now_ms() - round(keep_days * _DAY_MS)
    # Looked for without keeping others from writing: it may read the whole table.
    with state.read() as db:
        ids = events.find_old(db, before_ms=before_ms, limit=_FORGOTTEN_AT_ONCE)
    if ids:
        with state.write() as db:
            events.forget(db, ids)
    return len(ids)
