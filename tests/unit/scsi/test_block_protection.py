"""Logical block protection: the mode page, and blocks with their protection information."""

from __future__ import annotations

import random

import pytest
from awscrt.checksums import crc32c

from tapectl.scsi.cartridge import EncryptedBlock
from tapectl.scsi.logical_unit import Status
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.ssc import TapeDrive
from tapectl.scsi.ssc.protection_information import reed_solomon_crc
from tests.support.encryption import set_page, spout_cdb
from tests.support.memory_cartridge import MemoryCartridge
from tests.support.scsi_initiator import Initiator

NONE, REED_SOLOMON, CRC32C = 0, 1, 2
WRITES, READS = 0x80, 0x40
BLOCK = b"protected all the way" * 20


class Host(Initiator):
    """An initiator that protects its blocks."""

    def page(self, control: int = 0) -> bytes:
        """The Control Data Protection page, without headers."""
        return self.good(bytes((0x5A, 0x08, control << 6 | 0x0A, 0xF0, 0, 0, 0, 0, 255, 0)))[8:]

    def protect_cdb(
        self, method: int, flags: int = WRITES | READS, length: int = 4
    ) -> tuple[bytes, bytes]:
        page = bytes((0x4A, 0xF0, 0, 28, method, length, flags)).ljust(32, b"\0")
        return bytes.fromhex("5510 00 0000 00 00 0028 00"), bytes.fromhex(
            "00000010 00000000"
        ) + page

    def protect(self, *args: int) -> None:
        self.good(*self.protect_cdb(*args))


def with_crc(method: int, data: bytes) -> bytes:
    if method == REED_SOLOMON:
        return data + reed_solomon_crc(data).to_bytes(4, "big")
    return data + crc32c(data).to_bytes(4, "little")


class Bench:
    def __init__(self, personality: str = "IBM-ULT3580-TD7") -> None:
        kind = DRIVE_PERSONALITIES[personality]
        draws = random.Random(3)
        self.drive = TapeDrive(kind, serial="TD00000001", random=draws.randbytes)
        self.tape = MemoryCartridge(generation=kind.generation.number)
        self.drive.load(self.tape)

    def host(self, name: str = "one") -> Host:
        return Host(self.drive, f"iqn.2025-01.test:{name},i,0x01")


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def host(bench: Bench) -> Host:
    return bench.host()


both = pytest.mark.parametrize("method", [REED_SOLOMON, CRC32C])


# The mode page.


def test_at_first_nothing_is_protected(host: Host):
    assert host.page() == bytes.fromhex("4af0 001c") + bytes(28)
    assert host.page(1)[4:7] == bytes.fromhex("ff 3f c0")


@both
def test_the_page_says_what_was_set(host: Host, method: int):
    host.protect(method)
    assert host.page()[4:7] == bytes((method, 4, 0xC0))
    host.protect(NONE, 0, 0)
    assert host.page()[4:] == bytes(28)


@pytest.mark.parametrize(
    ("asked", "byte"),
    [((3,), 12), ((0xF0,), 12), ((1, 0xC0, 8), 13), ((1, 0xC0, 0), 13), ((0, 0x80, 0), 14)],
)
def test_what_does_not_go_together_is_refused(host: Host, asked: tuple[int, ...], byte: int):
    host.protect(REED_SOLOMON)
    sense = host.check(*host.protect_cdb(*asked))
    assert sense.code == (5, 0x26, 0)
    assert int.from_bytes(sense.specific[1:], "big") == byte
    assert host.page()[4:7] == bytes((REED_SOLOMON, 4, 0xC0))


def test_a_drive_of_lto_6_has_no_crc32c():
    host = Bench("IBM-ULT3580-TD6").host()
    assert host.check(*host.protect_cdb(CRC32C)).code == (5, 0x26, 0)
    host.protect(REED_SOLOMON)


def test_each_nexus_protects_for_itself(bench: Bench):
    one, two = bench.host("one"), bench.host("two")
    one.protect(CRC32C)
    assert two.good("00") == b""  # and no attention: nothing of it has changed
    assert two.page()[4:] == bytes(28)
    assert two.write(BLOCK).status is Status.GOOD
    two.rewind()
    assert two.read(len(BLOCK)) == BLOCK
    two.rewind()
    assert one.read(len(BLOCK) + 4) == with_crc(CRC32C, BLOCK)


def test_the_mode_page_policy_says_so(host: Host):
    page = host.good(bytes.fromhex("12 01 87 00ff 00"))
    assert page[4:] == bytes.fromhex("0a f0 03 00  3f ff 00 00")


def test_a_lost_nexus_and_a_reset_end_protection(bench: Bench, host: Host):
    host.protect(CRC32C)
    bench.drive.nexus_lost(host.nexus)
    assert host.page()[4:] == bytes(28)
    host.protect(CRC32C)
    bench.drive.logical_unit_reset()
    host.send("00")
    assert host.page()[4:] == bytes(28)
    assert host.write(BLOCK).status is Status.GOOD


def test_protection_stays_when_the_tape_goes(host: Host):
    host.protect(CRC32C)
    host.good("1b")
    assert host.page()[4:7] == bytes((CRC32C, 4, 0xC0))


# Blocks.


@both
def test_a_block_with_its_protection_is_recorded_without(bench: Bench, host: Host, method: int):
    host.protect(method)
    assert host.write(with_crc(method, BLOCK)).status is Status.GOOD
    assert bench.tape.objects == [BLOCK]
    host.rewind()
    assert host.read(len(BLOCK) + 4) == with_crc(method, BLOCK)


@both
@pytest.mark.parametrize("at", [0, -5, -1])
def test_a_damaged_block_is_not_written(bench: Bench, host: Host, method: int, at: int):
    host.protect(method)
    damaged = bytearray(with_crc(method, BLOCK))
    damaged[at] ^= 0x10
    sense = host.check(b"\x0a\0" + len(damaged).to_bytes(3, "big"), bytes(damaged))
    assert sense.code == (4, 0x10, 0x01)
    assert sense.information == len(damaged)
    assert bench.tape.objects == []
    assert host.position() == 0


@pytest.mark.parametrize("length", [1, 4])
def test_a_block_of_nothing_but_protection_is_not_written(host: Host, length: int):
    host.protect(CRC32C)
    sense = host.check(b"\x0a\0" + length.to_bytes(3, "big"), bytes(length))
    assert sense.code == (4, 0x10, 0x01)


def test_blocks_read_by_one_method_may_have_been_written_by_another(host: Host):
    host.protect(REED_SOLOMON)
    host.write(with_crc(REED_SOLOMON, BLOCK))
    host.protect(CRC32C)
    host.rewind()
    assert host.read(len(BLOCK) + 4) == with_crc(CRC32C, BLOCK)


def test_writes_can_be_protected_alone_and_reads_alone(host: Host):
    host.protect(CRC32C, WRITES)
    host.write(with_crc(CRC32C, BLOCK))
    host.rewind()
    assert host.read(len(BLOCK)) == BLOCK
    host.protect(CRC32C, READS)
    host.write(BLOCK)
    host.rewind()
    host.good(host.space_cdb(0, 1))
    assert host.read(len(BLOCK) + 4) == with_crc(CRC32C, BLOCK)


def test_incorrect_lengths_count_the_protection(host: Host):
    host.protect(CRC32C)
    for _ in range(4):
        host.write(with_crc(CRC32C, BLOCK))
    host.rewind()
    whole = with_crc(CRC32C, BLOCK)
    for requested, information in ((len(whole) + 10, 10), (len(BLOCK), -4), (len(BLOCK) + 2, -2)):
        sense, data = host.check_data(host.read_cdb(requested))
        assert (sense.incorrect_length, sense.information) == (True, information)
        assert data == whole[:requested]
    assert host.read(len(whole) + 50, sili=True) == whole


def test_the_block_length_of_fixed_blocks_includes_the_protection(bench: Bench, host: Host):
    host.protect(CRC32C)
    host.set_block_length(516)
    blocks = [with_crc(CRC32C, bytes((value,)) * 512) for value in range(3)]
    assert host.write_fixed(b"".join(blocks), 3).status is Status.GOOD
    assert bench.tape.objects == [block[:-4] for block in blocks]
    host.rewind()
    assert host.good(host.read_cdb(3, fixed=True)) == b"".join(blocks)


def test_one_damaged_block_of_several_and_none_is_written(bench: Bench, host: Host):
    host.protect(CRC32C)
    host.set_block_length(516)
    good = with_crc(CRC32C, bytes(512))
    sense = host.check(b"\x0a\x01\0\0\x02", good + b"x" + good[1:])
    assert sense.code == (4, 0x10, 0x01)
    assert sense.information == 2
    assert bench.tape.objects == []


def test_the_longest_block_may_be_longer_by_its_protection(host: Host):
    longest = bytes(8 << 20)
    host.protect(CRC32C)
    assert host.write(with_crc(CRC32C, longest)).status is Status.GOOD
    host.protect(CRC32C, READS)
    cdb = b"\x0a\0" + (len(longest) + 4).to_bytes(3, "big")
    assert host.check(cdb, longest + bytes(4)).code == (5, 0x24, 0)


@both
def test_encrypted_blocks_are_protected_on_their_way(bench: Bench, host: Host, method: int):
    host.good(spout_cdb(set_page()), set_page())
    host.protect(method)
    assert host.write(with_crc(method, BLOCK)).status is Status.GOOD
    assert isinstance(bench.tape.objects[0], EncryptedBlock)
    host.rewind()
    assert host.read(len(BLOCK) + 4) == with_crc(method, BLOCK)


def test_filemarks_and_end_of_data_have_no_protection(host: Host):
    host.protect(CRC32C)
    host.write_filemarks(1)
    host.rewind()
    assert host.check(host.read_cdb(100)).information == 100
    assert host.check(host.read_cdb(100)).code == (8, 0, 5)


def test_verify_compares_blocks_with_their_protection(host: Host):
    host.protect(CRC32C)
    whole = with_crc(CRC32C, BLOCK)
    host.write(whole)
    host.rewind()
    cdb = b"\x13\x02" + len(whole).to_bytes(3, "big") + b"\0"
    assert host.send(cdb, whole).status is Status.GOOD
