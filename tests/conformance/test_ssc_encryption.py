"""Tape data encryption: SECURITY PROTOCOL IN and OUT, protocols 00h and 20h (SSC-5 4.2.21, 8.5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from tests.conformance import commands as c
from tests.conformance.device import CHECK_CONDITION, Device
from tests.conformance.pages import logical_unit_reset
from tests.conformance.recording import BLOCK_BYTES, END, FILEMARK, block, follows, record
from tests.conformance.requirements import requires
from tests.conformance.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETER_LIST,
    Code,
    SenseData,
)

pytestmark = requires("SECURITY PROTOCOL IN", "SECURITY PROTOCOL OUT")
INFORMATION, TAPE_DATA_ENCRYPTION = 0x00, 0x20
IN_SUPPORT, OUT_SUPPORT = 0x0000, 0x0001
CAPABILITIES, KEY_FORMATS, MANAGEMENT_CAPABILITIES = 0x0010, 0x0011, 0x0012
STATUS, NEXT_BLOCK_STATUS, RANDOM_NUMBER = 0x0020, 0x0021, 0x0030
SET_DATA_ENCRYPTION = 0x0010
AES_256_GCM = 0x00010014
KEY_BYTES = 32
PUBLIC, LOCAL, ALL_NEXUSES = range(3)
DISABLE, EXTERNAL, ENCRYPT = range(3)
_, RAW, DECRYPT, MIXED = range(4)
UNAUTHENTICATED, AUTHENTICATED = 0x00, 0x01
NOT_A_BLOCK, NOT_ENCRYPTED, DECRYPTABLE, NOT_DECRYPTABLE = 2, 3, 5, 6
CLEAR_KEY_ON_DEMOUNT = 0x04

UNABLE_TO_DECRYPT: Code = (0x7, 0x74, 0x01)
UNENCRYPTED_WHILE_DECRYPTING: Code = (0x7, 0x74, 0x02)
INCORRECT_KEY: Code = (0x7, 0x74, 0x03)
KEY_INSTANCE_CHANGED: Code = (0x7, 0x2A, 0x13)

KEY, OTHER_KEY = bytes(range(KEY_BYTES)), bytes(range(100, 100 + KEY_BYTES))


def page_in(tape: Device, code: int, protocol: int = TAPE_DATA_ENCRYPTION) -> bytes:
    """Return a page of protocol 20h, its header checked."""
    data = tape.good(c.security_protocol_in(protocol, code))
    assert int.from_bytes(data[:2], "big") == code
    assert int.from_bytes(data[2:4], "big") == len(data) - 4
    return data


def algorithm(tape: Device) -> bytes:
    """Return the descriptor of AES-256-GCM in the capabilities page."""
    data = page_in(tape, CAPABILITIES)
    at = 20
    while at < len(data):
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        descriptor = data[at : at + 4 + length]
        if int.from_bytes(descriptor[20:24], "big") == AES_256_GCM:
            return descriptor
        at += 4 + length
    raise AssertionError("the drive has no AES-256-GCM")


def set_encryption(
    tape: Device,
    encrypt: int,
    decrypt: int,
    *,
    key: bytes = b"",
    scope: int = ALL_NEXUSES,
    flags: int = 0,
    kads: dict[int, bytes] | None = None,
) -> c.Command:
    """Return SECURITY PROTOCOL OUT with a Set Data Encryption page; `flags` is its byte 5."""
    descriptors = b"".join(
        struct.pack(">BBH", kind, 0, len(value)) + value for kind, value in (kads or {}).items()
    )
    index = algorithm(tape)[0]
    body = struct.pack(">BBBBBBB7xH", scope << 5, flags, encrypt, decrypt, index, 0, 0, len(key))
    body += key + descriptors
    page = struct.pack(">HH", SET_DATA_ENCRYPTION, len(body)) + body
    return c.security_protocol_out(TAPE_DATA_ENCRYPTION, SET_DATA_ENCRYPTION, page)


@pytest.fixture
def secure(tape: Device) -> Iterator[Device]:
    """The drive with the scratch tape, and no encryption before and after."""
    off = set_encryption(tape, DISABLE, DISABLE)
    tape.run(off)
    yield tape
    tape.attentions()
    tape.run(off)


def use_key(tape: Device, key: bytes, *, decrypt: int = DECRYPT, **fields: object) -> None:
    tape.good(set_encryption(tape, ENCRYPT, decrypt, key=key, **fields))  # type: ignore[arg-type]


def write_encrypted(tape: Device, *numbers: int, kads: dict[int, bytes] | None = None) -> None:
    """Record encrypted blocks from the beginning, rewind, and forget the key."""
    use_key(tape, KEY, kads=kads)
    for number in numbers:
        tape.good(c.write(block(number)))
    tape.good(c.rewind())
    tape.good(set_encryption(tape, DISABLE, DISABLE))


def kads_of(data: bytes, at: int) -> dict[int, bytes]:
    """Return the key-associated data descriptors from there on, by type."""
    found: dict[int, bytes] = {}
    while at < len(data):
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        found[data[at]] = data[at + 4 : at + 4 + length]
        at += 4 + length
    return found


# -- what there is ---------------------------------------------------------------------------
def test_supported_protocols_are_listed_in_ascending_order(drive: Device) -> None:
    """SPC-5 7.7.1.2: protocol 00h/0000h: SUPPORTED SECURITY PROTOCOL LIST LENGTH and the list."""
    data = drive.good(c.security_protocol_in(INFORMATION, 0x0000))
    length = int.from_bytes(data[6:8], "big")
    protocols = list(data[8 : 8 + length])
    assert protocols == sorted(protocols)
    assert {INFORMATION, TAPE_DATA_ENCRYPTION} <= set(protocols)


def test_certificate_data_has_a_length(drive: Device) -> None:
    """SPC-5 7.7.1.3: protocol 00h/0001h: CERTIFICATE LENGTH, zero where there is none."""
    data = drive.good(c.security_protocol_in(INFORMATION, 0x0001))
    assert int.from_bytes(data[2:4], "big") == len(data) - 4


@pytest.mark.parametrize("code", [IN_SUPPORT, OUT_SUPPORT])
def test_pages_are_listed_in_ascending_order(drive: Device, code: int) -> None:
    """SSC-5 8.5.2: Tape Data Encryption In and Out Support pages."""
    data = page_in(drive, code)
    pages = [int.from_bytes(data[at : at + 2], "big") for at in range(4, len(data), 2)]
    assert pages == sorted(pages)
    needed = {IN_SUPPORT, OUT_SUPPORT, CAPABILITIES, STATUS, NEXT_BLOCK_STATUS}
    assert (needed if code == IN_SUPPORT else {SET_DATA_ENCRYPTION}) <= set(pages)


def test_every_listed_page_can_be_read(drive: Device) -> None:
    """SSC-5 8.5.2: the list is of the pages that are supported."""
    data = page_in(drive, IN_SUPPORT)
    for at in range(4, len(data), 2):
        page_in(drive, int.from_bytes(data[at : at + 2], "big"))


def test_a_page_that_is_not_there_is_refused(drive: Device) -> None:
    """SSC-5 8.5.2: INVALID FIELD IN CDB."""
    drive.check(c.security_protocol_in(TAPE_DATA_ENCRYPTION, 0x7777), INVALID_FIELD_IN_CDB)


def test_a_protocol_that_is_not_there_is_refused(drive: Device) -> None:
    """SPC-5 6.40: INVALID FIELD IN CDB."""
    drive.check(c.security_protocol_in(0xEE, 0), INVALID_FIELD_IN_CDB)


def test_a_page_is_cut_to_the_allocation_length(drive: Device) -> None:
    """SPC-5 4.2.5.6: PAGE LENGTH is not adjusted."""
    whole = page_in(drive, CAPABILITIES)
    command = c.security_protocol_in(TAPE_DATA_ENCRYPTION, CAPABILITIES, 10)
    assert drive.good(command) == whole[:10]


def test_the_algorithm_is_aes_256_gcm(drive: Device) -> None:
    """SSC-5 8.5.2.4: descriptor of 24 bytes; KEY SIZE 32, both ways, by hardware or software."""
    descriptor = algorithm(drive)
    assert len(descriptor) == 24
    assert int.from_bytes(descriptor[10:12], "big") == KEY_BYTES
    assert descriptor[4] & 0x03
    assert descriptor[4] >> 2 & 0x03


def test_plain_keys_are_a_key_format(drive: Device) -> None:
    """SSC-5 8.5.2.5: Supported Key Formats: 00h, plain-text key."""
    assert 0x00 in page_in(drive, KEY_FORMATS)[4:]


def test_random_numbers_are_thirty_two_bytes_and_differ(drive: Device) -> None:
    """SSC-5 8.5.2.9: Random Number page."""
    numbers = {page_in(drive, RANDOM_NUMBER)[4:] for _ in range(2)}
    assert len(numbers) == 2
    assert all(len(number) == 32 for number in numbers)


# -- parameters ------------------------------------------------------------------------------
def test_nothing_is_encrypted_by_default(secure: Device) -> None:
    """SSC-5 8.5.2.7: ENCRYPTION MODE and DECRYPTION MODE DISABLE."""
    assert page_in(secure, STATUS)[5:7] == bytes(2)


def test_the_modes_are_told_by_the_status_page(secure: Device) -> None:
    """SSC-5 8.5.2.7: what Set Data Encryption has set."""
    use_key(secure, KEY, decrypt=MIXED)
    data = page_in(secure, STATUS)
    assert data[4] & 0x07 == ALL_NEXUSES
    assert (data[5], data[6]) == (ENCRYPT, MIXED)
    assert data[7] == algorithm(secure)[0]


def test_the_status_page_does_not_tell_the_key(secure: Device) -> None:
    """SSC-5 4.2.21: a key is never returned."""
    use_key(secure, KEY)
    for code in (STATUS, NEXT_BLOCK_STATUS, CAPABILITIES):
        assert KEY[:8] not in page_in(secure, code)


def test_the_key_instance_counter_grows(secure: Device) -> None:
    """SSC-5 8.5.2.7: KEY INSTANCE COUNTER, each time that parameters are set."""
    before = page_in(secure, STATUS)[8:12]
    use_key(secure, KEY)
    assert page_in(secure, STATUS)[8:12] != before


@pytest.mark.parametrize("scope", [LOCAL, ALL_NEXUSES])
def test_the_scope_is_told_by_the_status_page(secure: Device, scope: int) -> None:
    """SSC-5 8.5.2.7: I_T NEXUS SCOPE and KEY SCOPE."""
    use_key(secure, KEY, scope=scope)
    data = page_in(secure, STATUS)
    assert data[4] >> 5 == scope
    assert data[4] & 0x07 == scope


def test_all_nexuses_share_a_key_of_that_scope(secure: Device, other: Device) -> None:
    """SSC-5 4.2.21: ALL I_T NEXUS: another initiator in public scope uses it."""
    use_key(secure, KEY)
    other.attentions()
    assert page_in(other, STATUS)[5:7] == bytes((ENCRYPT, DECRYPT))


def test_a_local_key_is_of_its_own_nexus(secure: Device, other: Device) -> None:
    """SSC-5 4.2.21: LOCAL: other initiators do not use it."""
    use_key(secure, KEY, scope=LOCAL)
    other.attentions()
    assert page_in(other, STATUS)[5:7] == bytes(2)


def test_a_key_of_another_length_is_refused(secure: Device) -> None:
    """SSC-5 8.5.3.2: KEY LENGTH not that of the algorithm: INVALID FIELD IN PARAMETER LIST."""
    secure.check(
        set_encryption(secure, ENCRYPT, DECRYPT, key=KEY[:16]), INVALID_FIELD_IN_PARAMETER_LIST
    )


def test_encryption_without_a_key_is_refused(secure: Device) -> None:
    """SSC-5 8.5.3.2: ENCRYPT and KEY LENGTH zero: INVALID FIELD IN PARAMETER LIST."""
    secure.check(set_encryption(secure, ENCRYPT, DECRYPT), INVALID_FIELD_IN_PARAMETER_LIST)


def test_a_reserved_mode_is_refused(secure: Device) -> None:
    """SSC-5 8.5.3.2: ENCRYPTION MODE 3h and above are reserved."""
    secure.check(set_encryption(secure, 7, DECRYPT, key=KEY), INVALID_FIELD_IN_PARAMETER_LIST)


def test_an_algorithm_that_is_not_there_is_refused(secure: Device) -> None:
    """SSC-5 8.5.3.2: ALGORITHM INDEX: INVALID FIELD IN PARAMETER LIST."""
    command = set_encryption(secure, ENCRYPT, DECRYPT, key=KEY)
    page = bytearray(command.data_out)
    page[8] = 0x77
    wrong = c.security_protocol_out(TAPE_DATA_ENCRYPTION, SET_DATA_ENCRYPTION, bytes(page))
    secure.check(wrong, INVALID_FIELD_IN_PARAMETER_LIST)


def test_refused_parameters_change_nothing(secure: Device) -> None:
    """SSC-5 4.2.21: the data encryption parameters stay as they were."""
    use_key(secure, KEY)
    secure.run(set_encryption(secure, ENCRYPT, DECRYPT, key=KEY[:16]))
    assert page_in(secure, STATUS)[5:7] == bytes((ENCRYPT, DECRYPT))


# -- blocks ----------------------------------------------------------------------------------
def test_encrypted_blocks_are_read_with_their_key(secure: Device) -> None:
    """SSC-5 4.2.21: ENCRYPT, DECRYPT and the same key."""
    write_encrypted(secure, 0, 1)
    use_key(secure, KEY)
    assert [follows(secure) for _ in range(3)] == [0, 1, END]


def test_an_encrypted_block_needs_a_key(secure: Device) -> None:
    """SSC-5 4.2.21: decryption disabled: DATA PROTECT, UNABLE TO DECRYPT DATA."""
    write_encrypted(secure, 0)
    secure.check(c.read(BLOCK_BYTES), UNABLE_TO_DECRYPT)


def test_an_encrypted_block_needs_the_right_key(secure: Device) -> None:
    """SSC-5 4.2.21: DATA PROTECT, INCORRECT DATA ENCRYPTION KEY."""
    write_encrypted(secure, 0)
    use_key(secure, OTHER_KEY)
    secure.check(c.read(BLOCK_BYTES), INCORRECT_KEY)


def test_a_plain_block_is_refused_while_decrypting(secure: Device) -> None:
    """SSC-5 4.2.21: DECRYPT: UNENCRYPTED DATA ENCOUNTERED WHILE DECRYPTING."""
    record(secure, 0)
    use_key(secure, KEY)
    secure.check(c.read(BLOCK_BYTES), UNENCRYPTED_WHILE_DECRYPTING)


def test_mixed_mode_reads_both(secure: Device) -> None:
    """SSC-5 4.2.21: MIXED: encrypted and plain blocks."""
    use_key(secure, KEY, decrypt=MIXED)
    secure.good(c.write(block(0)))
    secure.good(set_encryption(secure, DISABLE, DISABLE))
    secure.good(c.write(block(1)))
    use_key(secure, KEY, decrypt=MIXED)
    secure.good(c.write(block(2)))
    secure.good(c.rewind())
    assert [follows(secure) for _ in range(4)] == [0, 1, 2, END]


def test_a_read_without_the_key_hands_nothing_out(secure: Device) -> None:
    """SSC-5 4.2.21: no data are transferred."""
    write_encrypted(secure, 0)
    assert secure.check(c.read(BLOCK_BYTES), UNABLE_TO_DECRYPT).data == b""


def test_filemarks_and_end_of_data_need_no_key(secure: Device) -> None:
    """SSC-5 4.2.21: only logical blocks are encrypted."""
    use_key(secure, KEY)
    secure.good(c.write_filemarks(1))
    secure.good(c.rewind())
    secure.good(set_encryption(secure, DISABLE, DISABLE))
    assert [follows(secure) for _ in range(2)] == [FILEMARK, END]


def test_spacing_over_encrypted_blocks_needs_no_key(secure: Device) -> None:
    """SSC-5 4.2.21: SPACE and LOCATE do not decrypt."""
    write_encrypted(secure, 0, 1)
    secure.good(c.space_6(c.BLOCKS, 2))
    assert follows(secure) == END


def test_incorrect_lengths_are_of_the_plain_block(secure: Device) -> None:
    """SSC-5 6.4: ILI and INFORMATION as without encryption."""
    write_encrypted(secure, 0)
    use_key(secure, KEY)
    sense = secure.check(c.read(BLOCK_BYTES + 100), (0, 0, 0))
    assert sense.incorrect_length
    assert sense.information == 100
    assert sense.data == block(0)


def test_fixed_blocks_are_encrypted_one_by_one(secure: Device) -> None:
    """SSC-5 4.2.21: each logical block by itself."""
    secure.good(c.mode_select_6(bytes((0, 0, 0x10, 8)) + bytes(5) + (512).to_bytes(3, "big")))
    use_key(secure, KEY)
    data = block(0, 512) + block(1, 512)
    secure.good(c.write_fixed(data, 2))
    secure.good(c.rewind())
    assert secure.good(c.read_fixed(2, 512)) == data


# -- next block, key-associated data ---------------------------------------------------------
def next_block(tape: Device) -> int:
    return page_in(tape, NEXT_BLOCK_STATUS)[12] & 0x0F


def test_the_next_block_is_told_to_be_plain(secure: Device) -> None:
    """SSC-5 8.5.2.8: ENCRYPTION STATUS 3h."""
    record(secure, 0)
    assert next_block(secure) == NOT_ENCRYPTED


def test_the_next_block_is_told_to_be_decryptable(secure: Device) -> None:
    """SSC-5 8.5.2.8: ENCRYPTION STATUS 5h, with the right key set."""
    write_encrypted(secure, 0)
    use_key(secure, KEY)
    assert next_block(secure) == DECRYPTABLE


def test_the_next_block_is_told_not_to_be_decryptable(secure: Device) -> None:
    """SSC-5 8.5.2.8: ENCRYPTION STATUS 6h, without a key."""
    write_encrypted(secure, 0)
    assert next_block(secure) == NOT_DECRYPTABLE


@pytest.mark.parametrize("what", [FILEMARK, END])
def test_the_next_object_is_told_to_be_no_block(secure: Device, what: str) -> None:
    """SSC-5 8.5.2.8: ENCRYPTION STATUS 2h: the position is not before a logical block."""
    record(secure, 0, *([FILEMARK] if what == FILEMARK else []))
    assert follows(secure) == 0
    assert next_block(secure) == NOT_A_BLOCK


def test_the_next_block_is_told_with_its_number(secure: Device) -> None:
    """SSC-5 8.5.2.8: LOGICAL OBJECT NUMBER; the position is not changed."""
    record(secure, 0, 1)
    assert follows(secure) == 0
    assert int.from_bytes(page_in(secure, NEXT_BLOCK_STATUS)[4:12], "big") == 1
    assert follows(secure) == 1


def test_key_associated_data_come_back_with_the_block(secure: Device) -> None:
    """SSC-5 8.5.4: unauthenticated and authenticated key-associated data of the next block."""
    kads = {UNAUTHENTICATED: b"unauthenticated", AUTHENTICATED: b"signed"}
    write_encrypted(secure, 0, kads=kads)
    use_key(secure, KEY)
    found = kads_of(page_in(secure, NEXT_BLOCK_STATUS), 16)
    assert {kind: found.get(kind) for kind in kads} == kads


def test_key_associated_data_are_told_by_the_status_page(secure: Device) -> None:
    """SSC-5 8.5.2.7: what was set with the key."""
    kads = {UNAUTHENTICATED: b"unauthenticated"}
    use_key(secure, KEY, kads=kads)
    assert kads_of(page_in(secure, STATUS), 24) == kads


def test_unauthenticated_data_can_be_read_without_the_key(secure: Device) -> None:
    """SSC-5 8.5.4: how an application finds out which key it needs."""
    write_encrypted(secure, 0, kads={UNAUTHENTICATED: b"key 17"})
    assert kads_of(page_in(secure, NEXT_BLOCK_STATUS), 16)[UNAUTHENTICATED] == b"key 17"


def test_key_associated_data_that_are_too_long_are_refused(secure: Device) -> None:
    """SSC-5 8.5.3.2: beyond the maximum of the capabilities: INVALID FIELD IN PARAMETER LIST."""
    longest = int.from_bytes(algorithm(secure)[6:8], "big")
    response = secure.run(
        set_encryption(
            secure, ENCRYPT, DECRYPT, key=KEY, kads={UNAUTHENTICATED: b"x" * (longest + 1)}
        )
    )
    assert response.status == CHECK_CONDITION
    assert SenseData.decode(response.sense).code == INVALID_FIELD_IN_PARAMETER_LIST


# -- the life of a key -----------------------------------------------------------------------
@requires("LOAD UNLOAD")
def test_a_key_goes_with_the_volume_when_asked(secure: Device) -> None:
    """SSC-5 8.5.3.2: CKOD one: the parameters are released on demount."""
    use_key(secure, KEY, flags=CLEAR_KEY_ON_DEMOUNT)
    secure.good(c.load_unload(0))
    secure.good(c.load_unload(c.LOAD))
    secure.attentions()
    assert page_in(secure, STATUS)[5:7] == bytes(2)


def test_a_reset_clears_the_key(secure: Device) -> None:
    """SSC-5 4.2.21: a hard or logical unit reset releases the parameters."""
    use_key(secure, KEY)
    logical_unit_reset(secure)
    assert page_in(secure, STATUS)[5:7] == bytes(2)


def test_switching_off_clears_the_key(secure: Device) -> None:
    """SSC-5 4.2.21: both modes DISABLE: blocks are plain again."""
    use_key(secure, KEY)
    secure.good(set_encryption(secure, DISABLE, DISABLE))
    secure.good(c.write(block(0)))
    secure.good(c.rewind())
    assert next_block(secure) == NOT_ENCRYPTED


def test_a_new_key_tells_the_other_initiators_that_used_the_old_one(
    secure: Device, other: Device
) -> None:
    """SSC-5 4.2.21: DATA ENCRYPTION PARAMETERS CHANGED BY ANOTHER I_T NEXUS (2A/11)."""
    use_key(secure, KEY)
    other.attentions()
    assert page_in(other, STATUS)[5] == ENCRYPT
    other.attentions()
    use_key(secure, OTHER_KEY)
    assert other.attentions() == [(0x6, 0x2A, 0x11)]


def test_a_locked_nexus_writes_with_no_other_key(secure: Device, other: Device) -> None:
    """SSC-5 8.5.3.2: LOCK: DATA ENCRYPTION KEY INSTANCE COUNTER HAS CHANGED (7/2A/13)."""
    command = set_encryption(secure, ENCRYPT, DECRYPT, key=KEY)
    page = bytearray(command.data_out)
    page[4] |= 0x01
    secure.good(c.security_protocol_out(TAPE_DATA_ENCRYPTION, SET_DATA_ENCRYPTION, bytes(page)))
    secure.good(c.write(block(0)))
    other.attentions()
    use_key(other, OTHER_KEY)
    secure.attentions()
    secure.check(c.write(block(1)), KEY_INSTANCE_CHANGED)


def test_a_public_nexus_follows_whoever_shares(secure: Device, other: Device) -> None:
    """SSC-5 8.5.3.2: PUBLIC: the fields after SCOPE are ignored, the shared parameters apply."""
    other.attentions()
    use_key(other, OTHER_KEY)
    secure.attentions()
    public = set_encryption(secure, ENCRYPT, DECRYPT, key=KEY, scope=PUBLIC)
    secure.good(public)
    status = page_in(secure, STATUS)
    assert status[4] == PUBLIC << 5 | ALL_NEXUSES
    assert status[5:7] == bytes((ENCRYPT, DECRYPT))
    other.good(set_encryption(other, DISABLE, DISABLE))
