"""What images are made of: blocks and filemarks, read from a stream that may end too soon."""

from __future__ import annotations

from collections.abc import Callable

from tapectl.scsi.cartridge import Mark

# A block, or Mark.FILEMARK.
Object = bytes | Mark

Read = Callable[[int], bytes]
"""Returns exactly so many bytes of the image, fewer only at its end."""


class ImageError(Exception):
    """Bytes are no image of the format, or only the beginning of one."""


def read_exactly(read: Read, size_bytes: int, what: str) -> bytes:
    """Return so many bytes; raise ImageError if the image ends before them."""
    data = read(size_bytes)
    if len(data) < size_bytes:
        raise ImageError(f"it ends in the middle of {what}: it is only a part of an image")
    return data
