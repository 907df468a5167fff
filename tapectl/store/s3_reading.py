"""Reads an object of S3, or a part of it, over connections that may break.

Of a part, what came before the break is kept and the rest is asked for: else a slow line that
breaks now and then would never bring it all. A whole object is held against its checksum; who reads
a part of one has checksums within.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from typing import Any

from botocore import exceptions as botocore_errors
from botocore.exceptions import ClientError

from tapectl.store.interface import StoreError
from tapectl.store.s3_checksums import crc32c_text, is_same
from tapectl.store.s3_errors import status_code
from tapectl.store.traffic import Pace

# What a break may cost: bytes of a read that was under way are lost with it. On a line that brings
# the first so many within this time, it is more: each read costs the interpreter as much as 30 us.
_READ_BYTES = 64 * 1024
_READ_BYTES_MAX = 1024 * 1024
_FAST_S = 0.1
# More than any part of an object that is asked for; beyond it memory grows with what comes.
_ROOM_BYTES_MAX = 32 * 1024 * 1024
# How a body ends too early.
_BROKEN = (
    botocore_errors.IncompleteReadError,
    botocore_errors.ReadTimeoutError,
    botocore_errors.ResponseStreamingError,
)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `offset` on, at most `size_bytes` of them; None: to the end."""

    offset: int
    size_bytes: int | None

    @property
    def end(self) -> int | None:
        return None if self.size_bytes is None else self.offset + self.size_bytes


def read_whole(client: Any, bucket: str, name: str, pace: Pace) -> bytes:
    """Return an object, whose bytes pass by `pace`.

    Raises what botocore raises, and a StoreError that may pass if these are not the bytes that the
    server has.
    """
    answer = client.get_object(Bucket=bucket, Key=name, ChecksumMode="ENABLED")
    content = _read_all(answer, pace)
    if is_same(answer, content, crc32c_text(content)) is False:
        raise StoreError(f"object came with other bytes than the store has: {name}")
    return content


def read_range(client: Any, bucket: str, name: str, part: ByteRange, pace: Pace) -> bytes:
    """Return a part of an object, whose bytes pass by `pace`.

    Raises what botocore raises, and StoreError.
    """
    offset, end = part.offset, part.end
    content = _Content()
    condition: dict[str, str] = {}
    while True:
        before = content.size_bytes
        wanted = f"bytes={offset + before}-{'' if end is None else end - 1}"
        try:
            answer = client.get_object(Bucket=bucket, Key=name, Range=wanted, **condition)
        except ClientError as error:
            if status_code(error) == 416:  # nothing at or after the offset
                return content.value()
            if condition and status_code(error) == 412:
                raise StoreError(f"object was replaced while it was read: {name}") from error
            raise
        if answer["ResponseMetadata"]["HTTPStatusCode"] == 200:
            # A server that does not know ranges sends it all.
            return _read_all(answer, pace)[offset:end]
        condition = {"IfMatch": answer["ETag"]}
        try:
            content.read(answer, pace)
        except _BROKEN:
            if content.size_bytes == before:
                raise
        if content.size_bytes == before + int(answer["ContentLength"]):
            return content.value()
        if content.size_bytes == before:
            raise StoreError(f"connection closed in the middle: {name}")


def _read_all(answer: dict[str, Any], pace: Pace) -> bytes:
    content = _Content()
    content.read(answer, pace)
    if content.size_bytes != int(answer["ContentLength"]):
        raise StoreError("connection closed in the middle of an object")
    return content.value()


class _Content:
    """What has come of an object: the bytes that are returned at the end, without another copy."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._buffer = io.BytesIO()

    def read(self, answer: dict[str, Any], pace: Pace) -> None:
        """Add what the body of an answer has, as far as it comes; raise what botocore raises."""
        self._make_room(min(int(answer["ContentLength"]), _ROOM_BYTES_MAX))
        read_bytes = _READ_BYTES
        stream = answer["Body"]
        with stream:
            began_s = time.monotonic()
            while piece := stream.read(pace.piece_bytes(read_bytes)):
                self._buffer.write(piece)
                self.size_bytes += len(piece)
                if time.monotonic() - began_s < _FAST_S:
                    read_bytes = min(2 * read_bytes, _READ_BYTES_MAX)
                pace.take(len(piece))
                began_s = time.monotonic()

    def value(self) -> bytes:
        self._buffer.truncate(self.size_bytes)
        return self._buffer.getvalue()

    def _make_room(self, size_bytes: int) -> None:
        if size_bytes:
            self._buffer.seek(self.size_bytes + size_bytes - 1)
            self._buffer.write(b"\0")
        self._buffer.seek(self.size_bytes)
