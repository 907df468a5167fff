"""A segment as an object of the store: header, compressed chunks, chunk table, footer. Pure bytes.

    header (128 bytes) | chunk | chunk | ... | table (16 bytes a chunk) | footer (64 bytes)

The layout is specified in docs/bucket-format.md. Every chunk stands for 1 MiB of the segment file
(the last one for the rest), so that a range of the file costs the end of the object, once, and one
range of chunks.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import zstandard

from tapectl.medium.checksum import crc32c
from tapectl.medium.errors import MediumFormatError

FORMAT_VERSION = 1
OBJECT_HEADER_BYTES = 128
OBJECT_FOOTER_BYTES = 64
CHUNK_BYTES = 1 << 20
# The footer and the table of a segment of half a GiB: what one request for the end should ask for.
OBJECT_TAIL_BYTES = 8192 + OBJECT_FOOTER_BYTES

_HEADER_MAGIC = b"tapeOBJ1"
_FOOTER_MAGIC = b"tapeOBE1"
_CRC = struct.Struct(">I")
# magic, version, header bytes, chunk bytes, tape uuid, barcode, sequence, raw bytes
_HEADER = struct.Struct(">8sHHI16s32sQQ")
# magic, version, footer bytes, chunks, chunk bytes, CRC32C of the table, sequence, raw bytes, table
# offset
_FOOTER = struct.Struct(">8sHHIIIQQQ")
# stored bytes, encoding, CRC32C of the stored bytes, CRC32C of the raw bytes
_ENTRY = struct.Struct(">IIII")
_STORED_RAW, _STORED_ZSTD = 0, 1


@dataclass(frozen=True, slots=True)
class ObjectHeader:
    """Whose segment it is, and how long its file is; `raw_bytes` is the whole sealed file."""

    tape_uuid: uuid.UUID
    barcode: str
    sequence: int
    raw_bytes: int

    def encode(self) -> bytes:
        """Return the first 128 bytes of the object."""
        fields = _HEADER.pack(
            _HEADER_MAGIC,
            FORMAT_VERSION,
            OBJECT_HEADER_BYTES,
            CHUNK_BYTES,
            self.tape_uuid.bytes,
            self.barcode.encode("ascii"),
            self.sequence,
            self.raw_bytes,
        )
        return _with_crc(fields, OBJECT_HEADER_BYTES)

    @classmethod
    def decode(cls, data: bytes) -> ObjectHeader:
        """Decode the first 128 bytes of an object; raise MediumFormatError if they are none."""
        _check(data, OBJECT_HEADER_BYTES, _HEADER_MAGIC)
        _, _, _, _, tape_uuid, barcode, sequence, raw_bytes = _HEADER.unpack_from(data)
        return cls(
            uuid.UUID(bytes=tape_uuid), barcode.rstrip(b"\0").decode("ascii"), sequence, raw_bytes
        )


def encode_object(
    header: ObjectHeader, chunks: Iterable[bytes | memoryview], *, level: int | None
) -> Iterator[bytes | memoryview]:
    """Yield the pieces of an object in order; a piece is good until the next is asked for.

    `chunks` are the CHUNK_BYTES long pieces of the segment file, the last one what remains.
    `level` is zstd's, None stores every chunk raw. Raises MediumFormatError if they are not
    `header.raw_bytes` long together.
    """
    yield header.encode()
    compressor = None
    if level is not None:
        compressor = zstandard.ZstdCompressor(level=level, write_checksum=False)
    entries = bytearray()
    offset, raw_bytes = OBJECT_HEADER_BYTES, 0
    for raw in chunks:
        packed = raw if compressor is None else compressor.compress(raw)
        shrinks = len(packed) < len(raw)
        stored = packed if shrinks else raw
        entries += _ENTRY.pack(
            len(stored), _STORED_ZSTD if shrinks else _STORED_RAW, crc32c(stored), crc32c(raw)
        )
        yield stored
        offset += len(stored)
        raw_bytes += len(raw)
    if raw_bytes != header.raw_bytes or len(entries) // _ENTRY.size != _chunk_count(raw_bytes):
        raise MediumFormatError(
            f"segment {header.sequence} has {raw_bytes} bytes, not {header.raw_bytes}"
        )
    yield bytes(entries)
    fields = _FOOTER.pack(
        _FOOTER_MAGIC,
        FORMAT_VERSION,
        OBJECT_FOOTER_BYTES,
        len(entries) // _ENTRY.size,
        CHUNK_BYTES,
        crc32c(entries),
        header.sequence,
        raw_bytes,
        offset,
    )
    yield _with_crc(fields, OBJECT_FOOTER_BYTES)


@dataclass(frozen=True, slots=True)
class ObjectFooter:
    """The last 64 bytes of an object: where its chunk table is."""

    sequence: int
    raw_bytes: int
    chunk_count: int
    table_offset: int
    table_crc: int

    @property
    def table_bytes(self) -> int:
        return self.chunk_count * _ENTRY.size

    @classmethod
    def decode(cls, data: bytes) -> ObjectFooter:
        """Decode the last 64 bytes of an object; raise MediumFormatError if they are none."""
        _check(data, OBJECT_FOOTER_BYTES, _FOOTER_MAGIC)
        _, _, _, count, chunk_bytes, crc, sequence, raw_bytes, offset = _FOOTER.unpack_from(data)
        if chunk_bytes != CHUNK_BYTES or count != _chunk_count(raw_bytes):
            raise MediumFormatError(f"footer of segment {sequence} contradicts itself")
        return cls(sequence, raw_bytes, count, offset, crc)


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk: where it is in the object and what it stands for in the segment file."""

    offset: int
    stored_bytes: int
    encoding: int
    stored_crc: int
    raw_crc: int
    raw_offset: int
    raw_bytes: int

    def decode(self, stored: bytes | memoryview) -> bytes | memoryview:
        """Return the bytes of the segment file; raise MediumFormatError if any are damaged.

        A chunk that is stored raw is returned as the view that was given.
        """
        if len(stored) != self.stored_bytes or crc32c(stored) != self.stored_crc:
            raise MediumFormatError(f"checksum of the chunk at {self.offset}")
        raw: bytes | memoryview = stored
        if self.encoding == _STORED_ZSTD:
            try:
                raw = zstandard.ZstdDecompressor().decompress(
                    stored, max_output_size=self.raw_bytes, allow_extra_data=False
                )
            except zstandard.ZstdError as error:
                raise MediumFormatError(f"chunk at {self.offset}: {error}") from error
        if len(raw) != self.raw_bytes or crc32c(raw) != self.raw_crc:
            raise MediumFormatError(f"checksum of the segment at {self.raw_offset}")
        return raw


def decode_table(footer: ObjectFooter, data: bytes | memoryview) -> Sequence[StoredChunk]:
    """Decode the table that the footer speaks of; raise MediumFormatError on damage."""
    if len(data) != footer.table_bytes or crc32c(data) != footer.table_crc:
        raise MediumFormatError(f"checksum of the chunk table of segment {footer.sequence}")
    chunks = []
    offset = OBJECT_HEADER_BYTES
    for number, (stored_bytes, encoding, stored_crc, raw_crc) in enumerate(
        _ENTRY.iter_unpack(data)
    ):
        if encoding not in (_STORED_RAW, _STORED_ZSTD):
            raise MediumFormatError(f"encoding {encoding} of a chunk, this program knows 0 and 1")
        raw_offset = number * CHUNK_BYTES
        raw_bytes = min(CHUNK_BYTES, footer.raw_bytes - raw_offset)
        chunks.append(
            StoredChunk(offset, stored_bytes, encoding, stored_crc, raw_crc, raw_offset, raw_bytes)
        )
        offset += stored_bytes
    if offset != footer.table_offset:
        raise MediumFormatError(f"chunk table of segment {footer.sequence} contradicts its footer")
    return chunks


def chunk_numbers(raw_offset: int, size_bytes: int, raw_bytes: int) -> range:
    """Return the numbers of the chunks that hold a range of a segment file of `raw_bytes`."""
    end = min(raw_offset + size_bytes, raw_bytes)
    if raw_offset >= end:
        return range(0)
    return range(raw_offset // CHUNK_BYTES, (end - 1) // CHUNK_BYTES + 1)


def _chunk_count(raw_bytes: int) -> int:
    return -(-raw_bytes // CHUNK_BYTES)


def _with_crc(fields: bytes, size_bytes: int) -> bytes:
    body = fields.ljust(size_bytes - _CRC.size, b"\0")
    return body + _CRC.pack(crc32c(body))


def _check(data: bytes, size_bytes: int, magic: bytes) -> None:
    if len(data) != size_bytes or data[:8] != magic:
        raise MediumFormatError(f"no {magic.decode()} of {size_bytes} bytes")
    (crc,) = _CRC.unpack_from(data, size_bytes - _CRC.size)
    if crc != crc32c(data[: size_bytes - _CRC.size]):
        raise MediumFormatError(f"checksum of {magic.decode()}")
    version = int.from_bytes(data[8:10], "big")
    if version != FORMAT_VERSION:
        raise MediumFormatError(f"version {version} of the format, this program knows 1")
