"""A command that waits for data holds up those of its own logical unit, and no others."""

from __future__ import annotations

import threading

import pytest

from tapectl.scsi.cartridge import CartridgeBusyError
from tests.support.initiator import Session, SessionOptions
from tests.unit.serve.one_unit import TARGET, Unit, serving

COLD, SAME_UNIT, OTHER_UNIT = 1, 2, 3
INQUIRY, REQUEST_SENSE = 0x12, 0x03


def make_cold(unit: Unit) -> tuple[threading.Event, list[int]]:
    """Have COLD wait until the event is set; return that, and what has run, in order: the
    operation code, or for 0 the byte after it."""
    here = threading.Event()
    order: list[int] = []

    def before(_nexus: str, cdb: bytes) -> None:
        if cdb[1] == COLD and not here.is_set():
            raise CartridgeBusyError("on its way", retry_after_s=0.01)
        order.append(cdb[0] or cdb[1])

    unit.before = before
    return here, order


@pytest.mark.parametrize("connections", [1, 2])
def test_what_waits_is_overtaken_by_commands_of_other_units(
    monkeypatch: pytest.MonkeyPatch, connections: int
) -> None:
    with serving(monkeypatch) as (address, unit):
        here, order = make_cold(unit)
        session = Session(address, TARGET, SessionOptions(max_connections=connections))
        cold = session.start(bytes([0, COLD]), lun=1)
        same = session.start(bytes([0, SAME_UNIT]), lun=1)
        other = session.start(bytes([0, OTHER_UNIT]), lun=2)
        assert session.next_task_tag() == other
        assert order == [OTHER_UNIT]
        here.set()
        assert [session.next_task_tag(), session.next_task_tag()] == [cold, same]
        assert order == [OTHER_UNIT, COLD, SAME_UNIT]
        session.logout()


@pytest.mark.parametrize("connections", [1, 2])
def test_what_waits_is_overtaken_by_those_that_stand_behind_none(
    monkeypatch: pytest.MonkeyPatch, connections: int
) -> None:
    with serving(monkeypatch) as (address, unit):
        here, order = make_cold(unit)
        session = Session(address, TARGET, SessionOptions(max_connections=connections))
        cold = session.start(bytes([0, COLD]), lun=1)
        same = session.start(bytes([0, SAME_UNIT]), lun=1)
        ahead = [session.start(bytes([one]), lun=1) for one in (INQUIRY, REQUEST_SENSE)]
        assert [session.next_task_tag(), session.next_task_tag()] == ahead
        assert order == [INQUIRY, REQUEST_SENSE]
        here.set()
        assert [session.next_task_tag(), session.next_task_tag()] == [cold, same]
        assert order == [INQUIRY, REQUEST_SENSE, COLD, SAME_UNIT]
        session.logout()
