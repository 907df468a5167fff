"""Events are kept for some days; what follows them, and what counts them, does not notice."""

from __future__ import annotations

import pytest

from tapectl.gateway.events import forget_old_events, list_events
from tapectl.gateway.metrics import gateway_metrics
from tapectl.state import events
from tapectl.state.database import State
from tapectl.state.events import NewEvent

DAY_MS = 86_400_000
NOW_MS = 1_800_000_000_000


@pytest.fixture(autouse=True)
def _nothing_has_happened(state: State) -> None:
    with state.write() as db:
        db.execute("DELETE FROM event")


def happen(state: State, event_type: str, days_ago: int, subject: str = "one") -> int:
    event = NewEvent(
        at_ms=NOW_MS - days_ago * DAY_MS,
        actor="serve",
        subject_kind="disk",
        subject_id=subject,
        type=event_type,
    )
    with state.write() as db:
        return events.append(db, event)


def forget(state: State, keep_days: float) -> int:
    return forget_old_events(state, keep_days, now_ms=lambda: NOW_MS)


def troubles(state: State) -> float:
    (metric,) = [m for m in gateway_metrics(state) if m.name == "tapectl_health_notifications"]
    return metric.values[()]


def types(state: State, after_id: int) -> list[str]:
    return [event.type for event in list_events(state, after_id=after_id)]


def test_what_is_old_goes_and_is_counted_all_the_same(state: State) -> None:
    begin = happen(state, "AlertCleared", 500)
    happen(state, "AlertRaised", 401)
    happen(state, "AlertRaised", 399)
    happen(state, "AlertCleared", 0)
    counted = troubles(state)
    assert forget(state, 400) == 2
    assert types(state, begin - 1) == ["AlertRaised", "AlertCleared"]
    assert troubles(state) == counted == 2
    assert forget(state, 1) == 1
    assert troubles(state) == counted
    assert forget(state, 1) == 0


def test_the_newest_stays_for_whoever_has_come_as_far(state: State) -> None:
    seen = happen(state, "AlertCleared", 500)
    forget(state, 1)
    with state.read() as db:
        assert events.last_id(db) == seen
    happen(state, "AlertRaised", 499)
    assert forget(state, 1) == 1
    assert types(state, seen) == ["AlertRaised"]


def test_more_than_one_transaction_takes_is_forgotten_too(state: State) -> None:
    first = NewEvent(
        at_ms=0, actor="serve", subject_kind="disk", subject_id="one", type="AlertCleared"
    )
    with state.write() as db:
        for _ in range(1201):
            last = events.append(db, first)
    assert [forget(state, 400) for _ in range(4)] == [500, 500, 200, 0]
    assert types(state, 0)[-1:] == ["AlertCleared"]
    assert types(state, last) == []


def test_a_disk_that_was_removed_is_known_for_ever(state: State) -> None:
    begin = happen(state, "DiskRemoved", 5000)
    happen(state, "AlertCleared", 0)
    assert forget(state, 400) == 0
    assert types(state, begin - 1) == ["DiskRemoved", "AlertCleared"]
