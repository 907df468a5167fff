"""REWIND, SPACE, LOCATE, READ POSITION, LOAD UNLOAD."""

from __future__ import annotations

import struct

import pytest

from tapectl.scsi.cartridge import CartridgeKeyError, CartridgeReadError
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.ssc import TapeDrive
from tests.support.memory_cartridge import MemoryCartridge
from tests.support.scsi_initiator import Initiator

BLOCKS, FILEMARKS, SEQUENTIAL, END_OF_DATA = 0, 1, 2, 3


@pytest.fixture
def tape() -> MemoryCartridge:
    """Three files of three blocks each; object numbers 0-2, 4-6, 8-10, filemarks at 3, 7, 11."""
    tape = MemoryCartridge()
    for file in range(3):
        for block in range(3):
            data = b"F%dB%d" % (file, block)
            tape.write_blocks(memoryview(data), len(data))
        tape.write_filemarks(1)
    return tape


@pytest.fixture
def host(tape: MemoryCartridge) -> Initiator:
    drive = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD5"], serial="TD00000001")
    drive.load(tape)
    return Initiator(drive)


def test_load_leaves_the_tape_at_its_beginning(host):
    assert host.good("34") == bytes([0x80]) + bytes(19)
    assert host.read(4) == b"F0B0"


def test_spacing_blocks(host):
    host.good(host.space_cdb(BLOCKS, 2))
    assert host.position() == 2
    host.good(host.space_cdb(BLOCKS, -1))
    assert host.read(4) == b"F0B1"


def test_spacing_blocks_stops_after_a_filemark(host):
    sense = host.check(host.space_cdb(BLOCKS, 7))
    assert sense.code == (0, 0, 1)
    assert sense.filemark
    assert sense.information == 4
    assert host.read(4) == b"F1B0"


def test_spacing_blocks_backwards_stops_before_a_filemark(host):
    host.good("2b000000000006")
    sense = host.check(host.space_cdb(BLOCKS, -5))
    assert sense.filemark
    assert sense.information == 3
    assert host.position() == 3


def test_spacing_before_the_beginning(host):
    host.good(host.space_cdb(BLOCKS, 2))
    sense = host.check(host.space_cdb(BLOCKS, -3))
    assert sense.code == (0, 0, 4)
    assert sense.end_of_medium
    assert sense.information == 1
    assert host.good("34")[0] & 0x80


def test_spacing_past_the_end_of_data(host):
    sense = host.check(host.space_cdb(FILEMARKS, 5))
    assert sense.code == (8, 0, 5)
    assert sense.information == 2
    assert not sense.end_of_medium
    assert host.position() == 12


def test_spacing_filemarks_both_ways(host):
    host.good(host.space_cdb(FILEMARKS, 2))
    assert host.read(4) == b"F2B0"
    host.good(host.space_cdb(FILEMARKS, -2))
    assert host.position() == 3


def test_spacing_to_end_of_data(host):
    host.good(host.space_cdb(END_OF_DATA, 0))
    assert host.position() == 12


def test_spacing_nothing(host):
    host.good(host.space_cdb(BLOCKS, 0))
    assert host.position() == 0


def test_spacing_sequential_filemarks_is_refused(host):
    assert host.check(host.space_cdb(SEQUENTIAL, 1)).code == (5, 0x24, 0)


def test_space_16(host):
    host.good(b"\x91\x01\0\0" + (2).to_bytes(8, "big"))
    assert host.position() == 8
    host.good(b"\x91\x00\0\0" + (1).to_bytes(8, "big"))
    host.good(b"\x91\x01\0\0" + (-1).to_bytes(8, "big", signed=True))
    assert host.position() == 7


@pytest.mark.parametrize("flags", ["00", "04", "05"])
def test_locate_10_with_and_without_the_vendor_form(host, flags):
    host.good(f"2b{flags}0000000005")
    assert host.read(4) == b"F1B1"


def test_locate_16_by_object_file_and_end_of_data(host):
    host.good(b"\x92\x00\0\0" + (9).to_bytes(8, "big"))
    assert host.read(4) == b"F2B1"
    host.good(b"\x92\x08\0\0" + (1).to_bytes(8, "big"))
    assert host.read(4) == b"F1B0"
    host.good(b"\x92\x18")
    assert host.position() == 12


def test_locate_past_end_of_data(host):
    assert host.check("2b000000001000").code == (8, 0, 5)
    assert host.position() == 12


@pytest.mark.parametrize(
    ("method", "cdb"),
    [
        ("space_blocks", "1100 000001"),
        ("space_filemarks", "1101 ffffff"),
        ("locate_file", "92080000" + "0000000000000002"),
        ("file_number", "3406"),
    ],
)
def test_filemarks_that_cannot_be_found_are_a_medium_error_and_no_motion(host, tape, method, cdb):
    host.good("2b000000000005")
    tape.busy[method] = [CartridgeReadError("the index is damaged")]
    sense = host.check(cdb)
    assert (sense.code, sense.information) == ((3, 0x11, 0), None)
    assert host.position() == 5
    host.good(cdb)


def test_filemarks_that_are_encrypted_need_the_key(host, tape):
    tape.busy["locate_file"] = [CartridgeKeyError("no key")]
    assert host.check("92080000" + "0000000000000002").code == (7, 0x74, 1)


def test_locate_to_another_partition_is_refused(host):
    assert host.check("2b02000000000000 01").code == (5, 0x24, 0)
    assert host.check("92020001").code == (5, 0x24, 0)


def test_read_position_vendor_form_is_what_locate_takes(host):
    host.good(host.space_cdb(BLOCKS, 2))
    place = struct.unpack_from(">I", host.good("3401"), 4)[0]
    host.rewind()
    host.good(b"\x2b\x04\0" + struct.pack(">I", place))
    assert host.read(4) == b"F0B2"


def test_read_position_long_tells_object_and_file(host):
    host.good(b"\x2b\0\0" + struct.pack(">I", 9))
    data = host.good("3406")
    assert struct.unpack(">B3xIQQQ", data) == (0, 0, 9, 2, 0)


def test_read_position_extended_is_cut_to_its_allocation_length(host):
    host.good(b"\x2b\0\0" + struct.pack(">I", 9))
    data = host.good("3408 0000000000 0020")
    assert struct.unpack(">BBHxBHQQQ", data) == (0, 0, 28, 0, 0, 9, 9, 0)
    assert len(host.good("3408 0000000000 0008")) == 8


def test_object_numbers_beyond_32_bits_are_a_position_error_in_the_short_form():
    drive = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD5"], serial="TD00000001")
    tape = MemoryCartridge()
    drive.load(tape)
    tape.position = 1 << 32
    host = Initiator(drive)
    assert host.good("34")[0] & 0x02
    assert struct.unpack_from(">Q", host.good("3406"), 8)[0] == 1 << 32


def test_unload_unthreads_and_load_threads_again(host):
    drive = host.unit
    assert isinstance(drive, TapeDrive)
    host.good(host.space_cdb(BLOCKS, 2))
    host.good("1b")
    assert not drive.threaded
    assert drive.cartridge is not None
    for cdb in ("00", "01", "0800000001", "34"):
        assert host.check(cdb).code == (2, 0x3A, 0)
    host.good("1b00000001")
    assert host.position() == 0
    assert host.read(4) == b"F0B0"


def test_a_second_nexus_hears_of_a_load(host):
    other = Initiator(host.unit, "other")
    host.good("1b")
    host.good("1b00000001")
    assert other.check("00").code == (6, 0x28, 0)
    host.good("00")


def test_an_empty_drive_is_not_ready():
    drive = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD5"], serial="TD00000001")
    host = Initiator(drive)
    assert host.check("00").code == (2, 0x3A, 0)
    assert host.check("1b00000001").code == (2, 0x3A, 0)
    host.good("1b")
    assert host.good("0300000012")[12:14] == b"\x3a\0"


def test_the_robot_loads_and_every_known_nexus_hears_of_it_once():
    drive = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD5"], serial="TD00000001")
    hosts = [Initiator(drive, "one"), Initiator(drive, "two")]
    drive.load(MemoryCartridge())
    for host in hosts:
        assert host.check("00").code == (6, 0x28, 0)
        host.good("00")
    assert drive.unload() is not None
    assert hosts[0].check("00").code == (2, 0x3A, 0)
    assert drive.unload() is None


def test_prevention_holds_until_the_last_nexus_lets_go(host):
    drive = host.unit
    assert isinstance(drive, TapeDrive)
    other = Initiator(drive, "other")
    host.good("1e00000001")
    other.good("1e00000001")
    assert host.check("1b").code == (5, 0x53, 2)
    host.good("1e")
    assert drive.removal_prevented
    drive.nexus_lost("other")
    assert not drive.removal_prevented
    host.good("1b")


def test_a_restarted_drive_tells_every_nexus_once():
    drive = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD5"], serial="TD00000001")
    drive.power_on_attention()
    drive.load(MemoryCartridge(), attention=False)
    host = Initiator(drive, "one")
    assert host.check("00").code == (6, 0x29, 0)
    host.good("00")
    drive.nexus_lost("one")
    drive.nexus_established("one")
    host.good("00")
    assert Initiator(drive, "two").check("00").code == (6, 0x29, 0)


def test_block_limits(host):
    assert host.good("05").hex() == "008000000001"


def test_media_serial_number_is_the_barcode(host):
    assert host.good("ab0100000000000000ff") == b"\0\0\0\x08TAP001L5"
