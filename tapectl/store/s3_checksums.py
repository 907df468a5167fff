"""Whether a server has the bytes that we have: by CRC32C where it keeps one, else by its ETag.

The ETag of an object, or of a part, that came in one request is its MD5, unless a key management
service encrypts it. Servers that ignore the CRC32C of a request would keep whatever arrives.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from awscrt import checksums

from tapectl.store.interface import SSEAlgorithm, StoreError

_MD5 = re.compile(r"[0-9a-f]{32}")


def crc32c_text(body: bytes | bytearray) -> str:
    """Return the CRC32C as S3 writes it."""
    return base64.b64encode(checksums.crc32c(body).to_bytes(4, "big")).decode()


def require_same(answer: dict[str, Any], body: bytes | bytearray, crc32c: str, where: str) -> None:
    """Raise a StoreError that may pass if the answer to a put is of other bytes than these."""
    if is_same(answer, body, crc32c) is False:
        raise StoreError(f"store has other bytes than were sent: {where}")


def is_same(entry: dict[str, Any], body: bytes | bytearray, crc32c: str) -> bool | None:
    """Whether what a server says of an object or a part is true of these bytes; None if it says
    nothing that could be compared."""
    found = entry.get("ChecksumCRC32C", "-")
    if "-" not in found:  # of an object in parts it is made of theirs
        return bool(found == crc32c)
    etag = entry["ETag"].strip('"')
    if entry.get("ServerSideEncryption") == SSEAlgorithm.AWS_KMS.value or not _MD5.fullmatch(etag):
        return None
    return bool(hashlib.md5(body, usedforsecurity=False).hexdigest() == etag)
