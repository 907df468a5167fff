"""Drives of LTO-1 to LTO-4, which have less: what they lack they refuse, and list nowhere."""

from __future__ import annotations

import pytest

from tapectl.scsi.media import LTO_MEDIA
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.ssc.drive import TapeDrive
from tests.support.memory_cartridge import MemoryCartridge
from tests.support.scsi_initiator import Initiator

IBM = {number: DRIVE_PERSONALITIES[f"IBM-ULT3580-TD{number}"] for number in range(1, 6)}

# As the makers' manuals list them: Write and Read Error Counters, Sequential-Access Device,
# Temperature, Protocol-Specific, TapeAlert, Tape Usage, Tape Capacity, Data Compression.
LOG_PAGES_OF_LTO_2 = {0x00, 0x02, 0x03, 0x0C, 0x0D, 0x18, 0x2E, 0x30, 0x31, 0x32}
MODE_PAGES = {
    1: {(0x01, 0), (0x02, 0), (0x0F, 0), (0x10, 0), (0x11, 0), (0x1C, 0)},
    2: {(0x0A, 0)},
    3: {(0x10, 1), (0x1D, 0)},
    4: {(0x0A, 1), (0x1A, 0)},
    5: {(0x0A, 0xF0)},
}
KEY = bytes(range(32))


def load(number: int, *, generation: int | None = None) -> Initiator:
    tape = MemoryCartridge(generation=generation or number)
    unit = TapeDrive(IBM[number], serial="TD00000001", random=bytes)
    unit.load(tape, attention=False)
    return Initiator(unit)


def operation_codes(host: Initiator) -> set[int]:
    data = host.good("a30c0000000000004000")
    size = int.from_bytes(data[:4], "big")
    return {data[at] for at in range(4, 4 + size, 8)}


@pytest.mark.parametrize("number", IBM)
def test_capacity_and_density(number):
    capacity_gb = {1: 100, 2: 200, 3: 400, 4: 800, 5: 1500}[number]
    assert LTO_MEDIA[number].density.nominal_capacity_bytes == capacity_gb * 10**9
    assert LTO_MEDIA[number].density.code == 0x3E + 2 * number or number == 5


@pytest.mark.parametrize("number", IBM)
def test_commands(number):
    later = {5: {0x04, 0x82}, 4: {0x91, 0x92, 0xA2, 0xB5}}
    host = load(number)
    listed = operation_codes(host)
    for first, codes in later.items():
        assert codes <= listed if number >= first else not codes & listed
    if number < 4:
        for cdb in ("040000000000", "91" + "00" * 15, "92" + "00" * 15):
            assert host.check(cdb).code == (5, 0x20, 0)
    assert {0x08, 0x0A, 0x11, 0x2B, 0x34, 0x44, 0x4D, 0x8C, 0x8D, 0x5E, 0x5F} <= listed


@pytest.mark.parametrize("number", IBM)
def test_mode_pages(number):
    data = load(number).good("5a003fff000000ffff00")
    found, at = set(), 8 + int.from_bytes(data[6:8], "big")
    while at < len(data):
        if data[at] & 0x40:
            found.add((data[at] & 0x3F, data[at + 1]))
            at += 4 + int.from_bytes(data[at + 2 : at + 4], "big")
        else:
            found.add((data[at] & 0x3F, 0))
            at += 2 + data[at + 1]
    assert found == set().union(*(MODE_PAGES[one] for one in range(1, number + 1)))


def test_a_page_that_is_not_there_can_not_be_set():
    page = bytes.fromhex("50 01 001c") + bytes(28)
    listed = bytes((0, 0, 0x10, 0)) + page
    assert load(2).check(bytes((0x15, 0x10, 0, 0, len(listed), 0)), listed).code == (5, 0x26, 0)
    load(3).good(bytes((0x15, 0x10, 0, 0, len(listed), 0)), listed)


@pytest.mark.parametrize(("number", "more"), [(1, set()), (2, set()), (3, {0x11}), (4, {0x11})])
def test_log_pages(number, more):
    host = load(number)
    assert set(host.good("4d0040000000000fff")[4:]) == LOG_PAGES_OF_LTO_2 | more
    assert host.check("4d0057000000000fff").code == (5, 0x24, 0)


def set_key(host: Initiator) -> None:
    body = bytes.fromhex("40 00 02 03 01 00 00" + "00" * 7 + "0020") + KEY
    data = bytes((0x00, 0x10)) + len(body).to_bytes(2, "big") + body
    host.good(bytes((0xB5, 0x20, 0, 0x10, 0, 0)) + len(data).to_bytes(4, "big"), data)


def test_older_media_are_not_encrypted():
    host = load(4, generation=3)
    set_key(host)
    assert host.check("0a00000004", b"data").code == (7, 0x30, 5)
    capabilities = host.good("a2200010" + "00000000" + "ffff0000")
    assert not capabilities[24] & 0x80, "AVFMV"


def test_the_drives_own_media_are():
    host = load(4)
    set_key(host)
    host.good("0a00000004", b"data")


def test_blocks_are_read_and_written():
    host = load(2, generation=1)
    assert not host.write(b"old").sense
    host.good("010000000000")
    assert host.read(3) == b"old"
