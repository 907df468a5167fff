"""A nexus of the library target at a unit: over a socket pair, as in a served gateway."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tapectl.scsi.cartridge import CartridgeBusyError, CommandUnfinishedError
from tapectl.scsi.logical_unit import Reply, Status
from tapectl.serve.nexus_link import LinkClosedError, NexusLink, serve_nexus
from tapectl.serve.unit_host import CommandAbortedError, UnitHost
from tapectl.serve.unit_nexus import UnitNexus
from tests.support.gateway import wait_until
from tests.support.nexus_unit import ScriptedUnit

PATIENCE_S = 30.0
NO_DATA = memoryview(b"")


def cdb(number: int) -> bytes:
    return bytes([number]).ljust(16, b"\0")


@contextmanager
def linked(host: UnitHost, nexus: str = "one") -> Iterator[NexusLink]:
    """A nexus at a unit that is in another thread, as it is in another process."""
    ours, theirs = socket.socketpair()
    arguments = (theirs, host, nexus, "iqn.2000-01.com.example:one")
    thread = threading.Thread(target=serve_nexus, args=arguments)
    thread.start()
    link = NexusLink(ours)
    try:
        yield link
    finally:
        link.close()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_a_reply_comes_over_whole() -> None:
    unit = ScriptedUnit()
    view = memoryview(bytes(range(256)) * 4096)
    wanted = [
        Reply(Status.CHECK_CONDITION, view, b"\x70sense", 7),
        Reply(Status.RESERVATION_CONFLICT),
        Reply(Status.GOOD, b"short", data_out_bytes=0),
    ]
    unit.outcomes = list(wanted)
    with linked(UnitHost(unit)) as link:
        for number, reply in enumerate(wanted):
            data = memoryview(bytes([number]) * 300_000 * number)
            got = link.execute(cdb(number), data)
            assert (got.status, got.sense) == (reply.status, reply.sense)
            assert (bytes(got.data_in), got.data_out_bytes) == (
                bytes(reply.data_in),
                reply.data_out_bytes,
            )
            assert unit.ran[number] == (bytes([number]), bytes(data), 0)


def test_a_command_that_waits_goes_on_with_its_data_and_its_cdb() -> None:
    unit = ScriptedUnit()
    unit.outcomes = [CartridgeBusyError("cold", 0.25), CommandUnfinishedError("half of it")]
    command, data = cdb(1), memoryview(b"data")
    with linked(UnitHost(unit)) as link:
        with pytest.raises(CartridgeBusyError, match="cold") as busy:
            link.execute(command, data)
        assert busy.value.retry_after_s == 0.25
        with pytest.raises(CommandUnfinishedError, match="half"):
            link.execute(command, data)
        assert link.execute(command, data).status is Status.GOOD
        link.execute(cdb(1), NO_DATA)
    assert [data for _, data, _ in unit.ran] == [b"data"] * 3 + [b""]
    # A device server knows a command that goes on by the object.
    first, second, third, other = unit.cdbs
    assert first is second is third
    assert other is not first


def test_a_command_that_waits_goes_on_after_one_that_stands_behind_none() -> None:
    unit = ScriptedUnit()
    unit.outcomes = [CommandUnfinishedError("half of it"), Reply(Status.GOOD, b"inquiry data")]
    command, data = cdb(1), memoryview(b"data")
    inquiry = cdb(0x12)
    with linked(UnitHost(unit)) as link:
        with pytest.raises(CommandUnfinishedError):
            link.execute(command, data)
        assert bytes(link.execute(inquiry, memoryview(b"more")).data_in) == b"inquiry data"
        assert link.execute(command, data).status is Status.GOOD
    assert [data for _, data, _ in unit.ran] == [b"data", b"more", b"data"]
    assert unit.cdbs[0] is unit.cdbs[2]


def test_a_command_that_waits_is_aborted_though_another_came_meanwhile() -> None:
    unit = ScriptedUnit()
    unit.outcomes = [CartridgeBusyError("cold")]
    host = UnitHost(unit)
    with linked(host, "one") as one, linked(host, "two") as two:
        command = cdb(1)
        with pytest.raises(CartridgeBusyError):
            one.execute(command, NO_DATA)
        assert one.execute(cdb(0x12), NO_DATA).status is Status.GOOD
        two.reset()
        with pytest.raises(CommandAbortedError):
            one.execute(command, NO_DATA)


def test_the_unit_knows_that_a_nexus_has_gone_when_close_returns() -> None:
    unit = ScriptedUnit()
    host = UnitHost(unit)
    with linked(host, "here") as link:
        link.execute(cdb(0), NO_DATA)
        assert unit.told == [("established", "here")]
        link.close()
        assert unit.told == [("established", "here"), ("lost", "here")]
    assert host.table.all() == []


def test_a_command_that_waits_is_aborted_by_the_reset_of_another() -> None:
    unit = ScriptedUnit()
    unit.outcomes = [CartridgeBusyError("cold")]
    host = UnitHost(unit)
    with linked(host, "one") as one, linked(host, "two") as two:
        command = cdb(1)
        with pytest.raises(CartridgeBusyError):
            one.execute(command, NO_DATA)
        two.reset()
        with pytest.raises(CommandAbortedError):
            one.execute(command, NO_DATA)
        assert unit.told[-1] == ("reset", "")
        # Neither the next one nor those of who has reset it.
        assert one.execute(cdb(2), NO_DATA).status is Status.GOOD
        assert two.execute(cdb(3), NO_DATA).status is Status.GOOD
    assert [number for number, _, _ in unit.ran] == [b"\x01", b"\x02", b"\x03"]


def test_only_who_had_a_command_is_told_that_the_task_set_was_cleared() -> None:
    unit = ScriptedUnit()
    unit.outcomes = [CartridgeBusyError("cold")]
    host = UnitHost(unit)
    waiting = UnitNexus(host, "waiting", "iqn.2000-01.com.example:one")
    idle = UnitNexus(host, "idle", "iqn.2000-01.com.example:one")
    clearing = UnitNexus(host, "clearing", "iqn.2000-01.com.example:one")
    for nexus in (waiting, idle, clearing):
        nexus.open()
    with pytest.raises(CartridgeBusyError):
        waiting.execute(cdb(1), NO_DATA)
    idle.execute(cdb(2), NO_DATA)
    clearing.clear_task_set()
    assert [told for told in unit.told if told[0] == "cleared"] == [("cleared", "waiting")]


def test_preempt_and_abort_ends_what_waits() -> None:
    unit = ScriptedUnit()
    unit.outcomes = [CartridgeBusyError("cold")]
    nexus = UnitNexus(UnitHost(unit), "victim", "iqn.2000-01.com.example:one")
    nexus.open()
    command = cdb(1)
    with pytest.raises(CartridgeBusyError):
        nexus.execute(command, NO_DATA)
    unit.abort({"victim"})
    with pytest.raises(CommandAbortedError):
        nexus.execute(command, NO_DATA)


def test_a_link_whose_unit_is_gone_says_so() -> None:
    unit = ScriptedUnit()
    host = UnitHost(unit)
    with linked(host) as link:
        link.execute(cdb(0), NO_DATA)
        host.table.drop()
        wait_until(lambda: host.table.all() == [], "it is gone", PATIENCE_S)
        with pytest.raises(LinkClosedError):
            link.execute(cdb(1), NO_DATA)


def test_a_unit_takes_as_many_of_the_library_as_of_its_own() -> None:
    host = UnitHost(ScriptedUnit(), sessions_max=1)
    UnitNexus(host, "one", "iqn.2000-01.com.example:one").open()
    with pytest.raises(ConnectionRefusedError):
        UnitNexus(host, "two", "iqn.2000-01.com.example:one").open()
    # The same nexus takes its own place.
    UnitNexus(host, "one", "iqn.2000-01.com.example:one").open()
    assert len(host.table.all()) == 1
