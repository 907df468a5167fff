"""What LTFS sends to format, write and mount a tape, byte for byte as its generic backend does."""

from __future__ import annotations

import struct

import pytest

from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.ssc import TapeDrive
from tests.support.memory_cartridge import MemoryCartridge
from tests.support.scsi_initiator import Initiator

MOUNTS, NATIVE, USED, REMAINING = 0x0001, 0x0202, 0x0203, 0x0204
COHERENCY, CHANGE_REFERENCE = 0x080C, 0x0009


@pytest.fixture(params=["IBM-ULT3580-TD5", "IBM-ULT3580-TD8"])
def host(request) -> Initiator:
    personality = DRIVE_PERSONALITIES[request.param]
    drive = TapeDrive(personality, serial="TD00000001")
    drive.load(MemoryCartridge(capacity_bytes=10**10, generation=personality.generation.number))
    return Initiator(drive)


def write_attribute(host: Initiator, partition: int, identifier: int, value: bytes) -> None:
    """LTFS counts the bytes of the length field too."""
    row = struct.pack(">HBH", identifier, 0, len(value)) + value
    data = struct.pack(">I", len(row) + 4) + row
    host.good(struct.pack(">BB5xB2xI2x", 0x8D, 0x01, partition, len(data)), data)


def read_attribute(host: Initiator, partition: int, identifier: int, size: int) -> bytes:
    cdb = struct.pack(">BB5xBHI2x", 0x8C, 0, partition, identifier, size + 5 + 4)
    data = host.good(cdb)
    assert struct.unpack_from(">HBH", data, 4)[::2] == (identifier, size)
    return data[9:]


def volume_statistics(host: Initiator) -> dict[int, bytes]:
    data = host.good("4d0057000000" + "00ffff00")
    found, at = {}, 4
    while at < len(data):
        code, length = struct.unpack_from(">HxB", data, at)
        found[code] = data[at + 4 : at + 4 + length]
        at += 4 + length
    return found


def records(parameter: bytes) -> list[int]:
    """Return the values of a list of partition records: length 7, number, value."""
    rows = list(struct.iter_unpack(">BxHI", parameter))
    assert [row[:2] for row in rows] == [(7, number) for number in range(len(rows))]
    return [row[2] for row in rows]


def make_ltfs(host: Initiator, index_partition: int = 0) -> None:
    """Format: load, capacity, page 11h read, modified and written back, FORMAT MEDIUM 1h."""
    host.good("1b00000001")
    host.good("0b0000ffff00")
    page = bytearray(host.good(bytes((0x5A, 0, 0x11, 0, 0, 0, 0, 0, 28, 0))))
    length = int.from_bytes(page[:2], "big") + 2
    page = page.ljust(length, b"\0")
    page[0] = page[1] = 0
    page[19], page[20], page[22] = 1, 0x20 | page[20] & 0x1F, 0
    page[24:28] = b"\xff\xff\0\1" if index_partition else b"\0\1\xff\xff"
    host.good(bytes((0x55, 0x10, 0, 0, 0, 0, 0, 0, length, 0)), bytes(page[:length]))
    host.good("040001")


def locate(host: Initiator, partition: int, block: int) -> None:
    host.good(struct.pack(">BBBBQ4x", 0x92, 0x02, 0, partition, block))


@pytest.mark.parametrize("index_partition", [0, 1])
def test_a_tape_is_formatted_with_a_small_partition_for_the_index(host, index_partition):
    make_ltfs(host, index_partition)
    sizes = records(volume_statistics(host)[NATIVE])
    assert len(sizes) == 2
    assert sizes[index_partition] < sizes[1 - index_partition]
    # Without 16 bytes here LTFS takes the end of data for unknown.
    assert records(volume_statistics(host)[USED]) == [0, 0]


def test_labels_and_indexes_go_to_both_partitions_and_are_found_again(host):
    make_ltfs(host)
    for partition in (0, 1):
        locate(host, partition, 0)
        host.write(b"VOL1TAP001L".ljust(80))
        host.good("100100000100")
        host.write(b"<ltfslabel/>")
        host.good("100000000100")
        host.write(b"<ltfsindex/>")
        host.good("100000000100")
    host.good("1b00000001")
    locate(host, 1, 0)
    assert host.read(80).startswith(b"VOL1")
    place = host.good("3406" + "00" * 6 + "0000")
    assert struct.unpack_from(">IQQ", place, 4) == (1, 1, 0)
    # The last index: before the last filemark of each partition.
    for partition in (0, 1):
        host.good(struct.pack(">BBBBQ4x", 0x92, 0x02 | 3 << 3, 0, partition, 0))
        host.good("9101" + "0000" + (-2).to_bytes(8, "big", signed=True).hex() + "00000000")
        host.check("080000000400")
        assert host.read(12) == b"<ltfsindex/>"


def test_the_position_beyond_any_block_is_the_end_of_data(host):
    make_ltfs(host)
    locate(host, 1, 0)
    host.write(b"data")
    sense = host.check(struct.pack(">BBBBQ4x", 0x92, 0x02, 0, 1, (1 << 64) - 1))
    assert sense.code == (8, 0, 5)
    assert host.position() == 1


def test_coherency_is_kept_for_each_partition_and_forgotten_by_a_format(host):
    make_ltfs(host)
    assert host.check("8c0000000000" + "0000080c0000004f0000").code == (5, 0x24, 0)
    for partition in (0, 1):
        write_attribute(host, partition, COHERENCY, bytes((8,)) * 69 + bytes((partition,)))
    assert read_attribute(host, 0, COHERENCY, 70)[-1] == 0
    assert read_attribute(host, 1, COHERENCY, 70)[-1] == 1
    make_ltfs(host)
    assert host.check("8c0000000000" + "0001080c0000004f0000").code == (5, 0x24, 0)


def test_the_change_reference_stays_until_somebody_writes_and_then_changes(host):
    make_ltfs(host)
    host.write(b"index")
    host.good("100000000000")
    noted = read_attribute(host, 0, CHANGE_REFERENCE, 4)
    assert noted == read_attribute(host, 0, CHANGE_REFERENCE, 4)
    host.good("1b00000000")
    host.good("1b00000001")
    assert read_attribute(host, 0, CHANGE_REFERENCE, 4) == noted
    host.write(b"from somebody else")
    assert read_attribute(host, 0, CHANGE_REFERENCE, 4) != noted


def test_the_attributes_of_a_volume_are_written_and_the_lock_too(host):
    make_ltfs(host)
    for identifier, size in ((0x0800, 8), (0x0801, 32), (0x0802, 8), (0x0803, 160), (0x080B, 16)):
        row = struct.pack(">HBH", identifier, 2 if identifier == 0x0803 else 1, size) + b"a" * size
        data = struct.pack(">I", len(row) + 4) + row
        host.good(struct.pack(">BB5xB2xI2x", 0x8D, 0x01, 0, len(data)), data)
        assert read_attribute(host, 0, identifier, size) == b"a" * size
    write_attribute(host, 0, 0x0805, b"\x81")
    write_attribute(host, 0, 0x1623, b"\x80")
    assert read_attribute(host, 0, 0x1623, 1) == b"\x80"


def test_append_only_mode_lets_ltfs_unlink_the_index(host):
    make_ltfs(host)
    for data in (b"label", b"index"):
        host.write(data)
        host.good("100000000100")
    page = bytearray(host.good("5a001001000000003000"))
    page[:2] = b"\0\0"
    page[21] = 0x10
    host.good(bytes((0x55, 0x10, 0, 0, 0, 0, 0, 0, len(page), 0)), bytes(page))
    locate(host, 0, 2)
    assert host.check("0a0000000400", b"more").code == (7, 0x30, 0x0C)
    host.good(struct.pack(">BBBBQ4x", 0x82, 0, 1, 0, 2))
    host.write(b"newer")
    assert host.position() == 3
    host.write(b"after it")


def test_logical_block_protection_is_switched_on_as_ltfs_does(host):
    page = bytearray(host.good("5a000af0000000003000"))
    page[:2] = b"\0\0"
    method = 2 if page[16 + 4] or "TD8" in str(host.unit.personality.name) else 1
    page[20], page[21], page[22] = method, 4, 0xC0
    host.good(bytes((0x55, 0x10, 0, 0, 0, 0, 0, 0, len(page), 0)), bytes(page))
    assert host.check("0a0000000800", b"data\0\0\0\0").asc == 0x10


def test_health_is_there_for_all_that_ltfs_asks(host):
    found = volume_statistics(host)
    asked = (1, 2, 3, 4, 6, 7, 8, 0x0C, 0x0D, 0x10, 0x11, 0x0101, 0x0102)
    assert [code for code in asked if code not in found] == []
    assert int.from_bytes(found[MOUNTS], "big") >= 1
    assert records(found[REMAINING])[0] > 0
