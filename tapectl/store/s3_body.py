"""The body of a put, as a file: so that a slow line has time for each piece of it.

urllib3 sends bytes with one call, which has to be through within the timeout of connecting,
however many they are; of a file it sends one block after the other, and each has that time.
"""

from __future__ import annotations

import io

# What the slowest line that counts as one sends well within that time. A file costs a round trip
# more: boto3 asks the server whether it would take it.
_SMALL_BYTES = 64 * 1024


class Body(io.RawIOBase):
    """A file of these bytes, without a copy of them."""

    def __init__(self, content: bytes | bytearray | memoryview) -> None:
        self._view = memoryview(content)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._view)}[whence]
        self._at = base + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        piece = self._view[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def body_of(content: bytes | bytearray) -> bytes | bytearray | Body:
    """Return what boto3 is given as the body of these bytes."""
    return content if len(content) <= _SMALL_BYTES else Body(content)
