"""What a server says of an object is compared with its bytes, where it can be."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tapectl.store.s3_body import Body, body_of
from tapectl.store.s3_checksums import crc32c_text, is_same

BODY = b"123456789"
CRC32C = "4waSgw=="  # RFC 3720 B.4 has E3069283h for these bytes
MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
OTHER = hashlib.md5(b"other", usedforsecurity=False).hexdigest()


def test_the_checksum_is_written_as_s3_does() -> None:
    assert crc32c_text(BODY) == CRC32C


@pytest.mark.parametrize(
    ("entry", "same"),
    [
        ({"ETag": '"any"', "ChecksumCRC32C": CRC32C}, True),
        ({"ETag": f'"{MD5}"', "ChecksumCRC32C": "AAAAAA=="}, False),
        ({"ETag": f'"{MD5}"'}, True),
        ({"ETag": f'"{OTHER}"'}, False),
        # Of parts, of a key management service, of a server that makes them otherwise.
        ({"ETag": f'"{OTHER}-2"', "ChecksumCRC32C": "AAAAAA==-2"}, None),
        ({"ETag": f'"{OTHER}"', "ServerSideEncryption": "aws:kms"}, None),
        ({"ETag": '"0x8DC"'}, None),
    ],
)
def test_what_can_be_compared_is(entry: dict[str, Any], same: bool | None) -> None:
    assert is_same(entry, BODY, CRC32C) is same


def test_a_large_body_is_a_file_that_can_be_read_again() -> None:
    content = bytes(range(256)) * 512
    body = body_of(bytearray(content))
    assert isinstance(body, Body)
    assert body.read(10) == content[:10]
    assert body.tell() == 10
    assert body.read() == content[10:]
    assert body.read(1) == b""
    assert body.seek(-3, 2) == len(content) - 3
    assert body.read(16) == content[-3:]
    body.seek(0)
    assert body.read() == content
    assert body_of(BODY) is BODY
