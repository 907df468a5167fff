"""Append-only mode: what ALLOW OVERWRITE has allowed is allowed until it was done."""

from __future__ import annotations

import pytest

from tapectl.scsi.cartridge import CartridgeBusyError
from tapectl.scsi.logical_unit import Status
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.ssc import TapeDrive
from tests.support.memory_cartridge import MemoryCartridge
from tests.support.scsi_initiator import Initiator

WRITE = b"\x0a\0\0\0\x01\0"
REFUSED = (7, 0x30, 0x0C)


@pytest.fixture
def tape() -> MemoryCartridge:
    return MemoryCartridge()


@pytest.fixture
def host(tape: MemoryCartridge) -> Initiator:
    """A client of a drive in append-only mode, before three blocks."""
    drive = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD5"], serial="TD00000001")
    drive.load(tape, attention=False)
    host = Initiator(drive)
    for _ in range(3):
        host.write(b"a")
    page = bytearray(host.good("5a08 10 01 00 00 00 00ff 00")[8:])
    page[5] |= 0x10
    host.good("5510 0000 0000 0000 28 00", bytes.fromhex("00000010 00000000") + bytes(page))
    host.rewind()
    return host


def allow(host: Initiator, what: int) -> None:
    host.good(bytes((0x82, 0, what)))


def test_one_overwrite_is_allowed_and_no_second(host: Initiator):
    allow(host, 1)
    assert host.send(WRITE, b"b").status is Status.GOOD
    host.rewind()
    assert host.check(WRITE, b"c").code == REFUSED


@pytest.mark.parametrize(
    ("method", "cdb", "data"),
    [
        ("write_blocks", WRITE, b"b"),
        ("write_filemarks", b"\x10\0\0\0\x01\0", b""),
        ("synchronize", b"\x10\0\0\0\x01\0", b""),
    ],
)
def test_an_overwrite_that_has_to_wait_is_still_allowed(
    host: Initiator, tape: MemoryCartridge, method: str, cdb: bytes, data: bytes
):
    allow(host, 1)
    tape.busy[method] = [CartridgeBusyError("no room")]
    with pytest.raises(CartridgeBusyError):
        host.send(cdb, data)
    assert host.send(cdb, data).status is Status.GOOD
    assert host.write(b"appended").status is Status.GOOD
    host.rewind()
    assert host.check(cdb, data).code == REFUSED


def test_a_format_that_has_to_wait_is_still_allowed(host: Initiator, tape: MemoryCartridge):
    allow(host, 2)
    tape.busy["format"] = [CartridgeBusyError("no room")]
    with pytest.raises(CartridgeBusyError):
        host.send("0400")
    host.good("0400")


def test_an_overwrite_that_fails_its_guard_check_is_still_allowed(host: Initiator):
    page = bytes((0x4A, 0xF0, 0, 28, 1, 4, 0x80)).ljust(32, b"\0")
    host.good("5510 0000 0000 0000 28 00", bytes.fromhex("00000010 00000000") + page)
    allow(host, 1)
    cdb = b"\x0a\0\0\0\x05\0"
    assert host.check(cdb, b"bad!!").code == (4, 0x10, 1)
    assert host.send(cdb, b"\x01\x38\xcf\x38\x01").status is Status.GOOD
