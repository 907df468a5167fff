"""The frame: 32 bytes of header before every logical object of a segment. Pure bytes.

The layout is specified in docs/medium-format.md. A frame says what it is, which
object of the tape it is and in which segment it was written, so that the frames of
a segment can be found and trusted without its index.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from tapectl.medium.checksum import crc32c

FRAME_HEADER_BYTES = 32
BLOCK_BYTES_MAX = (1 << 24) - 1  # what a WRITE CDB of SSC can carry (24-bit transfer length)

_MAGIC = b"TpFr"
# magic, kind, flags (0), 2 reserved bytes (0), object number, payload bytes, CRC32C of the
# payload, low 32 bits of the segment's sequence number
_FIELDS = struct.Struct(">4sBBHQIII")
_HEADER_CRC = struct.Struct(">I")
_CRC_OFFSET = _FIELDS.size  # byte 28


class FrameKind(enum.IntEnum):
    """What a frame holds."""

    BLOCK = 1
    FILEMARK = 2
    END_OF_DATA = 3  # the last frame of its segment; takes no object number
    ENCRYPTED_BLOCK = 4  # a block whose payload the drive has encrypted


# The kinds that have a payload.
BLOCK_KINDS = frozenset((FrameKind.BLOCK, FrameKind.ENCRYPTED_BLOCK))

# Plain integers for the path of every block: reading a member of an enum costs a lookup.
_BLOCK = int(FrameKind.BLOCK)


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame header. `length` is the payload in bytes, `sequence` its low 32 bits."""

    kind: FrameKind
    number: int
    length: int
    payload_crc: int
    sequence: int


class FrameEncoder:
    """Makes the frame headers of one segment."""

    __slots__ = ("_body", "_header", "_sequence")

    def __init__(self, sequence: int) -> None:
        self._sequence = sequence & 0xFFFFFFFF
        self._header = bytearray(FRAME_HEADER_BYTES)
        self._body = memoryview(self._header)[:_CRC_OFFSET]

    def block(self, number: int, payload: memoryview, kind: int = _BLOCK) -> bytearray:
        """Return the header of a block; the buffer is reused by the next call."""
        header = self._header
        _FIELDS.pack_into(
            header, 0, _MAGIC, kind, 0, 0, number, len(payload), crc32c(payload), self._sequence
        )
        _HEADER_CRC.pack_into(header, _CRC_OFFSET, crc32c(self._body))
        return header

    def blocks(
        self, number: int, data: memoryview, block_bytes: int, kind: int = _BLOCK
    ) -> list[bytes | memoryview]:
        """Return header, payload, header, payload... of the equal blocks in `data`, not copied."""
        buffers: list[bytes | memoryview] = []
        for offset in range(0, len(data), block_bytes):
            payload = data[offset : offset + block_bytes]
            buffers.append(bytes(self.block(number, payload, kind)))
            buffers.append(payload)
            number += 1
        return buffers

    def marks(self, kind: FrameKind, number: int, count: int = 1) -> bytes:
        """Return `count` frames without payload, numbered from `number`."""
        return b"".join(self._mark(kind, number + step) for step in range(count))

    def _mark(self, kind: FrameKind, number: int) -> bytes:
        body = _FIELDS.pack(_MAGIC, kind, 0, 0, number, 0, 0, self._sequence)
        return body + _HEADER_CRC.pack(crc32c(body))


def is_block(
    header: memoryview, number: int, sequence: int, payload: memoryview, kind: int = _BLOCK
) -> bool:
    """Whether `header` is that of block `number` of the segment and `payload` its undamaged bytes.

    The header's own CRC need not be looked at: every field is compared with what it must be.
    """
    return header[:_CRC_OFFSET] == _FIELDS.pack(
        _MAGIC, kind, 0, 0, number, len(payload), crc32c(payload), sequence & 0xFFFFFFFF
    )


def decode_frame(header: bytes | bytearray | memoryview) -> Frame | None:
    """Return the frame whose 32-byte header this is, None if it is none or is damaged."""
    if len(header) < FRAME_HEADER_BYTES:
        return None
    magic, kind, flags, reserved, number, length, payload_crc, sequence = _FIELDS.unpack_from(
        header
    )
    (crc,) = _HEADER_CRC.unpack_from(header, _CRC_OFFSET)
    if magic != _MAGIC or crc != crc32c(memoryview(header)[:_CRC_OFFSET]):
        return None
    if flags or reserved or kind not in _KINDS or not _length_is_legal(kind, length):
        return None
    return Frame(FrameKind(kind), number, length, payload_crc, sequence)


_KINDS = frozenset(int(kind) for kind in FrameKind)


def _length_is_legal(kind: int, length: int) -> bool:
    if kind in BLOCK_KINDS:
        return 1 <= length <= BLOCK_BYTES_MAX
    return length == 0
