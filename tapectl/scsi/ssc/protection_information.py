"""The protection information of logical block protection: four bytes after a block (SSC-5 4.2.29).

Two methods: the Reed-Solomon CRC of ECMA-319, and CRC32C. Which of them a drive has is told by its
personality.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from types import MappingProxyType

from awscrt.checksums import crc32c

PROTECTION_INFORMATION_BYTES = 4


class ProtectionMethod(enum.IntEnum):
    """LOGICAL BLOCK PROTECTION METHOD of the Control Data Protection mode page (SSC-5 8.4.9)."""

    NONE = 0
    REED_SOLOMON = 1
    CRC32C = 2


# GF(256) with the field polynomial x^8 + x^4 + x^3 + x^2 + 1, and a generator polynomial of degree
# four whose coefficients below x^4 are these, highest first (ECMA-319 annex D).
_FIELD_POLYNOMIAL = 0x11D
_GENERATOR = (0x38, 0xCF, 0x38, 0x01)
# Its roots are roots of x^255 - 1 too, as every element of the field but zero is.
_PERIOD_BYTES = 255


def _multiply(left: int, right: int) -> int:
    product = 0
    while right:
        if right & 1:
            product ^= left
        left <<= 1
        if left & 0x100:
            left ^= _FIELD_POLYNOMIAL
        right >>= 1
    return product


_STEPS = tuple(
    int.from_bytes(bytes(_multiply(byte, factor) for factor in _GENERATOR), "big")
    for byte in range(256)
)


def reed_solomon_crc(data: bytes | memoryview) -> int:
    """Return the Reed-Solomon CRC of a block as a 32-bit number; of nothing it is 0.

    A remainder modulo the generator is also one of the remainder modulo x^255 - 1, and that is
    the exclusive or of all pieces of 255 bytes: big numbers do it at memory speed, and only one
    piece is left to be taken byte by byte.
    """
    folded = int.from_bytes(data, "big")
    pieces = -(-len(data) // _PERIOD_BYTES)
    while pieces > 1:
        half = pieces // 2
        bits = half * _PERIOD_BYTES * 8
        folded = (folded >> bits) ^ (folded & ((1 << bits) - 1))
        pieces -= half
    crc = 0
    for byte in folded.to_bytes(_PERIOD_BYTES, "big"):
        crc = (crc << 8) & 0xFFFFFFFF ^ _STEPS[byte ^ crc >> 24]
    return crc


def _reed_solomon_bytes(data: bytes | memoryview) -> bytes:
    return reed_solomon_crc(data).to_bytes(PROTECTION_INFORMATION_BYTES, "big")


def _crc32c_bytes(data: bytes | memoryview) -> bytes:
    # Least significant byte first, as the CRC of an iSCSI PDU is.
    value: int = crc32c(data)
    return value.to_bytes(PROTECTION_INFORMATION_BYTES, "little")


_ENCODERS: Mapping[ProtectionMethod, Callable[[bytes | memoryview], bytes]] = MappingProxyType(
    {
        ProtectionMethod.REED_SOLOMON: _reed_solomon_bytes,
        ProtectionMethod.CRC32C: _crc32c_bytes,
    }
)


def protection_information(method: ProtectionMethod, data: bytes | memoryview) -> bytes:
    """Return the four bytes that protect a block by a method other than NONE."""
    return _ENCODERS[method](data)
