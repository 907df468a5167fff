"""What happens again and again is told ever more seldom, and none of it is lost from the count."""

from __future__ import annotations

import sqlite3
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from tapectl.gateway.events import list_events
from tapectl.serve import event_recorder
from tapectl.serve.event_recorder import KINDS_MAX, EventRecorder, FloodGate
from tapectl.state import events
from tapectl.state.database import State
from tapectl.state.errors import StateAccessError
from tapectl.state.events import NewEvent
from tests.support.closing import closed_at_end
from tests.support.gateway import wait_until

HOUR_S = 3600
FOR_EVER_DAYS = 36_500


def died(number: int = 0, subject: str = "tapedrive-01") -> NewEvent:
    return NewEvent(
        at_ms=number,
        actor="serve",
        subject_kind="target",
        subject_id=subject,
        type="WorkerDied",
        detail={"pid": number},
    )


def told_of_one_a_second(gate: FloodGate, seconds: range) -> list[tuple[int, object]]:
    """Return when something was told, and how many were left out before it."""
    told = []
    for now_s in seconds:
        found = [gate.let_through("drive", died(now_s), now_s), *gate.due(now_s)]
        told += [(now_s, event.detail["left_out"]) for event in found if event is not None]
    return told


def test_of_a_flood_little_is_told_and_all_is_counted() -> None:
    told = told_of_one_a_second(FloodGate(), range(5 * HOUR_S))
    assert told[:4] == [(0, 0), (60, 59), (180, 119), (420, 239)]
    times = [time_s for time_s, _ in told]
    assert all(after - before >= 60 for before, after in pairwise(times))
    assert len(told) <= 12
    assert sum(int(str(left_out)) + 1 for _, left_out in told) == times[-1] + 1


def test_what_is_seldom_is_told_at_once() -> None:
    gate = FloodGate()
    for now_s in range(0, 10 * HOUR_S, 2 * HOUR_S):
        gate.due(now_s)
        assert gate.let_through("drive", died(now_s), now_s) is not None


def test_the_last_of_a_flood_is_told_too() -> None:
    gate = FloodGate()
    assert told_of_one_a_second(gate, range(10)) == [(0, 0)]
    assert gate.due(59) == []
    (last,) = gate.due(60)
    assert (last.at_ms, last.detail["left_out"]) == (9, 8)
    assert gate.due(HOUR_S) == gate.due(2 * HOUR_S) == []


def test_so_many_kinds_at_a_time_are_told_together() -> None:
    gate = FloodGate()
    for number in range(KINDS_MAX + 1000):
        gate.let_through(number, died(number), 0)
    told = gate.due(60)
    assert [event.detail["left_out"] for event in told] == [998]
    assert len(gate.due(0, all_of_it=True)) == 0


@pytest.fixture
def state(tmp_path: Path) -> State:
    return closed_at_end(State.open(tmp_path / "tapectl.db", create=True))


def numbers(state: State) -> list[object]:
    return [event.detail["pid"] for event in list_events(state)]


def test_what_is_told_is_written_down_and_what_was_counted_at_the_end(state: State) -> None:
    recorder = EventRecorder(state, FOR_EVER_DAYS)
    recorder.start()
    recorder.tell(died(1), flood="drive")
    wait_until(lambda: numbers(state) == [1], "the first", 30)
    for number in (2, 3, 4):
        recorder.tell(died(number), flood="drive")
    recorder.tell(died(5))
    recorder.stop()
    assert sorted(map(str, numbers(state))) == ["1", "4", "5"]


def test_what_the_state_does_not_take_goes_on_waiting(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_recorder, "_LOOK_S", 0.01)
    refused = threading.Event()
    append = events.append

    def full(db: sqlite3.Connection, event: NewEvent) -> int:
        if not refused.is_set():
            refused.set()
            raise StateAccessError(state.path, "database or disk is full")
        return append(db, event)

    monkeypatch.setattr(events, "append", full)
    recorder = EventRecorder(state, FOR_EVER_DAYS)
    recorder.start()
    recorder.tell(died(1))
    recorder.tell(died(2))
    wait_until(lambda: numbers(state) == [1, 2], "both", 30)
    recorder.stop()


def test_it_removes_what_is_older_than_it_is_to_keep(state: State) -> None:
    with state.write() as db:
        for number in (1, 2):
            events.append(db, died(number))
    recorder = EventRecorder(state, 1)
    recorder.start()
    wait_until(lambda: numbers(state) == [2], "the old one goes", 30)
    recorder.stop()
