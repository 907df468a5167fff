"""Application-managed encryption as a client drives it: pages, scopes, what becomes of blocks."""

from __future__ import annotations

import random
import struct

import pytest

from tapectl.scsi.cartridge import CartridgeBusyError, EncryptedBlock
from tapectl.scsi.logical_unit import Status
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.ssc import TapeDrive
from tests.support.encryption import (
    ALL_NEXUSES,
    DECRYPT,
    DISABLE,
    ENCRYPT,
    EXTERNAL,
    KEY,
    LOCAL,
    MIXED,
    OTHER_KEY,
    PUBLIC,
    RAW,
    RAW_ENABLED,
    EncryptionStatus,
    Kad,
    NextBlockStatus,
    kad,
    off_page,
    set_page,
    spin_cdb,
    spout_cdb,
)
from tests.support.memory_cartridge import MemoryCartridge
from tests.support.scsi_initiator import Initiator

CKORL, CKORP, CKOD = 1, 2, 4
BLOCK = b"a block that nobody else is to read" * 9


class Client(Initiator):
    """An initiator that uses the security protocol."""

    def page(self, specific: int) -> bytes:
        return self.good(spin_cdb(specific))

    def status(self) -> EncryptionStatus:
        return EncryptionStatus.decode(self.page(0x20))

    def next_block(self) -> NextBlockStatus:
        return NextBlockStatus.decode(self.page(0x21))

    def set(self, *args: object, **fields: object) -> None:
        page = set_page(*args, **fields)  # type: ignore[arg-type]
        self.good(spout_cdb(page), page)

    def off(self) -> None:
        self.set(DISABLE, DISABLE, b"")

    def refused(self, page: bytes) -> tuple[tuple[int, int, int], int]:
        """Send a page that must be refused; return the sense code and the byte it points at."""
        sense = self.check(spout_cdb(page), page)
        return sense.code, int.from_bytes(sense.specific[1:], "big")


class Bench:
    """A drive, a tape in it, and any number of clients."""

    def __init__(self, tape: MemoryCartridge | None = None) -> None:
        draws = random.Random(1)
        self.drive = TapeDrive(
            DRIVE_PERSONALITIES["IBM-ULT3580-TD5"],
            serial="TD00000001",
            random=draws.randbytes,
        )
        self.tape = tape or MemoryCartridge()
        self.drive.load(self.tape)

    def client(self, name: str = "one") -> Client:
        return Client(self.drive, f"iqn.2025-01.test:{name},i,0x01")


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def host(bench: Bench) -> Client:
    return bench.client()


# Pages.


def test_supported_protocols_are_information_and_tape_data_encryption(host: Client):
    assert host.good(spin_cdb(0, protocol=0)) == bytes.fromhex("000000000000 0002 00 20")


def test_there_is_no_certificate(host: Client):
    assert host.good(spin_cdb(1, protocol=0)) == bytes(4)


@pytest.mark.parametrize(
    ("protocol", "specific", "byte"), [(0x00, 2, 2), (0x20, 0x31, 2), (0x20, 0x12FF, 2), (1, 0, 1)]
)
def test_what_is_not_there_cannot_be_read(host: Client, protocol: int, specific: int, byte: int):
    sense = host.check(spin_cdb(specific, protocol=protocol))
    assert sense.code == (5, 0x24, 0)
    assert int.from_bytes(sense.specific[1:], "big") == byte


def test_lengths_in_units_of_512_bytes_are_refused(host: Client):
    cdb = bytearray(spin_cdb(0x10))
    cdb[4] = 0x80
    assert host.check(bytes(cdb)).code == (5, 0x24, 0)


def test_the_in_support_page_lists_the_pages_that_can_be_read(host: Client):
    page = host.page(0x00)
    codes = struct.unpack(f">{(len(page) - 4) // 2}H", page[4:])
    assert codes == (0x00, 0x01, 0x10, 0x11, 0x12, 0x20, 0x21, 0x30)
    for code in codes:
        assert struct.unpack_from(">H", host.page(code)) == (code,)


def test_the_out_support_page_lists_set_data_encryption(host: Client):
    assert host.page(0x01) == bytes.fromhex("0001 0002 0010")


def test_capabilities_tell_of_aes_256_gcm_in_hardware(host: Client):
    page = host.page(0x10)
    assert page[:4] == bytes.fromhex("0010 0028")
    assert page[4] == 0x05
    descriptor = page[20:]
    assert descriptor[:4] == bytes.fromhex("01 00 0014")
    assert descriptor[4] & 0x0F == 0x0A  # DECRYPT_C and ENCRYPT_C: 2
    assert descriptor[4] & 0x80  # AVFMV: a volume is mounted
    assert struct.unpack_from(">HHH", descriptor, 6) == (32, 12, 32)
    assert descriptor[20:] == bytes.fromhex("00010014")


def test_capabilities_are_there_without_a_volume(bench: Bench, host: Client):
    bench.drive.unload()
    assert host.page(0x10)[24] & 0x80 == 0


def test_keys_are_plain_text(host: Client):
    assert host.page(0x11) == bytes.fromhex("0011 0001 00")


def test_every_scope_lock_and_clearing_is_offered(host: Client):
    assert host.page(0x12) == bytes.fromhex("0012 000c 01 07 00 07 0000000000000000")


def test_each_random_number_is_another(host: Client):
    first, second = host.page(0x30), host.page(0x30)
    assert len(first) == 36
    assert first[4:] != second[4:]


def test_a_page_is_cut_to_the_allocation_length(host: Client):
    assert host.good(spin_cdb(0x10, length=4)) == bytes.fromhex("0010 0028")


def test_at_first_nothing_is_encrypted(host: Client):
    status = host.status()
    assert (status.nexus_scope, status.key_scope, status.modes) == (PUBLIC, PUBLIC, (0, 0))
    assert status.instance == 0
    assert status.kads == []


def test_the_status_page_echoes_what_was_set(host: Client):
    host.set(ENCRYPT, MIXED, kads=kad(0, b"my key") + kad(1, b"dki"), kad_format=2)
    status = host.status()
    assert (status.nexus_scope, status.key_scope) == (ALL_NEXUSES, ALL_NEXUSES)
    assert status.modes == (ENCRYPT, MIXED)
    assert status.algorithm == 1
    assert status.kad_format == 2
    assert [(found.kind, found.value) for found in status.kads] == [(0, b"my key"), (1, b"dki")]
    assert status.raw_reads_disabled


def test_every_change_counts_the_key_instance_on(host: Client):
    before = host.status().instance
    host.set()
    between = host.status().instance
    host.off()
    assert before < between < host.status().instance


def test_a_list_of_no_bytes_changes_nothing(host: Client):
    before = host.status()
    host.good(spout_cdb(b""))
    assert host.status() == before


# What the Set Data Encryption page must not say: everything stays as it was.

GOOD_PAGE = set_page()


@pytest.mark.parametrize(
    ("page", "byte"),
    [
        (b"\0\x11" + GOOD_PAGE[2:], 0),
        (set_page(scope=3), 4),
        (set_page(flags=0x08), 5),  # SDK
        (set_page(flags=0x10), 5),  # RDMC 01b
        (set_page(flags=CKORL), 5),
        (set_page(flags=CKORP), 5),
        (set_page(encryption=3), 6),
        (set_page(decryption=4), 7),
        (set_page(algorithm=2), 8),
        (set_page(key_format=2), 9),
        (set_page(kad_format=3), 10),
        (set_page(key=KEY[:16]), 18),
        (set_page(key=b""), 18),
        (set_page(kads=kad(0, bytes(33))), 54),
        (set_page(kads=kad(1, bytes(13))), 54),
        (set_page(kads=kad(2, bytes(12))), 52),  # a nonce: the drive makes its own
        (set_page(kads=kad(3, bytes(64))), 52),
        (set_page(kads=kad(0, b"x") + kad(0, b"y")), 57),
        (set_page(kads=kad(0, b"xyz")[:-1]), 54),
    ],
)
def test_a_wrong_field_is_pointed_at_and_nothing_changes(host: Client, page: bytes, byte: int):
    host.set(ENCRYPT, MIXED, OTHER_KEY)
    before = host.status()
    assert host.refused(page) == ((5, 0x26, 0), byte)
    assert host.status() == before


@pytest.mark.parametrize("page", [GOOD_PAGE[:19], GOOD_PAGE[:-1]])
def test_a_page_cut_short_is_refused(host: Client, page: bytes):
    assert host.refused(page)[0] == (5, 0x1A, 0)


def test_clear_on_demount_needs_a_volume(bench: Bench, host: Client):
    bench.drive.unload()
    assert host.refused(set_page(flags=CKOD)) == ((5, 0x26, 0), 5)


def test_a_drive_without_randomness_does_not_encrypt_and_says_so():
    drive = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD5"], serial="TD00000001")
    host = Client(drive)
    assert host.page(0x10)[24] & 0x0F == 0x08
    assert host.refused(set_page()) == ((5, 0x26, 0), 6)
    assert host.check(spin_cdb(0x30)).code == (5, 0x24, 0)
    host.set(DISABLE, DECRYPT)


# Blocks.


def test_an_encrypted_block_comes_back_and_is_not_on_the_medium(bench: Bench, host: Client):
    host.set()
    assert host.write(BLOCK).status is Status.GOOD
    recorded = bench.tape.objects[0]
    assert isinstance(recorded, EncryptedBlock)
    assert BLOCK[:16] not in recorded.data
    assert KEY not in recorded.data
    host.rewind()
    assert host.read(len(BLOCK)) == BLOCK


def test_no_two_blocks_are_encrypted_alike(bench: Bench, host: Client):
    host.set()
    host.write(BLOCK)
    host.write(BLOCK)
    first, second = bench.tape.objects
    assert first != second


def test_without_a_key_an_encrypted_block_cannot_be_read(host: Client):
    host.set()
    host.write(BLOCK)
    host.off()
    host.rewind()
    sense, data = host.check_data(host.read_cdb(4096))
    assert sense.code == (7, 0x74, 0x01)
    assert sense.information == 4096
    assert data == b""
    assert host.position() == 0


def test_with_another_key_an_encrypted_block_cannot_be_read(host: Client):
    host.set()
    host.write(BLOCK)
    host.set(ENCRYPT, DECRYPT, OTHER_KEY)
    host.rewind()
    assert host.check(host.read_cdb(4096)).code == (7, 0x74, 0x03)
    assert host.position() == 0
    host.set()
    assert host.read(len(BLOCK)) == BLOCK


def test_a_plain_block_is_refused_while_decrypting(host: Client):
    host.write(BLOCK)
    host.set()
    host.rewind()
    assert host.check(host.read_cdb(4096)).code == (7, 0x74, 0x02)
    assert host.position() == 0


@pytest.mark.parametrize("at", [-1, -40, 32])
def test_a_block_that_was_changed_fails_its_validation(bench: Bench, host: Client, at: int):
    host.set(kads=kad(1, b"authentic"))
    host.write(BLOCK)
    stored = bytearray(bench.tape.objects[0].data)  # type: ignore[union-attr]
    stored[at] ^= 1
    bench.tape.objects[0] = EncryptedBlock(bytes(stored))
    host.rewind()
    assert host.next_block().encryption == 5
    assert [found.authenticated for found in host.next_block().kads] == [4]
    assert host.check(host.read_cdb(4096)).code == (7, 0x74, 0x04)
    assert host.position() == 0


def test_mixed_mode_reads_both(host: Client):
    host.write(b"plain")
    host.set(ENCRYPT, MIXED)
    host.write(BLOCK)
    host.rewind()
    assert host.read(5) == b"plain"
    assert host.read(len(BLOCK)) == BLOCK


def test_filemarks_and_end_of_data_are_met_as_ever(host: Client):
    host.set()
    host.write(BLOCK)
    host.write_filemarks(1)
    host.rewind()
    host.read(len(BLOCK))
    assert host.check(host.read_cdb(512)).code == (0, 0, 1)
    assert host.check(host.read_cdb(512)).code == (8, 0, 5)


def test_lengths_are_those_of_the_plain_block(host: Client):
    host.set()
    host.write(BLOCK)
    host.write(BLOCK)
    host.rewind()
    sense, data = host.check_data(host.read_cdb(len(BLOCK) + 100))
    assert (sense.code, sense.incorrect_length, sense.information) == ((0, 0, 0), True, 100)
    assert data == BLOCK
    sense, data = host.check_data(host.read_cdb(len(BLOCK) - 5))
    assert (sense.incorrect_length, sense.information) == (True, -5)
    assert data == BLOCK[:-5]


def test_several_fixed_blocks_are_encrypted_one_by_one(bench: Bench, host: Client):
    host.set()
    host.set_block_length(512)
    data = random.Random(2).randbytes(4 * 512)
    host.write_fixed(data, 4)
    assert len(bench.tape.objects) == 4
    host.rewind()
    assert host.good(host.read_cdb(4, fixed=True)) == data


def test_a_fixed_read_hands_out_what_it_can_before_the_block_it_cannot(host: Client):
    host.set_block_length(512)
    host.set(ENCRYPT, MIXED)
    host.write_fixed(b"a" * 1024, 2)
    host.set(ENCRYPT, MIXED, OTHER_KEY)
    host.write_fixed(b"b" * 1024, 2)
    host.set(ENCRYPT, MIXED)
    host.rewind()
    sense, data = host.check_data(host.read_cdb(4, fixed=True))
    assert sense.code == (7, 0x74, 0x03)
    assert sense.information == 2
    assert data == b"a" * 1024
    assert host.position() == 2


def test_positioning_needs_no_key(host: Client):
    host.set()
    for _ in range(3):
        host.write(BLOCK)
    host.write_filemarks(1)
    host.off()
    host.rewind()
    host.good(host.space_cdb(0, 2))
    assert host.position() == 2
    host.good(host.space_cdb(1, 1))
    assert host.position() == 4
    host.good(host.space_cdb(3, 0))
    host.good("2b00 00 00000001 00 00 00")
    assert host.position() == 1


def test_capacity_counts_what_is_stored(bench: Bench, host: Client):
    host.set()
    host.write(BLOCK)
    assert bench.tape.used_bytes == len(bench.tape.objects[0].data) > len(BLOCK)  # type: ignore[union-attr]


def test_a_full_medium_tells_how_many_fixed_blocks_are_left():
    bench = Bench(MemoryCartridge(capacity_bytes=1200))
    host = bench.client()
    host.set()
    host.set_block_length(512)
    sense = host.check(b"\x0a\x01\0\0\x04", b"z" * 2048)
    assert sense.code == (0xD, 0, 2)
    assert sense.information == 2


def test_a_read_that_has_to_wait_begins_anew(bench: Bench, host: Client):
    host.set()
    host.set_block_length(512)
    host.write_fixed(b"w" * 1024, 2)
    host.rewind()
    bench.tape.busy["read_block"] = [None, CartridgeBusyError("cold")]
    with pytest.raises(CartridgeBusyError):
        host.send(host.read_cdb(2, fixed=True))
    assert bench.tape.position == 0
    assert host.good(host.read_cdb(2, fixed=True)) == b"w" * 1024


def test_a_write_protected_medium_is_not_written_encrypted_either():
    bench = Bench(MemoryCartridge(write_protected=True))
    host = bench.client()
    host.set()
    assert host.check(b"\x0a\0\0\0\x04", b"data").code == (7, 0x27, 0)


# RAW and EXTERNAL.


def test_a_block_can_be_read_raw_only_if_it_was_written_so(host: Client):
    host.set()
    host.write(BLOCK)
    host.set(ENCRYPT, DECRYPT, flags=RAW_ENABLED << 4)
    host.write(BLOCK)
    host.set(DISABLE, RAW, b"")
    host.rewind()
    assert host.check(host.read_cdb(4096)).code == (7, 0x74, 0x0A)
    host.good(host.space_cdb(0, 1))
    raw = host.read(4096, sili=True)
    assert len(raw) > len(BLOCK)
    assert BLOCK[:16] not in raw


def test_a_tape_is_copied_encrypted_without_its_key(host: Client):
    host.set(ENCRYPT, DECRYPT, flags=RAW_ENABLED << 4)
    host.write(BLOCK)
    host.set(DISABLE, RAW, b"")
    host.rewind()
    raw = host.read(4096, sili=True)

    other = Bench()
    copier = other.client()
    copier.set(EXTERNAL, DISABLE, b"")
    assert copier.write(raw).status is Status.GOOD
    copier.set(DISABLE, DECRYPT)
    copier.rewind()
    assert copier.next_block().written_externally
    assert copier.read(len(BLOCK)) == BLOCK


def test_external_blocks_must_be_encrypted_ones(host: Client):
    host.set(EXTERNAL, DISABLE, b"")
    assert host.check(b"\x0a\0\0\x01\0", bytes(256)).code == (7, 0x74, 0x0B)
    assert host.position() == 0


@pytest.mark.parametrize(("flags", "external", "drive_made"), [(2, False, True), (3, True, False)])
def test_the_mode_in_which_a_block_was_written_can_be_checked(
    host: Client, flags: int, external: bool, drive_made: bool
):
    host.set(ENCRYPT, DECRYPT, flags=RAW_ENABLED << 4)
    host.write(BLOCK)
    host.set(DISABLE, RAW, b"")
    host.rewind()
    raw = host.read(4096, sili=True)
    host.set(EXTERNAL, RAW, b"")
    host.write(raw)
    host.set(ENCRYPT, DECRYPT, flags=flags << 6)
    for position, readable in ((0, drive_made), (1, external)):
        host.good("2b00 00" + f"{position:08x}" + "00 00 00")
        reply = host.send(host.read_cdb(len(BLOCK)))
        assert (reply.status is Status.GOOD) is readable
        if not readable:
            assert reply.sense[2] & 15 == 7
            assert reply.sense[12:14] == b"\x74\x09"


# Next block.


def test_the_next_block_is_told_without_moving(host: Client):
    host.write(b"plain")
    host.set(kads=kad(0, b"label of the key") + kad(1, b"dki"), kad_format=2)
    host.write(BLOCK)
    host.write_filemarks(1)
    host.rewind()
    assert (host.next_block().object_number, host.next_block().encryption) == (0, 3)
    host.good(host.space_cdb(0, 1))
    block = host.next_block()
    assert (block.object_number, block.encryption, block.algorithm) == (1, 5, 1)
    assert block.compression == 0
    assert block.raw_reads_disabled
    assert block.kad_format == 2
    assert block.kads == [Kad(0, 1, b"label of the key"), Kad(1, 3, b"dki")]
    host.off()
    block = host.next_block()
    assert block.encryption == 6
    assert block.kads == [Kad(0, 1, b"label of the key"), Kad(1, 2, b"dki")]
    host.set(ENCRYPT, DECRYPT, OTHER_KEY)
    assert host.next_block().encryption == 6
    host.good(host.space_cdb(0, 1))
    assert host.next_block().encryption == 2
    host.good(host.space_cdb(1, 1))
    assert host.next_block().encryption == 2
    assert host.position() == 3


def test_the_next_block_that_cannot_be_read_is_not_known(bench: Bench, host: Client):
    host.write(BLOCK)
    host.rewind()
    bench.tape.fail_reads = True
    assert host.next_block().encryption == 1


def test_the_next_block_of_no_volume_is_not_known(bench: Bench, host: Client):
    bench.drive.unload()
    assert host.page(0x21) == bytes.fromhex("0021 000c") + bytes(12)


# What the volume tells.


def extent(host: Client) -> dict[int, int]:
    """The attributes 0224h and 0225h that there are."""
    data = host.good("8c00 0000 0000 0000 0000 00001000 00 00")[4:]
    found = {}
    while data:
        identifier, _, length = struct.unpack_from(">HBH", data)
        if identifier in (0x0224, 0x0225):
            found[identifier] = int.from_bytes(data[5 : 5 + length], "big")
        data = data[5 + length :]
    return found


def test_a_volume_tells_where_its_encrypted_blocks_are(host: Client):
    host.write(b"plain")
    assert extent(host) == {}
    assert not host.status().encrypted_volume
    host.set(ENCRYPT, MIXED)
    host.write(BLOCK)
    host.write(BLOCK)
    assert extent(host) == {0x0224: 1}
    host.off()
    assert host.status().encrypted_volume
    host.write_filemarks(1)
    host.write(b"plain")
    host.write(b"plain")
    assert extent(host) == {0x0224: 1, 0x0225: 4}


def test_nothing_is_written_that_the_volume_cannot_tell(bench: Bench, host: Client):
    cartridge = bench.drive.medium
    host.write(b"plain")
    host.set(ENCRYPT, MIXED)
    cartridge.fail_attributes = True
    assert host.check(b"\x0a\0" + len(BLOCK).to_bytes(3, "big"), BLOCK).code == (3, 0x0C, 0x0B)
    assert cartridge.end_of_data == 1
    cartridge.fail_attributes = False
    host.write(BLOCK)
    cartridge.locate(1)
    cartridge.fail_attributes = True
    for refused in ("10 00 000001", "19"):
        assert host.check(refused).code == (3, 0x0C, 0x0B)
    assert cartridge.end_of_data == 2
    assert extent(host) == {0x0224: 1}
    cartridge.fail_attributes = False
    cartridge.fail_writes = True
    host.check("19")
    assert extent(host) == {0x0224: 1}


def test_what_is_overwritten_is_told_no_more(host: Client):
    host.write(b"plain")
    host.set(ENCRYPT, MIXED)
    host.write(BLOCK)
    host.off()
    host.write(b"plain")
    host.good("2b00 00 00000002 00 00 00")
    host.write_filemarks(1)
    assert extent(host) == {0x0224: 1}
    host.good("2b00 00 00000001 00 00 00")
    host.write(b"plain")
    assert extent(host) == {}
    assert not host.status().encrypted_volume


def test_an_erased_or_formatted_volume_has_no_encrypted_block(bench: Bench, host: Client):
    for end in ("19", "04"):
        host.set()
        host.rewind()
        host.write(BLOCK)
        host.off()
        host.rewind()
        assert host.status().encrypted_volume
        host.good(end)
        assert not host.status().encrypted_volume
        assert extent(host) == {}
        assert not bench.drive.coded


def test_a_volume_is_known_to_be_encrypted_when_it_is_loaded(bench: Bench, host: Client):
    host.set()
    host.write(BLOCK)
    bench.drive.unload()
    host.off()
    assert not host.status().encrypted_volume
    bench.drive.load(bench.tape, attention=False)
    assert host.status().encrypted_volume
    host.write(b"plain")
    assert host.page(0x10)[25] & 0x04  # VCELB_C
    assert extent(host) == {}
    assert not host.status().encrypted_volume


# Scopes.


def told(client: Client) -> tuple[int, int, int] | None:
    """What TEST UNIT READY says first; None: nothing is waiting."""
    reply = client.send("00")
    return None if reply.status is Status.GOOD else (
        reply.sense[2] & 15, reply.sense[12], reply.sense[13],
    )  # fmt: skip


def test_shared_parameters_count_for_every_nexus_without_its_own(bench: Bench):
    one, two, three = bench.client("one"), bench.client("two"), bench.client("three")
    three.set(ENCRYPT, DECRYPT, OTHER_KEY, scope=LOCAL)
    one.set()
    assert (two.status().nexus_scope, two.status().key_scope) == (PUBLIC, ALL_NEXUSES)
    assert two.status().modes == (ENCRYPT, DECRYPT)
    assert (three.status().nexus_scope, three.status().key_scope) == (LOCAL, LOCAL)
    two.write(BLOCK)
    two.rewind()
    assert one.read(len(BLOCK)) == BLOCK
    one.rewind()
    assert three.check(three.read_cdb(4096)).code == (7, 0x74, 0x03)


def test_local_parameters_are_nobody_elses(bench: Bench):
    one, two = bench.client("one"), bench.client("two")
    one.set(scope=LOCAL)
    assert two.status().modes == (0, 0)
    two.write(b"plain")
    two.rewind()
    assert one.check(one.read_cdb(5)).code == (7, 0x74, 0x02)
    assert two.read(5) == b"plain"


def test_back_to_public_a_nexus_uses_what_others_share(bench: Bench):
    one, two = bench.client("one"), bench.client("two")
    one.set(ENCRYPT, DECRYPT, OTHER_KEY, scope=LOCAL)
    two.set()
    one.set(scope=PUBLIC)
    assert one.status().key_scope == ALL_NEXUSES
    two.set(scope=PUBLIC)
    assert told(one) == (6, 0x2A, 0x11)
    assert one.status().key_scope == PUBLIC


def test_whoever_uses_the_protocol_is_told_that_another_changed_it(bench: Bench):
    one, two, three, four = (bench.client(name) for name in ("one", "two", "three", "four"))
    two.status()
    three.set(scope=LOCAL)
    one.set()
    assert told(one) is None
    assert told(two) == (6, 0x2A, 0x11)
    assert told(two) is None
    assert told(three) is None  # its own parameters are what they were
    assert told(four) is None  # it never asked
    two.set(ENCRYPT, DECRYPT, OTHER_KEY)
    assert told(one) == (6, 0x2A, 0x11)
    assert one.status().nexus_scope == PUBLIC


def test_a_locked_nexus_does_not_write_with_other_parameters(bench: Bench):
    one, two = bench.client("one"), bench.client("two")
    one.set(lock=True)
    assert one.write(BLOCK).status is Status.GOOD
    two.set(ENCRYPT, DECRYPT, OTHER_KEY)
    assert told(one) == (6, 0x2A, 0x11)
    sense = one.check(b"\x0a\0\0\0\x04", b"data")
    assert sense.code == (7, 0x2A, 0x13)
    assert two.write(BLOCK).status is Status.GOOD
    one.set(scope=PUBLIC)
    assert one.write(BLOCK).status is Status.GOOD


def test_a_lock_to_no_encryption_holds_too(bench: Bench):
    one, two = bench.client("one"), bench.client("two")
    one.set(scope=PUBLIC, lock=True)
    assert one.write(b"plain").status is Status.GOOD
    two.set()
    told(one)
    assert one.check(b"\x0a\0\0\0\x04", b"data").code == (7, 0x2A, 0x13)


# When keys go.


def test_a_key_set_until_demount_is_gone_after_it(host: Client):
    host.set(flags=CKOD)
    host.good("1b")
    assert host.status().modes == (0, 0)


def test_a_key_set_until_demount_goes_when_the_robot_takes_the_tape(bench: Bench, host: Client):
    host.set(flags=CKOD, scope=LOCAL)
    bench.drive.unload()
    assert host.status().modes == (0, 0)


def test_others_are_told_when_a_shared_key_goes(bench: Bench):
    one, two = bench.client("one"), bench.client("two")
    two.status()
    one.set(flags=CKOD)
    assert told(two) == (6, 0x2A, 0x11)
    one.good("1b")
    assert told(two) == (6, 0x2A, 0x12)
    assert two.status().modes == (0, 0)


def test_another_key_stays_when_the_tape_goes(bench: Bench, host: Client):
    host.set()
    tape = bench.drive.unload()
    assert tape is not None
    bench.drive.load(tape)
    assert told(host) == (6, 0x28, 0)
    assert host.status().modes == (ENCRYPT, DECRYPT)


def test_a_reset_ends_all_encryption(bench: Bench, host: Client):
    host.set(lock=True)
    bench.drive.logical_unit_reset()
    assert told(host) == (6, 0x29, 3)
    assert told(host) is None
    assert host.status().modes == (0, 0)
    assert host.write(b"plain").status is Status.GOOD
    assert bench.tape.objects == [b"plain"]


def test_a_lost_nexus_takes_its_own_key_along_and_leaves_the_shared_one(bench: Bench):
    one, two = bench.client("one"), bench.client("two")
    one.set()
    two.set(ENCRYPT, DECRYPT, OTHER_KEY, scope=LOCAL)
    bench.drive.nexus_lost(one.nexus)
    bench.drive.nexus_lost(two.nexus)
    assert two.status().modes == (ENCRYPT, DECRYPT)
    assert two.status().key_scope == ALL_NEXUSES
    two.write(BLOCK)
    two.rewind()
    assert one.read(len(BLOCK)) == BLOCK


def test_a_key_set_until_the_reservation_is_lost_goes_with_it(host: Client):
    host.good("16")
    host.set(flags=CKORL)
    host.good("17")
    assert host.status().modes == (0, 0)


def register_and_reserve(client: Client, key: int) -> None:
    client.good("5f06 00 0000 00000018 00", struct.pack(">QQQ", 0, key, 0))
    client.good("5f01 03 0000 00000018 00", struct.pack(">QQQ", key, 0, 0))


@pytest.mark.parametrize("flags", [CKORP, CKORL])
def test_a_key_goes_when_the_reservation_is_preempted(bench: Bench, flags: int):
    one, two = bench.client("one"), bench.client("two")
    register_and_reserve(one, 1)
    one.set(flags=flags)
    two.good("5f06 00 0000 00000018 00", struct.pack(">QQQ", 0, 2, 0))
    two.good("5f04 03 0000 00000018 00", struct.pack(">QQQ", 2, 1, 0))
    assert two.status().modes == (0, 0)


def test_a_key_set_until_preempted_stays_when_the_reservation_is_released(host: Client):
    register_and_reserve(host, 1)
    host.set(flags=CKORP)
    host.good("5f02 03 0000 00000018 00", struct.pack(">QQQ", 1, 0, 0))
    assert host.status().modes == (ENCRYPT, DECRYPT)


def test_nothing_that_is_printed_shows_a_key(bench: Bench, host: Client):
    host.set(kads=kad(0, b"label"))
    shown = repr(bench.drive.encryption.parameters(host.nexus)) + repr(vars(bench.drive.encryption))
    assert "\\x1f" not in shown
    assert KEY.hex() not in shown


# What particular programs send.


def test_a_backup_server_sets_its_key_for_every_nexus_and_reads_it_back(host: Client):
    """Scope ALL I_T NEXUS, modes ENCRYPT and MIXED; then the status page is compared."""
    page = bytes.fromhex("0010 0030 40 00 02 03 01 00 00 00000000000000 0020" + KEY.hex())
    host.good("b520 0010 0000 00000034 00 00", page)
    status = host.good("a220 0020 0000 00002000 00 00")
    assert status[5:7] == bytes((ENCRYPT, MIXED))
    off = bytes.fromhex("0010 0010 40 00 00 00 01 00 00 00000000000000 0000")
    host.good("b520 0010 0000 00000014 00 00", off)
    assert host.good("a220 0020 0000 00002000 00 00")[5:7] == bytes(2)


def test_a_storage_daemon_sets_a_key_with_its_name(host: Client):
    """Key and U-KAD of 30 bytes; clearing sends no key."""
    name = b"volume-0001".ljust(30)
    host.set(ENCRYPT, MIXED, kads=kad(0, name), kad_format=2)
    host.write(BLOCK)
    host.rewind()
    assert host.next_block().kads[0].value == name
    host.good(spout_cdb(off_page()), off_page())
    assert host.next_block().encryption == 6
