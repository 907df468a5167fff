"""VERIFY(6) over distances: to filemarks and to end of data, a part at a time."""

from __future__ import annotations

import pytest

from tapectl.scsi.cartridge import CartridgeBusyError, CommandUnfinishedError
from tapectl.scsi.logical_unit import Status
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.ssc import TapeDrive, verify
from tests.support.memory_cartridge import MemoryCartridge
from tests.support.scsi_initiator import Initiator

TO_THE_SECOND_FILEMARK = bytes.fromhex("130800000200").ljust(16, b"\0")


@pytest.fixture
def tape() -> MemoryCartridge:
    tape = MemoryCartridge()
    tape.objects = [b"a" * 100, b"b" * 100, None, b"c" * 100, None, b"d"]
    return tape


@pytest.fixture
def host(tape: MemoryCartridge, monkeypatch: pytest.MonkeyPatch) -> Initiator:
    monkeypatch.setattr(verify, "_SLICE_BYTES", 150)
    drive = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD5"], serial="TD00000001")
    drive.load(tape)
    return Initiator(drive)


def run(host: Initiator, cdb: bytes, data_out: bytes = b"") -> object:
    return host.unit.execute(host.nexus, cdb, memoryview(data_out))


def test_it_goes_on_where_it_was(host):
    cdb = bytes(TO_THE_SECOND_FILEMARK)
    with pytest.raises(CommandUnfinishedError):
        run(host, cdb)
    assert run(host, cdb).status is Status.GOOD
    assert host.position() == 5


def test_somebody_elses_move_in_between_does_not_matter(host):
    other = Initiator(host.unit, "iqn.2025-01.test:two,i,0x02")
    cdb = bytes(TO_THE_SECOND_FILEMARK)
    with pytest.raises(CommandUnfinishedError):
        run(host, cdb)
    other.good("01")
    assert run(host, cdb).status is Status.GOOD
    assert host.position() == 5


def test_another_command_with_the_same_bytes_begins_anew(host):
    host.good("2b0000" + "00000001")
    with pytest.raises(CommandUnfinishedError):
        run(host, bytes(TO_THE_SECOND_FILEMARK))
    assert host.position() == 1
    again = bytes(bytearray(TO_THE_SECOND_FILEMARK))
    with pytest.raises(CommandUnfinishedError):
        run(host, again)
    assert run(host, again).status is Status.GOOD
    assert host.position() == 5


def test_data_on_its_way_from_the_store_is_waited_for(host, tape):
    cdb = bytes.fromhex("132000000000").ljust(16, b"\0")
    tape.busy["read_block"] = [None, CartridgeBusyError("cold")]
    with pytest.raises(CartridgeBusyError):
        run(host, cdb)
    while True:
        try:
            reply = run(host, cdb)
            break
        except CommandUnfinishedError:
            continue
    assert reply.status is Status.GOOD
    assert host.position() == 6


def test_a_damaged_block_is_found(host, tape):
    tape.fail_reads = True
    assert host.check("132000000000").code == (3, 0x11, 0)
