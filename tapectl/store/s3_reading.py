"""Reads an object of S3, or a part of it, over connections that may break.

What came before the break is kept and the rest is asked for: else a slow line that breaks now and
then would never bring it all.
"""

from __future__ import annotations

from typing import Any

from botocore import exceptions as botocore_errors
from botocore.exceptions import ClientError

from tapectl.store.interface import StoreError
from tapectl.store.s3_errors import status_code

# What a break may cost: bytes of a read that was under way are lost with it.
_READ_BYTES = 64 * 1024
# How a body ends too early.
_BROKEN = (
    botocore_errors.IncompleteReadError,
    botocore_errors.ReadTimeoutError,
    botocore_errors.ResponseStreamingError,
)


def read_object(
    client: Any, bucket: str, name: str, *, offset: int, size_bytes: int | None
) -> bytes:
    """Return the bytes from `offset` on, at most `size_bytes` of them; None: to the end.

    Raises what botocore raises, and StoreError.
    """
    content = bytearray()
    etag: str | None = None
    while True:
        before = len(content)
        request = _range(offset + before, None if size_bytes is None else size_bytes - before)
        if etag is not None:
            request["IfMatch"] = etag
        try:
            answer = client.get_object(Bucket=bucket, Key=name, **request)
        except ClientError as error:
            if status_code(error) == 416:  # nothing at or after the offset
                return bytes(content)
            if etag is not None and status_code(error) == 412:
                raise StoreError(f"object was replaced while it was read: {name}") from error
            raise
        etag = answer["ETag"]
        expected = before + int(answer["ContentLength"])
        whole = bool(request) and answer["ResponseMetadata"]["HTTPStatusCode"] == 200
        if whole:  # a server that does not know ranges sends it all
            content.clear()
            before, expected = 0, int(answer["ContentLength"])
        try:
            _append(answer["Body"], content)
        except _BROKEN:
            if whole or len(content) == before:
                raise
        if len(content) == expected:
            break
        if whole or len(content) == before:
            raise StoreError(f"connection closed in the middle: {name}")
    if whole:
        return bytes(content[offset : None if size_bytes is None else offset + size_bytes])
    return bytes(content)


def _range(offset: int, size_bytes: int | None) -> dict[str, str]:
    if not offset and size_bytes is None:
        return {}
    end = "" if size_bytes is None else str(offset + size_bytes - 1)
    return {"Range": f"bytes={offset}-{end}"}


def _append(stream: Any, content: bytearray) -> None:
    with stream:
        while piece := stream.read(_READ_BYTES):
            content += piece
