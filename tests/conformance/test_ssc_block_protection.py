"""Logical block protection: four bytes behind each block on its way (SSC-5 4.2.29, 8.3)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from awscrt.checksums import crc32c

from tests.conformance import commands as c
from tests.conformance.device import CHECK_CONDITION, Device
from tests.conformance.pages import ModePageKeeper, mode_page, select_page
from tests.conformance.recording import BLOCK_BYTES, block
from tests.conformance.requirements import requires
from tests.conformance.sense import INVALID_FIELD_IN_PARAMETER_LIST, Code

CONTROL_DATA_PROTECTION = (0x0A, 0xF0)
pytestmark = requires("MODE SENSE(10)", "MODE SELECT(10)", mode_page=CONTROL_DATA_PROTECTION)
REED_SOLOMON, CRC32C = 1, 2
WRITES, READS = 0x80, 0x40
INFORMATION_BYTES = 4
# LOGICAL BLOCK GUARD CHECK FAILED, as the HARDWARE ERROR that LTO drives make of it.
GUARD_CHECK_FAILED: Code = (0x4, 0x10, 0x01)


def reed_solomon(data: bytes) -> bytes:
    """The Reed-Solomon CRC of ECMA-319 annex D, byte by byte: GF(256) over 11Dh."""

    def times(value: int, factor: int) -> int:
        product = 0
        for bit in range(8):
            if factor >> bit & 1:
                shifted = value << bit
                for high in range(15, 7, -1):
                    if shifted >> high & 1:
                        shifted ^= 0x11D << high - 8
                product ^= shifted
        return product

    table = [
        bytes(times(value, factor) for factor in (0x38, 0xCF, 0x38, 0x01)) for value in range(256)
    ]
    register = bytes(4)
    for byte in data:
        step = table[byte ^ register[0]]
        register = bytes(a ^ b for a, b in zip(register[1:] + b"\0", step, strict=True))
    return register


def protect(method: int, data: bytes) -> bytes:
    """Return a block with its protection information."""
    if method == REED_SOLOMON:
        return data + reed_solomon(data)
    value: int = crc32c(data)
    return data + value.to_bytes(4, "little")


def methods(tape: Device) -> list[int]:
    """Return the methods that the drive takes."""
    page = bytearray(mode_page(tape, CONTROL_DATA_PROTECTION))
    found = []
    for method in (REED_SOLOMON, CRC32C):
        page[4], page[5], page[6] = method, INFORMATION_BYTES, WRITES | READS
        if tape.run(select_page(bytes(page))).status == 0:
            found.append(method)
    return found


class Protection:
    """A drive whose blocks are protected on their way, by one method."""

    def __init__(self, tape: Device, keeper: ModePageKeeper, method: int) -> None:
        self.tape, self.method = tape, method
        self._keeper = keeper

    def switch(self, flags: int) -> None:
        page = bytearray(self._keeper.current(CONTROL_DATA_PROTECTION))
        page[4], page[5] = self.method, INFORMATION_BYTES
        page[6] = flags
        self.tape.good(select_page(bytes(page)))

    def protected(self, data: bytes) -> bytes:
        return protect(self.method, data)


@pytest.fixture
def protection(tape: Device, mode_pages: ModePageKeeper) -> Iterator[Protection]:
    """The drive with the scratch tape and the first method it has, both directions on."""
    mode_pages.current(CONTROL_DATA_PROTECTION)
    available = methods(tape)
    assert available, "the page is there, and no method can be chosen"
    made = Protection(tape, mode_pages, available[0])
    made.switch(WRITES | READS)
    yield made
    tape.run(c.rewind())


def test_no_protection_is_the_default(tape: Device) -> None:
    """SSC-5 8.3: LOGICAL BLOCK PROTECTION METHOD 0h."""
    assert mode_page(tape, CONTROL_DATA_PROTECTION)[4:7] == bytes(3)


def test_the_method_is_read_back(protection: Protection) -> None:
    """SSC-5 8.3: method, LOGICAL BLOCK PROTECTION INFORMATION LENGTH 4, LBP_W and LBP_R."""
    page = mode_page(protection.tape, CONTROL_DATA_PROTECTION)
    assert page[4] == protection.method
    assert page[5] & 0x3F == INFORMATION_BYTES
    assert page[6] & 0xC0 == WRITES | READS


def test_an_unknown_method_is_refused(tape: Device) -> None:
    """SSC-5 8.3: INVALID FIELD IN PARAMETER LIST."""
    page = bytearray(mode_page(tape, CONTROL_DATA_PROTECTION))
    page[4:7] = bytes((0x77, INFORMATION_BYTES, WRITES))
    tape.check(select_page(bytes(page)), INVALID_FIELD_IN_PARAMETER_LIST)


def test_protected_blocks_round_trip(protection: Protection) -> None:
    """SSC-5 4.2.29: TRANSFER LENGTH counts block and protection information."""
    tape, data = protection.tape, protection.protected(block(1))
    tape.good(c.write(data))
    tape.good(c.rewind())
    assert tape.good(c.read(len(data))) == data


def test_a_wrong_check_is_refused_on_write(protection: Protection) -> None:
    """SSC-5 4.2.29: HARDWARE ERROR, LOGICAL BLOCK GUARD CHECK FAILED."""
    data = bytearray(protection.protected(block(1)))
    data[100] ^= 0x01
    response = protection.tape.run(c.write(bytes(data)))
    assert response.status == CHECK_CONDITION
    assert (response.sense[12], response.sense[13]) == GUARD_CHECK_FAILED[1:]


def test_a_block_with_a_wrong_check_is_not_written(protection: Protection) -> None:
    """SSC-5 4.2.29: the block is not on the medium."""
    tape = protection.tape
    tape.run(c.write(protection.protected(block(1))[:-1] + b"?"))
    tape.good(c.rewind())
    tape.good(c.write(protection.protected(block(2))))
    tape.good(c.rewind())
    assert tape.good(c.read(BLOCK_BYTES + 4))[:4] == block(2)[:4]


def test_the_check_is_not_a_part_of_the_block(protection: Protection) -> None:
    """SSC-5 4.2.29: without LBP_R the block comes back by itself."""
    tape = protection.tape
    tape.good(c.write(protection.protected(block(1))))
    tape.good(c.rewind())
    protection.switch(WRITES)
    assert tape.good(c.read(BLOCK_BYTES)) == block(1)


def test_a_plain_block_is_read_with_a_check(protection: Protection) -> None:
    """SSC-5 4.2.29: LBP_R is of the transfer: also for blocks written without."""
    tape = protection.tape
    protection.switch(0)
    tape.good(c.write(block(1)))
    tape.good(c.rewind())
    protection.switch(READS)
    assert tape.good(c.read(BLOCK_BYTES + 4)) == protection.protected(block(1))


def test_a_protected_read_of_a_shorter_block_has_its_residue(protection: Protection) -> None:
    """SSC-5 6.4: ILI, INFORMATION of block and check together, equal to the residual."""
    tape = protection.tape
    tape.good(c.write(protection.protected(block(1))))
    tape.good(c.rewind())
    sense = tape.check(c.read(BLOCK_BYTES + 104), (0, 0, 0))
    assert sense.incorrect_length
    assert sense.information == sense.residual == 100
    assert sense.data == protection.protected(block(1))


def test_protected_fixed_blocks_have_a_check_each(protection: Protection) -> None:
    """SSC-5 4.2.29: FIXED: each block is followed by its own, and BLOCK LENGTH counts both."""
    tape = protection.tape
    pair = protection.protected(block(1)) + protection.protected(block(2))
    size = BLOCK_BYTES + INFORMATION_BYTES
    tape.good(c.mode_select_6(bytes((0, 0, 0x10, 8)) + bytes(5) + size.to_bytes(3, "big")))
    tape.good(c.write_fixed(pair, 2))
    tape.good(c.rewind())
    assert tape.good(c.read_fixed(2, size)) == pair


def test_protection_is_of_the_nexus_that_chose_it(protection: Protection, other: Device) -> None:
    """SSC-5 8.3, VPD 87h: another nexus reads and writes plain blocks."""
    tape = protection.tape
    tape.good(c.write(protection.protected(block(1))))
    other.attentions()
    other.good(c.rewind())
    assert other.good(c.read(BLOCK_BYTES, sili=True)) == block(1)
