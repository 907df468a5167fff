"""Header and data digests: CRC32C as RFC 7143 13.1 defines it."""

from __future__ import annotations

import struct
from typing import Final

from awscrt.checksums import crc32c

# "the least significant byte first": the CRC's bytes go out in little-endian order
# (the test vectors of RFC 7143 appendix B.4 show it).
DIGEST: Final = struct.Struct("<I")

NO_DIGEST: Final = b""


def digest(data: bytes | bytearray | memoryview, previous: int = 0) -> int:
    """Return the CRC32C of a buffer, continuing from that of what stood before it."""
    value: int = crc32c(data, previous)
    return value


def encode_digest(value: int) -> bytes:
    """Return the four bytes of a digest as they are sent."""
    return DIGEST.pack(value)
