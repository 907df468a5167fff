"""The protection information of a block: Reed-Solomon CRC and CRC32C."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapectl.scsi.ssc.protection_information import (
    ProtectionMethod,
    protection_information,
    reed_solomon_crc,
)


def shift_register(data: bytes) -> int:
    """The CRC as ECMA-319 draws it: one byte at a time through four stages over GF(256)."""
    stages = [0, 0, 0, 0]
    for byte in data:
        feedback = byte ^ stages[0]
        products = [multiply(feedback, factor) for factor in (0x38, 0xCF, 0x38, 0x01)]
        stages = [old ^ new for old, new in zip([*stages[1:], 0], products, strict=True)]
    return int.from_bytes(bytes(stages), "big")


def multiply(left: int, right: int) -> int:
    product = 0
    for bit in range(8):
        if right >> bit & 1:
            product ^= left << bit
    for bit in range(14, 7, -1):
        if product >> bit & 1:
            product ^= 0x11D << bit - 8
    return product


# What drives and their clients have in their tables: the CRC of one byte.
@pytest.mark.parametrize(
    ("byte", "crc"),
    [(0x00, 0), (0x01, 0x38CF3801), (0x02, 0x70837002), (0x80, 0x51475180), (0xFF, 0x763F76FF)],
)
def test_reed_solomon_crc_of_one_byte(byte: int, crc: int):
    assert reed_solomon_crc(bytes((byte,))) == crc


@given(st.binary(max_size=2000))
def test_reed_solomon_crc_is_that_of_the_shift_register(data: bytes):
    assert reed_solomon_crc(data) == shift_register(data)


@given(st.binary(min_size=1, max_size=1200), st.data())
def test_reed_solomon_crc_sees_every_single_byte_that_changes(data: bytes, drawn: st.DataObject):
    at = drawn.draw(st.integers(0, len(data) - 1))
    other = drawn.draw(st.integers(0, 255).filter(lambda value: value != data[at]))
    assert reed_solomon_crc(data) != reed_solomon_crc(data[:at] + bytes((other,)) + data[at + 1 :])


def test_a_block_followed_by_its_reed_solomon_crc_has_the_crc_zero():
    block = bytes(range(256)) * 5
    assert (
        reed_solomon_crc(block + protection_information(ProtectionMethod.REED_SOLOMON, block)) == 0
    )


def test_crc32c_is_the_castagnoli_crc_least_significant_byte_first():
    assert protection_information(ProtectionMethod.CRC32C, b"123456789") == bytes.fromhex(
        "839206e3"
    )
