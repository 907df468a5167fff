"""Partitions as mt and LTFS make them, and what a position means in each."""

from __future__ import annotations

import struct

import pytest

from tapectl.scsi.cartridge import CartridgeBusyError, CartridgeReadError
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.ssc import TapeDrive
from tests.support.memory_cartridge import MemoryCartridge
from tests.support.scsi_initiator import Initiator

GIB = 1 << 30
_LTO5, _LTO8 = "IBM-ULT3580-TD5", "IBM-ULT3580-TD8"
IDP, SDP, FDP, SCALED, POFM = 0x20, 0x40, 0x80, 0x18, 0x04
REST = 0xFFFF


def loaded(personality: str = _LTO8, capacity: int = 8 * GIB) -> tuple[Initiator, MemoryCartridge]:
    drive = TapeDrive(DRIVE_PERSONALITIES[personality], serial="TD00000001")
    tape = MemoryCartridge(
        capacity_bytes=capacity, generation=DRIVE_PERSONALITIES[personality].generation.number
    )
    drive.load(tape)
    return Initiator(drive), tape


def page(host: Initiator, control: int = 0) -> bytes:
    """Return page 11h, header and all."""
    data = host.good(bytes((0x5A, 0x08, control << 6 | 0x11, 0, 0, 0, 0, 0, 255, 0)))
    return data[8:]


def select(host: Initiator, additional: int, flags: int, units: int, *sizes: int) -> None:
    host.good(*select_cdb(host, additional, flags, units, *sizes))


def select_cdb(
    host: Initiator, additional: int, flags: int, units: int, *sizes: int
) -> tuple[bytes, bytes]:
    """Return MODE SELECT(10) of page 11h, read, modified and written as clients do."""
    body = bytearray(page(host))
    body[0] &= 0x3F
    body[3], body[4], body[6] = additional, flags | POFM, units
    struct.pack_into(f">{len(sizes)}H", body, 8, *sizes)
    data = bytes(8) + bytes(body)
    return bytes((0x55, 0x10, 0, 0, 0, 0, 0, *len(data).to_bytes(2, "big"), 0)), data


def make_partitions(host: Initiator, *sizes_gb: int) -> None:
    select(host, len(sizes_gb) - 1, IDP | SCALED, 9, *sizes_gb)
    host.good("040001")


def test_an_unpartitioned_tape_says_how_many_partitions_it_may_have():
    host, _ = loaded()
    body = page(host)
    assert (body[2], body[3], body[5]) == (3, 0, 3)
    assert body[4] & POFM
    assert page(loaded(_LTO5)[0])[2] == 1


def test_a_scaled_size_is_rounded_up_to_a_pair_of_wraps_and_the_rest_is_exact():
    host, tape = loaded()
    make_partitions(host, REST, 1)
    first, second = (part.capacity_bytes for part in tape.partitions)
    assert first + second == 8 * GIB
    assert second >= 10**9
    assert second % (2 * 8 * GIB // 208) == 0
    assert page(host)[3] == 1


def test_ltfs_asks_for_one_byte_and_gets_the_smallest_partition():
    host, tape = loaded()
    body = bytearray(page(host))
    body[0] &= 0x3F
    body[3], body[4], body[6] = 1, IDP | body[4] & 0x1F, 0
    body[8:12] = bytes((0, 1, 0xFF, 0xFF))
    data = bytes(8) + bytes(body)
    host.good(bytes((0x55, 0x10, 0, 0, 0, 0, 0, 0, len(data), 0)), data)
    host.good("040002")
    assert tape.partitions[0].capacity_bytes == 2 * 8 * GIB // 208


@pytest.mark.parametrize(
    ("flags", "additional"), [(FDP, 1), (SDP, 3), (SDP, 1)], ids=["fdp", "sdp4", "sdp2"]
)
def test_the_drive_divides_the_tape_itself(flags, additional):
    host, tape = loaded()
    select(host, additional, flags | SCALED, 9)
    host.good("040001")
    assert len(tape.partitions) == additional + 1
    assert sum(part.capacity_bytes for part in tape.partitions) == 8 * GIB


@pytest.mark.parametrize(
    ("additional", "flags", "sizes", "byte"),
    [
        (4, IDP, (1, 1, 1, 1), 3),
        (1, 0, (1, 1), 4),
        (1, IDP | SDP, (1, 1), 4),
        (1, IDP, (0, REST), 8),
        (1, IDP, (REST, REST), 10),
        (1, IDP, (7, 7), 8),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(additional, flags, sizes, byte):
    host, _ = loaded()
    before = page(host)
    sense = host.check(*select_cdb(host, additional, flags | SCALED, 9, *sizes))
    assert sense.code == (5, 0x26, 0)
    assert int.from_bytes(sense.specific[1:], "big") == 8 + byte
    assert page(host) == before


def test_nothing_happens_to_the_tape_before_it_is_formatted():
    host, tape = loaded()
    host.write(b"data")
    select(host, 1, IDP | SCALED, 9, 2, REST)
    assert len(tape.partitions) == 1
    host.good("01")
    assert host.read(4) == b"data"


def test_formatting_loses_what_was_recorded_and_the_coherency_of_every_partition():
    host, tape = loaded()
    make_partitions(host, 2, REST)
    host.write(b"data")
    coherency = struct.pack(">IHBH", 5 + 30, 0x080C, 0, 30) + bytes(30)
    host.good("8d000000000000010000" + f"{len(coherency):08x}", coherency)
    assert tape.attribute(1, 0x080C) is not None
    host.good("2b00" + "00" * 4)
    host.good("040000")
    assert len(tape.partitions) == 1
    assert tape.end_of_data == 0
    assert tape.attribute(1, 0x080C) is None
    assert tape.attribute(0, 0x0007).value == b"\0\2"


def test_only_the_beginning_of_partition_0_is_the_place_to_format():
    host, _ = loaded()
    host.write(b"data")
    assert host.check("040000").code == (5, 0x3B, 0x0C)
    host.good("01")
    make_partitions(host, 2, REST)
    host.good("2b02000000000000" + "01")
    assert host.check("040000").code == (5, 0x3B, 0x0C)
    assert host.check("0b00" + "00ffff").code == (5, 0x3B, 0x0C)


def test_partitions_are_apart_from_each_other():
    host, _ = loaded()
    make_partitions(host, 2, REST)
    host.write(b"zero")
    host.good("2b02" + "00" * 6 + "01")
    host.write(b"one!")
    host.good("100000000100")
    assert host.good("3406")[4:8] == b"\0\0\0\1"
    assert host.good("34")[1] == 1
    host.good("01")
    assert host.good("34")[:2] == b"\x80\x01"
    assert host.read(4) == b"one!"
    host.good("92020000" + "00" * 8)
    assert host.read(4) == b"zero"
    assert host.check("080000000400").code == (8, 0, 5)


def test_a_partition_that_is_not_there_cannot_be_gone_to():
    host, _ = loaded()
    for cdb in ("2b02000000000000" + "01", "92020001" + "00" * 8):
        assert host.check(cdb).code == (5, 0x24, 0)
    assert host.position() == 0


@pytest.mark.parametrize("error", [CartridgeBusyError("cold"), CartridgeReadError("damaged")])
def test_a_file_of_another_partition_that_cannot_be_found_yet_leaves_the_tape_where_it_is(error):
    host, tape = loaded()
    make_partitions(host, 2, REST)
    host.good("9202000100" + "00" * 7)
    host.write(b"file")
    host.good("100000000100")
    host.good("9202000000" + "00" * 7)
    host.write(b"here")
    tape.busy["locate_file"] = [error]
    to_file_1 = b"\x92\x0a\0\1" + (1).to_bytes(8, "big")
    if isinstance(error, CartridgeBusyError):
        with pytest.raises(CartridgeBusyError):
            host.send(to_file_1)
    else:
        assert host.check(to_file_1).code == (3, 0x11, 0)
    assert (host.good("34")[1], host.position()) == (0, 1)
    host.good(to_file_1)
    assert (host.good("34")[1], host.position()) == (1, 2)


def test_a_partition_overflows_when_it_is_full_and_the_other_is_not():
    host, tape = loaded()
    make_partitions(host, 2, REST)
    tape.sizes[0] = 6
    host.write(b"data")
    assert host.check("0a0000000400", b"more").code == (0xD, 0, 2)
    host.good("2b02" + "00" * 6 + "01")
    host.write(b"more")


def test_loading_goes_to_the_beginning_of_partition_0():
    host, _ = loaded()
    make_partitions(host, 2, REST)
    host.good("2b02" + "00" * 6 + "01")
    host.good("1b00000001")
    assert host.good("34")[:2] == b"\x80\x00"


def test_less_of_the_tape_can_be_made_usable_and_all_of_it_again():
    host, tape = loaded()
    host.write(b"data")
    host.good("01")
    host.good("0b00007fff00")
    assert 0.49 < tape.capacity_bytes / (8 * GIB) < 0.51
    assert tape.end_of_data == 0
    make_partitions(host, 1, REST)
    assert sum(part.capacity_bytes for part in tape.partitions) < 5 * GIB
    host.good("0b0000ffff00")
    assert [part.capacity_bytes for part in tape.partitions] == [8 * GIB]


def test_a_busy_cartridge_is_formatted_when_the_command_is_run_again():
    host, tape = loaded()
    host.write(b"data")
    host.good("01")
    tape.busy["format"] = [CartridgeBusyError("sealing")]
    with pytest.raises(CartridgeBusyError):
        host.good("040000")
    host.good("040000")
    assert tape.end_of_data == 0
