"""Who is logged in is told when it comes and when it has stayed away, not at every login."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import pytest

from tapectl.serve import session_watch
from tapectl.serve.event_recorder import EventRecorder
from tapectl.serve.session_watch import AWAY_S, Presence, SessionWatch, presences
from tapectl.state.events import NewEvent

BACKUP = Presence("iqn.2000-01.com.example:backup", "tapedrive-01", "192.0.2.1")


class Gateway:
    """A recorder, a clock and the sessions that there are."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.there: Iterable[Presence] = ()
        self.told: list[tuple[str, str]] = []
        self.watch = SessionWatch(
            cast("EventRecorder", self),
            lambda: self.there,
            monotonic_s=lambda: self.now_s,
            now_ms=lambda: round(self.now_s * 1000),
        )
        self.events: list[NewEvent] = []

    def tell(self, event: NewEvent) -> None:
        self.events.append(event)
        self.told.append((event.type.removeprefix("InitiatorLogged"), event.subject_id))

    def pass_by(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.now_s += 1
            self.watch.look()


def test_one_that_is_in_is_told_once() -> None:
    gateway = Gateway()
    gateway.watch.saw(BACKUP)
    gateway.there = [BACKUP]
    gateway.pass_by(2 * AWAY_S)
    assert gateway.told == [("In", "tapedrive-01")]
    assert gateway.events[0].detail["address"] == "192.0.2.1"


def test_one_that_comes_for_each_command_is_no_news_until_it_stays_away() -> None:
    gateway = Gateway()
    for _ in range(10):
        gateway.watch.saw(BACKUP)
        gateway.pass_by(AWAY_S / 2)
    gateway.pass_by(AWAY_S / 2)
    assert gateway.told == [("In", "tapedrive-01"), ("Out", "tapedrive-01")]
    last_seen_at_ms = gateway.events[1].detail["last_seen_at_ms"]
    assert last_seen_at_ms == round(9 * AWAY_S / 2) * 1000
    gateway.watch.saw(BACKUP)
    assert gateway.told[2:] == [("In", "tapedrive-01")]


def test_one_whom_no_portal_tells_of_is_found() -> None:
    gateway = Gateway()
    gateway.there = [BACKUP, Presence(BACKUP.initiator_name, "mediachanger", "192.0.2.2")]
    gateway.pass_by(1)
    assert gateway.told == [("In", "tapedrive-01"), ("In", "mediachanger")]


def test_so_many_are_told_of_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_watch, "PRESENCES_MAX", 3)
    gateway = Gateway()
    for number in range(10):
        gateway.watch.saw(Presence(f"iqn.2000-01.com.example:{number}", "tapedrive-01", "::1"))
    assert len(gateway.told) == 3


def test_whoever_a_supervisor_has_is_there() -> None:
    session = {"initiator_name": BACKUP.initiator_name, "peer": BACKUP.address}
    status = {
        "drives": [
            {"drive_number": 1, "sessions": [session]},
            {"drive_number": 2, "ok": False, "sessions": None},
            {"drive_number": 3, "ok": False},
        ],
        "changer": {"sessions": []},
        "library": {"target_name": "iqn", "sessions": [session]},
    }
    there = [BACKUP, Presence(BACKUP.initiator_name, "library", BACKUP.address)]
    assert list(presences(status)) == there
    assert list(presences({**status, "library": None})) == there[:1]
