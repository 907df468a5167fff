"""Mode and log pages of the changer."""

from __future__ import annotations

import struct

import pytest

from tapectl.scsi.library import MoveRefusal
from tapectl.scsi.nonvolatile import NonvolatileMemoryError, VolatileMemory
from tapectl.scsi.sense import ASC
from tapectl.scsi.smc import MediaChanger
from tests.support.memory_library import MemoryLibrary
from tests.support.scsi_initiator import Initiator
from tests.unit.scsi.changer_commands import (
    AWS,
    DRIVE,
    MAIL,
    OPEN,
    SLOT,
    changer_of,
    exchange,
    mailbox,
    move,
    small_library,
)


@pytest.fixture
def library() -> MemoryLibrary:
    return small_library()


@pytest.fixture
def memory() -> VolatileMemory:
    return VolatileMemory()


@pytest.fixture
def host(library: MemoryLibrary, memory: VolatileMemory) -> Initiator:
    return Initiator(MediaChanger(AWS, library, serial="MC00000001", memory=memory))


def log_page(host: Initiator, code: int, pointer: int = 0) -> dict[int, bytes]:
    data = host.good(struct.pack(">BBBBBHHx", 0x4D, 0, 0x40 | code, 0, 0, pointer, 0xFFFF))
    assert data[0] & 0x3F == code
    assert int.from_bytes(data[2:4], "big") == len(data) - 4
    found, at = {}, 4
    while at < len(data):
        parameter, length = struct.unpack_from(">HxB", data, at)
        found[parameter] = data[at + 4 : at + 4 + length]
        at += 4 + length
    return found


def totals(host: Initiator) -> dict[int, int]:
    return {code: int.from_bytes(value, "big") for code, value in log_page(host, 0x14).items()}


def test_element_address_assignment_page(host):
    page = host.good("1a081d00ff")
    assert page[0] == len(page) - 1 == 23
    assert struct.unpack(">BB8H2x", page[4:]) == (0x1D, 18, 0, 1, SLOT, 5, MAIL, 3, DRIVE, 2)


def test_transport_geometry_and_capabilities_pages(host):
    assert host.good("1a081e00ff")[4:].hex() == "1e020000"
    page = host.good("1a081f00ff")[4:]
    assert (page[0], page[1], page[2]) == (0x1F, 18, 0x0E)
    assert page[4:8] == b"\0\x0e\x0e\x0e"
    assert page[12:16] == b"\0\x0e\x0e\x0e"


def test_there_is_no_block_descriptor(host):
    assert host.good("1a001d0088")[3] == 0


def test_addresses_cannot_be_changed(host):
    page = host.good("1a081d00ff")[4:]
    host.good("151000001800", bytes(4) + page)
    other = bytearray(page)
    other[3] ^= 1
    sense = host.check("151000001800", bytes(4) + bytes(other))
    assert sense.code == (5, 0x26, 0)
    assert host.good("1a085d00ff")[6:] == bytes(18)


def test_descriptor_format_sense_can_be_chosen(host):
    host.good("151000001000", bytes(4) + bytes.fromhex("0a0a06000000000000000000"))
    sense = host.send(move(SLOT, SLOT + 1)).sense
    assert (sense[0], sense[1:4]) == (0x72, b"\x05\x3b\x0d")


def test_pages_are_listed(host):
    supported = host.good("4d 00 40 00 00 0000 00ff 00".replace(" ", ""))
    assert supported[4:] == bytes((0x00, 0x07, 0x14, 0x15, 0x2E))


def test_moves_are_counted(host):
    host.good(move(SLOT, DRIVE))
    host.good(move(DRIVE, SLOT + 3))
    host.good(exchange(SLOT + 1, SLOT + 2, SLOT + 1))
    host.good(move(SLOT + 1, SLOT + 1))
    host.check(move(SLOT + 4, SLOT))
    host.good(mailbox(OPEN))
    host.good("07")
    counted = totals(host)
    assert (counted[0], counted[1], counted[3]) == (4, 4, 4)
    assert (counted[2], counted[4]) == (0, 0)
    assert (counted[8], counted[9], counted[10]) == (1, 1, 0)


def test_each_element_is_counted(host):
    host.good(move(SLOT, DRIVE))
    host.good(move(DRIVE, SLOT))
    host.good(move(SLOT, MAIL + 1))
    counted = {at: struct.unpack(">6I", value) for at, value in log_page(host, 0x15).items()}
    assert counted == {
        DRIVE: (1, 0, 1, 0, 0, 0),
        SLOT: (1, 0, 2, 0, 0, 0),
        MAIL + 1: (1, 0, 0, 0, 0, 0),
    }
    assert list(log_page(host, 0x15, pointer=SLOT)) == [SLOT, MAIL + 1]


def test_statistics_of_more_elements_than_a_page_holds_go_on_at_the_pointer():
    library = MemoryLibrary(AWS.ranges(1, 5000, 1))
    library.put(SLOT, "TAP000L5")
    host = Initiator(MediaChanger(AWS, library, serial="MC00000001"))
    for slot in range(2500):
        host.good(move(SLOT + slot, SLOT + slot + 1))
    first = list(log_page(host, 0x15))
    assert len(first) == 65535 // 28
    assert list(log_page(host, 0x15, pointer=first[-1] + 1))[-1] == SLOT + 2500


def test_counters_outlive_the_changer(host, library, memory):
    host.good(move(SLOT, DRIVE))
    again = Initiator(MediaChanger(AWS, library, serial="MC00000001", memory=memory))
    again.good(move(DRIVE, SLOT))
    assert totals(again)[0] == 2
    assert struct.unpack(">6I", log_page(again, 0x15)[DRIVE])[:3] == (1, 0, 1)


def test_a_move_does_not_fail_because_it_cannot_be_counted(host, library, memory, monkeypatch):
    def fail(_name, _value):
        raise NonvolatileMemoryError

    monkeypatch.setattr(memory, "put", fail)
    host.good(move(SLOT, DRIVE))
    assert library.at(DRIVE).volume_tag == "TAP000L5"
    assert totals(host)[0] == 1


@pytest.mark.parametrize(("code", "kept"), [(0x14, 0x15), (0x15, 0x14)])
def test_log_select_resets_a_page(host, code, kept):
    host.good(move(SLOT, DRIVE))
    host.good(struct.pack(">BBB7x", 0x4C, 0x02, 0x40 | code))
    assert not any(any(value) for value in log_page(host, code).values())
    assert any(any(value) for value in log_page(host, kept).values())


def flags(host: Initiator) -> set[int]:
    page = log_page(host, 0x2E)
    assert len(page) == 64
    return {code for code, value in page.items() if value[0] & 1}


def test_a_drive_that_fails_raises_an_alert_and_is_counted(host, library):
    library.refusal = MoveRefusal.DRIVE_FAILED
    host.check(move(SLOT, DRIVE))
    other = Initiator(host.unit, "iqn.2025-01.test:other,i,0x02")
    assert flags(host) == {1}
    assert flags(host) == set()
    assert flags(other) == {1}
    assert totals(host)[10] == 1


def test_the_last_errors_are_told_and_outlive_the_changer(host, library, memory):
    assert log_page(host, 0x07) == {}
    for _ in range(18):
        host.good(struct.pack(">BBB7x", 0x4C, 0x02, 0x40 | 0x14))
        library.refusal = MoveRefusal.DRIVE_FAILED
        host.check(move(SLOT, DRIVE))
    host.check(move(SLOT, SLOT + 1))
    again = Initiator(MediaChanger(AWS, library, serial="MC00000001", memory=memory))
    for nexus in (host, again):
        events = log_page(nexus, 0x07)
        assert list(events) == list(range(2, 18))
        assert all(text.startswith(b"drive failed: ") for text in events.values())
    again.good(struct.pack(">BBB7x", 0x4C, 0x02, 0x40 | 0x07))
    assert log_page(again, 0x07) == {}
    assert totals(again)[10] == 1


def test_a_drive_that_is_offline_raises_an_alert_until_it_is_back(host, library):
    library.change(DRIVE, exception=ASC.LOGICAL_UNIT_COMMUNICATION_FAILURE, accessible=False)
    assert flags(host) == {22}
    other = Initiator(host.unit, "iqn.2025-01.test:other,i,0x02")
    library.change(DRIVE, exception=None, accessible=True)
    assert flags(other) == set()


def test_refusals_of_what_initiators_ask_are_no_alert(host):
    host.check(move(SLOT, SLOT + 1))
    assert flags(host) == set()


def test_what_is_wrong_behind_the_library_is_an_alert_as_long_as_it_is(host, library):
    changer_of(host).hold_alerts((5, 8))
    library.change(DRIVE, exception=ASC.LOGICAL_UNIT_COMMUNICATION_FAILURE, accessible=False)
    assert flags(host) == {5, 8, 22}
    other = Initiator(host.unit, "iqn.2025-01.test:other,i,0x02")
    changer_of(host).hold_alerts((8,))
    assert flags(other) == {8, 22}
