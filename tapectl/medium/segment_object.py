"""A segment as an object of the store: header, compressed chunks, chunk table, footer. Pure bytes.

    header (128 bytes) | chunk | chunk | ... | table (16 bytes a chunk) | footer (64 bytes)

The layout is specified in docs/bucket-format.md. Every chunk stands for 1 MiB of the segment file
(the last one for the rest), so that a range of the file costs the end of the object, once, and one
range of chunks. In a sealed object, version 2, every chunk is encrypted (`sealing`).
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import zstandard

from tapectl.medium.checksum import crc32c
from tapectl.medium.errors import MediumFormatError
from tapectl.medium.sealing import ObjectSeal, TapeSeal

_PLAIN_VERSION, _SEALED_VERSION = 1, 2
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
# stored bytes, encoding, CRC32C of the stored bytes, CRC32C of the raw bytes (sealed: 0)
_ENTRY = struct.Struct(">IIII")
_STORED_RAW, _STORED_ZSTD = 0, 1


@dataclass(frozen=True, slots=True)
class ObjectHeader:
    """Whose segment it is, and how long its file is; `raw_bytes` is the whole segment file."""

    tape_uuid: uuid.UUID
    barcode: str
    sequence: int
    raw_bytes: int

    def encode(self, *, sealed: bool = False) -> bytes:
        """Return the first 128 bytes of the object."""
        fields = _HEADER.pack(
            _HEADER_MAGIC,
            _SEALED_VERSION if sealed else _PLAIN_VERSION,
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
    header: ObjectHeader,
    chunks: Iterable[bytes | memoryview],
    *,
    level: int | None,
    lock: ObjectSeal | None = None,
) -> Iterator[bytes | memoryview]:
    """Yield the pieces of an object in order; a piece is good until the next is asked for.

    `chunks` are the CHUNK_BYTES long pieces of the segment file, the last one what remains.
    `level` is zstd's, None stores every chunk as it is. A `lock` seals each of them. Raises
    MediumFormatError if they are not `header.raw_bytes` long together.
    """
    yield header.encode(sealed=lock is not None)
    compressor = None
    if level is not None:
        compressor = zstandard.ZstdCompressor(level=level, write_checksum=False)
    entries = bytearray()
    offset, raw_bytes = OBJECT_HEADER_BYTES, 0
    for number, raw in enumerate(chunks):
        packed = raw if compressor is None else compressor.compress(raw)
        shrinks = len(packed) < len(raw)
        stored = packed if shrinks else raw
        encoding, raw_crc = _STORED_ZSTD if shrinks else _STORED_RAW, crc32c(raw)
        if lock is not None:
            # The checksum of what nobody is to read would tell who guesses that he is right.
            stored, raw_crc = lock.seal(number, encoding, raw_crc, stored), 0
        entries += _ENTRY.pack(len(stored), encoding, crc32c(stored), raw_crc)
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
        _PLAIN_VERSION if lock is None else _SEALED_VERSION,
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
    """The last 64 bytes of an object: where its chunk table is; `sealed`: its chunks are."""

    sequence: int
    raw_bytes: int
    chunk_count: int
    table_offset: int
    table_crc: int
    sealed: bool = False

    @property
    def table_bytes(self) -> int:
        return self.chunk_count * _ENTRY.size

    @classmethod
    def decode(cls, data: bytes) -> ObjectFooter:
        """Decode the last 64 bytes of an object; raise MediumFormatError if they are none."""
        version = _check(data, OBJECT_FOOTER_BYTES, _FOOTER_MAGIC)
        _, _, _, count, chunk_bytes, crc, sequence, raw_bytes, offset = _FOOTER.unpack_from(data)
        if chunk_bytes != CHUNK_BYTES or count != _chunk_count(raw_bytes):
            raise MediumFormatError(f"footer of segment {sequence} contradicts itself")
        return cls(sequence, raw_bytes, count, offset, crc, version == _SEALED_VERSION)


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk: where it is in the object and what it stands for in the segment file. `lock` opens
    what is sealed, `number` is its own in the object."""

    number: int
    offset: int
    stored_bytes: int
    encoding: int
    stored_crc: int
    raw_crc: int
    raw_offset: int
    raw_bytes: int
    lock: ObjectSeal | None = None

    def decode(self, stored: bytes | memoryview) -> bytes | memoryview:
        """Return the bytes of the segment file; raise MediumFormatError if any are damaged.

        A chunk that is stored as it is is returned as the view that was given.
        """
        if len(stored) != self.stored_bytes or crc32c(stored) != self.stored_crc:
            raise MediumFormatError(f"checksum of the chunk at {self.offset}")
        packed, raw_crc = stored, self.raw_crc
        if self.lock is not None:
            raw_crc, packed = self.lock.open(self.number, self.encoding, stored)
        raw = packed
        if self.encoding == _STORED_ZSTD:
            try:
                raw = zstandard.ZstdDecompressor().decompress(
                    packed, max_output_size=self.raw_bytes, allow_extra_data=False
                )
            except zstandard.ZstdError as error:
                raise MediumFormatError(f"chunk at {self.offset}: {error}") from error
        if len(raw) != self.raw_bytes or crc32c(raw) != raw_crc:
            raise MediumFormatError(f"checksum of the segment at {self.raw_offset}")
        return raw


def decode_table(
    footer: ObjectFooter, data: bytes | memoryview, *, seal: TapeSeal | None = None
) -> Sequence[StoredChunk]:
    """Decode the table that the footer speaks of; `seal` is that of a tape whose objects are
    sealed. Raises MediumFormatError on damage, and where only one of the two is so."""
    if len(data) != footer.table_bytes or crc32c(data) != footer.table_crc:
        raise MediumFormatError(f"checksum of the chunk table of segment {footer.sequence}")
    if footer.sealed != (seal is not None):
        found = "" if footer.sealed else "not "
        raise MediumFormatError(f"segment {footer.sequence} is {found}encrypted")
    lock = None if seal is None else seal.of_object(footer.sequence, footer.raw_bytes)
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
            StoredChunk(
                number,
                offset,
                stored_bytes,
                encoding,
                stored_crc,
                raw_crc,
                raw_offset,
                raw_bytes,
                lock,
            )
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


def _check(data: bytes, size_bytes: int, magic: bytes) -> int:
    """Return the version of the format; raise MediumFormatError."""
    if len(data) != size_bytes or data[:8] != magic:
        raise MediumFormatError(f"no {magic.decode()} of {size_bytes} bytes")
    (crc,) = _CRC.unpack_from(data, size_bytes - _CRC.size)
    if crc != crc32c(data[: size_bytes - _CRC.size]):
        raise MediumFormatError(f"checksum of {magic.decode()}")
    version = int.from_bytes(data[8:10], "big")
    if version not in (_PLAIN_VERSION, _SEALED_VERSION):
        raise MediumFormatError(f"version {version} of the format, this program knows 1 and 2")
    return version
