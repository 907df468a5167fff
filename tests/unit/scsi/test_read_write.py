"""Blocks and filemarks written and read through the drive, and the sense on the way."""

from __future__ import annotations

import pytest

from tapectl.scsi.cartridge import CartridgeBusyError, CartridgeKeyError
from tapectl.scsi.logical_unit import Status
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.ssc import TapeDrive
from tests.support.memory_cartridge import MemoryCartridge
from tests.support.scsi_initiator import Initiator, ReceivedSense

LTO5 = DRIVE_PERSONALITIES["IBM-ULT3580-TD5"]


def loaded(cartridge: MemoryCartridge | None = None) -> tuple[Initiator, MemoryCartridge]:
    cartridge = cartridge or MemoryCartridge()
    drive = TapeDrive(LTO5, serial="TD00000001")
    drive.load(cartridge)
    return Initiator(drive), cartridge


def sense_of(reply: object) -> ReceivedSense:
    return ReceivedSense.decode(reply.sense)  # type: ignore[attr-defined]


def test_variable_blocks_come_back_as_written():
    host, tape = loaded()
    for block in (b"a", b"b" * 1000, b"c" * 70000):
        assert host.write(block).status is Status.GOOD
    host.rewind()
    assert host.read(1) == b"a"
    assert host.read(1000) == b"b" * 1000
    assert host.read(70000) == b"c" * 70000
    assert tape.position == 3


def test_filemark_ends_a_variable_read_with_all_of_it_as_information():
    host, _ = loaded()
    host.write(b"x" * 100)
    host.write_filemarks(1)
    host.rewind()
    host.read(100)
    sense, data = host.check_data(host.read_cdb(512))
    assert sense.code == (0, 0, 1)
    assert (sense.filemark, sense.end_of_medium, sense.incorrect_length) == (True, False, False)
    assert sense.information == 512
    assert data == b""
    assert host.position() == 2


def test_end_of_data_is_blank_check_with_eom_clear_and_valid_set():
    host, _ = loaded()
    sense, data = host.check_data(host.read_cdb(65536))
    assert sense.code == (8, 0, 5)
    assert not sense.end_of_medium
    assert sense.information == 65536
    assert data == b""


def test_end_of_data_in_fixed_mode_counts_blocks():
    host, _ = loaded()
    host.set_block_length(512)
    host.write_fixed(b"y" * 1024, 2)
    host.rewind()
    sense, data = host.check_data(host.read_cdb(5, fixed=True))
    assert sense.code == (8, 0, 5)
    assert sense.information == 3
    assert data == b"y" * 1024


def test_a_block_longer_than_the_read_is_cut_and_passed():
    host, _ = loaded()
    host.write(b"z" * 1000)
    host.write(b"next")
    host.rewind()
    sense, data = host.check_data(host.read_cdb(400))
    assert sense.code == (0, 0, 0)
    assert sense.incorrect_length
    assert sense.information == 400 - 1000
    assert data == b"z" * 400
    assert host.read(4) == b"next"


def test_a_block_shorter_than_the_read_is_ili_with_the_residue():
    host, _ = loaded()
    host.write(b"z" * 1000)
    host.rewind()
    sense, data = host.check_data(host.read_cdb(1064))
    assert sense.incorrect_length
    assert sense.information == 64
    assert data == b"z" * 1000


def test_sili_suppresses_both_incorrect_lengths_while_no_block_length_is_set():
    host, _ = loaded()
    host.write(b"z" * 1000)
    host.rewind()
    assert host.read(1064, sili=True) == b"z" * 1000
    host.rewind()
    assert host.read(10, sili=True) == b"z" * 10


def test_sili_with_a_block_length_set_reports_the_overlength_only():
    host, _ = loaded()
    host.write(b"z" * 1000)
    host.set_block_length(512)
    host.rewind()
    assert host.read(1064, sili=True) == b"z" * 1000
    host.rewind()
    assert host.check(host.read_cdb(10, sili=True)).information == -990


def test_sili_with_fixed_is_refused():
    host, _ = loaded()
    host.set_block_length(512)
    sense = host.check(host.read_cdb(1, fixed=True, sili=True))
    assert sense.code == (5, 0x24, 0)
    assert sense.specific[0] & 0xC0 == 0xC0  # SKSV, and it is the CDB
    assert sense.specific[1:] == b"\0\x01"


@pytest.mark.parametrize("cdb", ["0801000001", "0a01000001"])
def test_fixed_without_a_block_length_is_refused(cdb):
    host, _ = loaded()
    assert host.check(cdb, b"x" * 512).code == (5, 0x24, 0)


def test_fixed_blocks_are_single_objects():
    host, tape = loaded()
    host.set_block_length(1024)
    data = bytes(range(256)) * 4 * 5
    assert host.write_fixed(data, 5).status is Status.GOOD
    assert tape.end_of_data == 5
    host.rewind()
    assert host.good(host.read_cdb(5, fixed=True)) == data


def test_a_filemark_in_a_fixed_read_leaves_the_blocks_before_it():
    host, _ = loaded()
    host.set_block_length(512)
    host.write_fixed(b"1" * 1024, 2)
    host.write_filemarks(1)
    host.rewind()
    sense, data = host.check_data(host.read_cdb(8, fixed=True))
    assert sense.filemark
    assert sense.information == 6
    assert data == b"1" * 1024


@pytest.mark.parametrize("length", [500, 600])
def test_a_fixed_read_of_another_length_is_ili_and_counts_that_block_as_unread(length):
    host, _ = loaded()
    host.set_block_length(512)
    host.write_fixed(b"1" * 512, 1)
    host.write(b"2" * length)
    host.write_fixed(b"3" * 512, 1)
    host.rewind()
    sense, data = host.check_data(host.read_cdb(3, fixed=True))
    assert sense.incorrect_length
    assert sense.information == 2
    assert data == b"1" * 512
    assert host.position() == 2


def test_a_write_in_the_middle_ends_the_data_there():
    host, _ = loaded()
    for block in (b"1", b"2", b"3"):
        host.write(block)
    host.good("2b000000000001")
    host.write(b"new")
    assert host.check(host.read_cdb(10)).code == (8, 0, 5)
    host.good("2b000000000001")
    assert host.read(3) == b"new"


def test_zero_lengths_move_nothing():
    host, tape = loaded()
    assert host.good("08") == b""
    assert host.good("0a") == b""
    assert tape.position == 0


def test_more_than_the_longest_block_is_refused():
    host, tape = loaded()
    reply = host.write(bytes(LTO5.maximum_block_bytes + 1))
    assert sense_of(reply).code == (5, 0x24, 0)
    assert tape.end_of_data == 0


def test_less_data_than_the_cdb_asks_for_writes_nothing():
    host, tape = loaded()
    reply = host.send("0a00000100", bytes(255))
    assert sense_of(reply).code == (5, 0x24, 0)
    assert reply.data_out_bytes == 256
    assert tape.end_of_data == 0


def test_more_data_than_the_cdb_asks_for_is_passed_over():
    host, tape = loaded()
    reply = host.send("0a00000100", bytes(300))
    assert reply.status is Status.GOOD
    assert reply.data_out_bytes == 256
    assert tape.objects == [bytes(256)]


@pytest.mark.parametrize("cdb", ["0a00000001", "1000000001", "1900"])
def test_a_write_protected_cartridge_refuses_every_change(cdb):
    host, tape = loaded(MemoryCartridge(write_protected=True))
    assert host.check(cdb, b"x").code == (7, 0x27, 0)
    assert tape.end_of_data == 0
    assert host.good("1a00000004")[2] & 0x80


def test_filemarks_of_count_zero_are_allowed_on_a_write_protected_cartridge():
    host, _ = loaded(MemoryCartridge(write_protected=True))
    host.good("1000000000")


def test_worm_appends_and_never_overwrites():
    host, tape = loaded(MemoryCartridge(worm=True))
    assert host.write(b"1").status is Status.GOOD
    host.rewind()
    assert sense_of(host.write(b"2")).code == (7, 0x30, 0x0C)
    assert host.check("19").code == (7, 0x30, 0x0C)
    assert tape.objects == [b"1"]


def test_early_warning_says_so_and_writes():
    host, tape = loaded(MemoryCartridge(capacity_bytes=100_000))
    assert host.write(bytes(98_000)).status is Status.GOOD
    sense = sense_of(host.write(bytes(1_000)))
    assert sense.code == (0, 0, 2)
    assert sense.end_of_medium
    assert sense.information == 0
    assert tape.end_of_data == 2
    assert host.good("34")[0] & 0x40  # EOP
    assert sense_of(host.write_filemarks(1)).code == (0, 0, 2)
    assert tape.end_of_data == 3


def test_early_warning_goes_after_moving_back():
    host, _ = loaded(MemoryCartridge(capacity_bytes=100_000))
    host.write(bytes(99_500))
    host.rewind()
    assert host.write(b"1").status is Status.GOOD


def test_volume_overflow_tells_what_was_not_written():
    host, tape = loaded(MemoryCartridge(capacity_bytes=2_000))
    host.set_block_length(512)
    sense = sense_of(host.write_fixed(bytes(2560), 5))
    assert sense.code == (0xD, 0, 2)
    assert sense.end_of_medium
    assert sense.information == 2
    assert tape.end_of_data == 3
    assert sense_of(host.write(bytes(1000))).information == 1000


@pytest.mark.parametrize("buffered", [True, False])
def test_information_counts_one_fixed_block_as_one(buffered):
    host, tape = loaded(MemoryCartridge(capacity_bytes=700))
    host.set_block_length(512, buffered=buffered)
    host.write_fixed(bytes(512), 1)
    assert sense_of(host.write_fixed(bytes(512), 1)).information == 1
    tape.fail_writes = True
    assert sense_of(host.write_fixed(bytes(512), 1)).information == 1


def test_an_unreadable_block_is_a_medium_error():
    host, tape = loaded()
    host.write(b"data")
    host.rewind()
    tape.fail_reads = True
    sense = host.check(host.read_cdb(4))
    assert sense.code == (3, 0x11, 0)
    assert sense.information == 4
    assert host.position() == 0


def test_a_block_whose_key_is_missing_is_protected_and_no_fault_of_the_medium():
    host, tape = loaded()
    host.write(b"data")
    host.rewind()
    tape.busy["read_block"] = [CartridgeKeyError("no key")] * 3
    sense = host.check(host.read_cdb(4))
    assert (sense.code, sense.information) == ((7, 0x74, 1), 4)
    host.set_block_length(4)
    sense = host.check("080100000100")
    assert (sense.code, sense.information) == ((7, 0x74, 1), 1)
    assert host.check("132000000000").code == (7, 0x74, 1)
    assert host.position() == 0
    host.good(host.read_cdb(4))


def test_a_refused_write_is_a_medium_error():
    host, tape = loaded()
    tape.fail_writes = True
    assert sense_of(host.write(b"data")).code == (3, 0x0C, 0)
    assert sense_of(host.write_filemarks(1)).code == (3, 0x0C, 0)


@pytest.mark.parametrize(
    ("cdb", "synchronises"),
    [
        ("1000000001", True),
        ("1000000000", True),
        ("1001000001", False),
        ("01", True),
        ("110000ffff", True),
        ("2b", True),
        ("92", True),
        ("34", True),
        ("3406", True),
        ("3408000000000020", True),
        ("1b", True),
        ("00", False),
    ],
)
def test_what_synchronises_what_was_written(cdb, synchronises):
    host, tape = loaded()
    host.write(b"data")
    assert tape.synchronize_calls == 0
    host.send(cdb)
    assert (tape.synchronize_calls == 1) == synchronises


def test_nothing_is_synchronised_twice():
    host, tape = loaded()
    host.write(b"data")
    host.rewind()
    host.position()
    host.rewind()
    assert tape.synchronize_calls == 1


def test_unbuffered_mode_synchronises_every_write():
    host, tape = loaded()
    host.set_block_length(0, buffered=False)
    host.write(b"one")
    assert tape.synchronized_objects == 1
    host.write(b"two")
    assert tape.synchronized_objects == 2


def test_a_flush_that_fails_is_reported_by_the_filemark():
    host, tape = loaded()
    host.write(b"data")
    tape.fail_writes = True
    assert host.check("01").code == (3, 0x0C, 0)


def busy() -> list[Exception | None]:
    return [CartridgeBusyError("not yet")]


def test_a_fixed_read_that_must_wait_goes_back_to_where_it_began():
    host, tape = loaded()
    host.set_block_length(512)
    host.write_fixed(b"1" * 512 + b"2" * 512, 2)
    host.rewind()
    tape.busy["read_block"] = [None, *busy()]
    with pytest.raises(CartridgeBusyError):
        host.send(host.read_cdb(2, fixed=True))
    assert tape.position == 0
    assert host.good(host.read_cdb(2, fixed=True)) == b"1" * 512 + b"2" * 512


def test_a_verify_up_to_a_filemark_that_must_wait_goes_back_to_where_it_began():
    host, tape = loaded()
    tape.objects.extend([b"a", None, b"b", None, b"c", None])
    tape.busy["read_block"] = [None, None, None, *busy()]
    with pytest.raises(CartridgeBusyError):
        host.send("1308000002")
    assert tape.position == 0
    host.good("1308000002")
    assert tape.position == 4


def test_filemarks_whose_flush_must_wait_are_not_written_twice():
    host, tape = loaded()
    host.write(b"data")
    tape.busy["synchronize"] = busy()
    with pytest.raises(CartridgeBusyError):
        host.write_filemarks(2)
    assert host.write_filemarks(2).status is Status.GOOD
    assert tape.objects == [b"data", None, None]


def test_a_write_that_waits_consumes_no_unit_attention():
    host, tape = loaded()
    other = Initiator(host.unit, "iqn.2025-01.test:two,i,0x01")
    host.set_block_length(512)  # changes mode parameters under the other one
    tape.busy["write_blocks"] = busy()
    with pytest.raises(CartridgeBusyError):
        host.write(b"data")
    assert other.check("00").code == (6, 0x2A, 1)
    assert host.write(b"data").status is Status.GOOD


@pytest.mark.parametrize(("mode", "left"), [(0, 1), (1, 3), (2, 1)])
def test_short_erase_mode_decides_what_a_short_erase_does(mode, left):
    host, tape = loaded()
    host.good(
        "5510000000000000" + "2800",
        bytes.fromhex("0000001000000000 5001001c 00") + bytes((mode,)) + bytes(26),
    )
    for block in (b"1", b"2", b"3"):
        host.write(block)
    host.good("2b000000000001")
    host.good("19")
    assert len(tape.objects) == left
    assert host.position() == 1
    host.good("1901")
    assert len(tape.objects) == 1


def test_erase_makes_the_position_end_of_data():
    host, tape = loaded()
    for block in (b"1", b"2", b"3"):
        host.write(block)
    host.good("2b000000000001")
    host.good("1901")
    assert tape.objects == [b"1"]
    assert tape.synchronized_objects == 1
    assert host.check(host.read_cdb(1)).code == (8, 0, 5)
