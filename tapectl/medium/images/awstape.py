"""AWSTAPE images (`.aws`), which emulators of mainframes read and write.

Sources: the format of IBM's P/370 and P/390, as documented with the Hercules emulator. Each chunk
of a record has a header of 6 bytes, numbers little-endian:

| bytes | what                                                                          |
|-------|-------------------------------------------------------------------------------|
| 0-1   | length of this chunk, without the header                                      |
| 2-3   | length of the chunk before it, 0 for the first and after a tape mark          |
| 4     | flags: 80h the record begins here, 20h it ends here, 40h tape mark (length 0) |
| 5     | flags: 0                                                                      |

A record longer than 65,535 bytes has several chunks. The end of the file is the end of the tape.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from tapectl.medium.images.objects import ImageError, Object, Read, read_exactly
from tapectl.scsi.cartridge import Mark

MAX_CHUNK_BYTES = 0xFFFF
MAX_BLOCK_BYTES = 0x00FF_FFFF  # the longest block a tape of ours can have
_HEADER = struct.Struct("<HHBB")
_BEGINS, _TAPE_MARK, _ENDS = 0x80, 0x40, 0x20


def encode(objects: Iterable[Object]) -> Iterator[bytes]:
    """Yield the image of a tape, piece by piece."""
    before = 0
    for one in objects:
        if isinstance(one, Mark):
            yield _HEADER.pack(0, before, _TAPE_MARK, 0)
            before = 0
            continue
        for start in range(0, len(one), MAX_CHUNK_BYTES):
            chunk = one[start : start + MAX_CHUNK_BYTES]
            flags = _BEGINS if start == 0 else 0
            flags |= _ENDS if start + len(chunk) == len(one) else 0
            yield _HEADER.pack(len(chunk), before, flags, 0)
            yield chunk
            before = len(chunk)


def decode(read: Read) -> Iterator[Object]:
    """Yield the objects of an image; raise ImageError where it is none, or ends too soon."""
    before = 0
    record: bytearray | None = None
    while header := read(_HEADER.size):
        if len(header) < _HEADER.size:
            raise ImageError("it ends in the middle of a header: it is only a part of an image")
        length, found_before, flags, more_flags = _HEADER.unpack(header)
        if found_before != before or more_flags:
            raise ImageError("a chunk does not go on from the one before it")
        if flags == _TAPE_MARK and not length and record is None:
            yield Mark.FILEMARK
            before = 0
            continue
        if flags & ~(_BEGINS | _ENDS) or bool(flags & _BEGINS) is (record is not None):
            raise ImageError(f"a chunk has flags that cannot be: {flags:#04x}")
        record = bytearray() if record is None else record
        record += read_exactly(read, length, "a chunk")
        if not record or len(record) > MAX_BLOCK_BYTES:
            raise ImageError(f"a record of {len(record)} bytes")
        before = length
        if flags & _ENDS:
            yield bytes(record)
            record = None
    if record is not None:
        raise ImageError("it ends in the middle of a record: it is only a part of an image")
