"""What happened to the gateway, its disks and its tapes."""

from __future__ import annotations

from collections.abc import Sequence

from tapectl.state import events
from tapectl.state.database import State
from tapectl.state.events import Event, EventFilter


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
