"""What a reply leaves to be done: nobody waits for it, and no other command runs meanwhile."""

from __future__ import annotations

import threading

import pytest

from tapectl.scsi.cartridge import CartridgeBusyError
from tapectl.serve.busy_polling import BusyPolling
from tests.support.initiator import Session, SessionOptions
from tests.unit.serve.one_unit import PATIENCE_S, TARGET, Unit, serving

TEST_UNIT_READY = bytes(16)


@pytest.fixture(autouse=True)
def quick_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BusyPolling, "awake", True)


def test_nobody_does_it_for_a_slow_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BusyPolling, "awake", False)
    with serving(monkeypatch) as (address, unit):
        session = Session(address, TARGET)
        work = unit.afterwards = Work()
        session.execute(TEST_UNIT_READY)
        session.execute(TEST_UNIT_READY)
        assert not work.begun.is_set()
        session.logout()


class Work:
    """Goes on until it may end, for as long as a test's patience lasts."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.done = 0

    def __call__(self) -> None:
        self.begun.set()
        assert self.may_end.wait(PATIENCE_S)
        self.done += 1


@pytest.mark.parametrize("connections", [1, 2])
@pytest.mark.parametrize("sessions", [1, 2])
def test_the_answer_is_out_before_and_the_next_command_runs_after_it(
    monkeypatch: pytest.MonkeyPatch, connections: int, sessions: int
) -> None:
    with serving(monkeypatch) as (address, unit):
        options = SessionOptions(max_connections=connections)
        session = Session(address, TARGET, options)
        others = [Session(address, TARGET) for _ in range(sessions - 1)]
        work = unit.afterwards = Work()
        session.execute(TEST_UNIT_READY)
        assert work.begun.wait(PATIENCE_S)
        assert not work.done
        done_before: list[int] = []
        unit.before = lambda _nexus, _cdb: done_before.append(work.done)
        unit.afterwards = None
        following = (others or [session])[0]
        following.start(TEST_UNIT_READY)
        work.may_end.set()
        following.next_task_tag()
        assert done_before == [1]
        for one in (session, *others):
            one.logout()


def test_it_is_done_for_a_command_that_had_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch) as (address, unit):
        session = Session(address, TARGET)
        work = unit.afterwards = Work()
        refuse_once(unit)
        session.execute(TEST_UNIT_READY)
        assert work.begun.wait(PATIENCE_S)
        work.may_end.set()
        session.execute(TEST_UNIT_READY)
        assert work.done >= 1
        session.logout()


def refuse_once(unit: Unit) -> None:
    refused: list[bytes] = []

    def before(_nexus: str, cdb: bytes) -> None:
        if not refused:
            refused.append(cdb)
            raise CartridgeBusyError("on its way", retry_after_s=0.01)

    unit.before = before
