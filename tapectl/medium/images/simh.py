"""SIMH images (`.tap`), which simulators of many old computers read and write.

Source: "SIMH Magtape Representation and Handling" (R. Supnik, revised by the SIMH project), the
standard format. All numbers are 32 bits, little-endian:

| bytes                     | what                                                         |
|---------------------------|--------------------------------------------------------------|
| 0x00000001 .. 0x00FFFFFF  | a record of so many bytes: the data, a zero byte if their    |
|                           | number is odd, and the same number again                     |
| 0x80000000 + length       | a record that was read with an error; 0: an error, no data   |
| 0x00000000                | tape mark                                                    |
| 0xFFFFFFFE, 0xFFFF....    | erase gap; half of one: nothing is recorded there            |
| 0xFFFFFFFF                | end of medium; the end of the file is one, too               |
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from tapectl.medium.images.objects import ImageError, Object, Read, read_exactly
from tapectl.scsi.cartridge import Mark

MAX_BLOCK_BYTES = 0x00FF_FFFF
_WORD = struct.Struct("<I")
_TAPE_MARK = 0x0000_0000
_END_OF_MEDIUM = 0xFFFF_FFFF
_ERASE_GAP = 0xFFFF_FFFE
_HALF_GAP = 0xFFFE_FFFF
_ERROR_FLAG = 0x8000_0000


def encode(objects: Iterable[Object]) -> Iterator[bytes]:
    """Yield the image of a tape, piece by piece. Raises ImageError for a block that is too long."""
    for one in objects:
        if isinstance(one, Mark):
            yield _WORD.pack(_TAPE_MARK)
            continue
        if len(one) > MAX_BLOCK_BYTES:
            raise ImageError(f"a block of {len(one)} bytes does not fit into this format")
        length = _WORD.pack(len(one))
        yield length
        yield one
        yield b"\0" + length if len(one) % 2 else length
    # Without it nobody could tell that the file is whole.
    yield _WORD.pack(_END_OF_MEDIUM)


def decode(read: Read) -> Iterator[Object]:
    """Yield the objects of an image; raise ImageError where it is none, or ends too soon."""
    while word := read(_WORD.size):
        if len(word) < _WORD.size:
            raise ImageError("it ends in the middle of a number: it is only a part of an image")
        (length,) = _WORD.unpack(word)
        if length == _END_OF_MEDIUM:
            return
        if length == _TAPE_MARK:
            yield Mark.FILEMARK
        elif length not in (_ERASE_GAP, _HALF_GAP):
            yield _record(read, length)


def _record(read: Read, length: int) -> bytes:
    if length & _ERROR_FLAG:
        raise ImageError("a record was read with an error when the image was made")
    if length > MAX_BLOCK_BYTES:
        raise ImageError(f"not the length of a record: {length:#010x}")
    data = read_exactly(read, length, "a record")
    rest = read_exactly(read, length % 2 + _WORD.size, "a record")
    if _WORD.unpack(rest[-_WORD.size :])[0] != length:
        raise ImageError(f"the two lengths of a record of {length} bytes differ")
    return data
