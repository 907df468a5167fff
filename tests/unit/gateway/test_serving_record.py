"""The state knows whether the last `tapectl serve` came to its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapectl.gateway import serving_record
from tapectl.gateway.events import list_events
from tapectl.gateway.serving_record import note_begin, note_end, note_started
from tapectl.state.database import State
from tapectl.state.events import Event, tells_of_trouble

RUN = {"version": "1.2.3", "pid": 4711, "frontend": "user"}


def told(state: State) -> list[Event]:
    return [event for event in list_events(state) if event.actor == "serve"]


def test_a_run_that_ends_in_order_is_followed_by_a_start_and_nothing_else(state: State) -> None:
    for _ in range(2):
        assert not note_begin(state, RUN)
        note_started(state, RUN)
        note_end(state, {"reason": "SIGTERM", "clean": True})
    events = told(state)
    assert [event.type for event in events] == ["GatewayStarted", "GatewayStopped"] * 2
    assert events[0].detail == RUN
    assert not any(map(tells_of_trouble, events))


def test_a_run_that_died_is_told_before_the_next_one_starts(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note_begin(state, RUN)
    note_started(state, RUN)
    assert note_begin(state, {**RUN, "pid": 4712})
    note_started(state, {**RUN, "pid": 4712})
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("another start of the machine\n")
    monkeypatch.setattr(serving_record, "_BOOT_ID", boot_id)
    assert note_begin(state, RUN)
    _, died, _, went_down = told(state)
    assert died.type == went_down.type == "GatewayEndedUncleanly"
    assert tells_of_trouble(died)
    assert (died.detail["pid"], died.detail["machine_restarted"]) == (4711, False)
    assert (went_down.detail["pid"], went_down.detail["machine_restarted"]) == (4712, True)


def test_what_never_started_does_not_stop(state: State) -> None:
    note_begin(state, RUN)
    note_end(state, None)
    assert not note_begin(state, RUN)
    assert told(state) == []
