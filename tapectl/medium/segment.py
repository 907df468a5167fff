"""The segment file: header, frames, and when sealed an index and a footer. Pure bytes.

    header (256 bytes) | frame | frame | ... | index (12 bytes a run) | footer (128 bytes)

The layout is specified in docs/medium-format.md. A sealed segment is read from its end: the footer
says where the index is. One that was never sealed, or whose end is damaged, is known by `scan`.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from tapectl.medium.checksum import crc32c
from tapectl.medium.errors import MediumFormatError
from tapectl.medium.frame import FRAME_HEADER_BYTES, FrameKind, decode_frame
from tapectl.medium.run_index import RUN_ENTRY_BYTES, RunIndex
from tapectl.medium.summary import SegmentSummary, Totals

FORMAT_VERSION = 1
SEGMENT_HEADER_BYTES = 256
SEGMENT_FOOTER_BYTES = 128

_HEADER_MAGIC = b"tapeSEG1"
_FOOTER_MAGIC = b"tapeEND1"
_CRC = struct.Struct(">I")
# magic, version, header bytes, partition, tape uuid, barcode, sequence, first object, file number,
# data bytes before, created (ms since 1970), follows
_HEADER = struct.Struct(">8sHHI16s32sQQQQQQ")
# magic, version, footer bytes, partition, sequence, first object, objects, filemarks, data bytes,
# file bytes, index offset, index runs, CRC32C of the index, erases
_FOOTER = struct.Struct(">8sHHIQQQQQQQIIB")


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """What a segment says of itself at its start.

    `file_number` and `data_bytes_before` count the filemarks and the bytes of user data of the
    partition before `first_object`. `follows` is the sequence number of the segment at whose end
    this one goes on, 0 if there is none: without all of that one, this one means nothing.
    """

    tape_uuid: uuid.UUID
    barcode: str
    sequence: int
    first_object: int
    file_number: int
    data_bytes_before: int
    created_ms: int
    partition: int = 0
    follows: int = 0

    def encode(self) -> bytes:
        """Return the first 256 bytes of the segment."""
        fields = _HEADER.pack(
            _HEADER_MAGIC,
            FORMAT_VERSION,
            SEGMENT_HEADER_BYTES,
            self.partition,
            self.tape_uuid.bytes,
            self.barcode.encode("ascii"),
            self.sequence,
            self.first_object,
            self.file_number,
            self.data_bytes_before,
            self.created_ms,
            self.follows,
        )
        return _with_crc(fields, SEGMENT_HEADER_BYTES)

    @classmethod
    def decode(cls, data: bytes | memoryview) -> SegmentHeader:
        """Decode the first 256 bytes of a segment; raise MediumFormatError if they are none."""
        _check(data, SEGMENT_HEADER_BYTES, _HEADER_MAGIC)
        (
            _,
            _,
            _,
            partition,
            tape_uuid,
            barcode,
            sequence,
            first_object,
            file_number,
            before,
            ms,
            follows,
        ) = _HEADER.unpack_from(data)
        return cls(
            tape_uuid=uuid.UUID(bytes=tape_uuid),
            barcode=barcode.rstrip(b"\0").decode("ascii"),
            sequence=sequence,
            first_object=first_object,
            file_number=file_number,
            data_bytes_before=before,
            created_ms=ms,
            partition=partition,
            follows=follows,
        )


@dataclass(frozen=True, slots=True)
class SegmentFooter:
    """The last 128 bytes of a sealed segment: its summary, and where its index is."""

    summary: SegmentSummary
    index_offset: int
    index_runs: int
    index_crc: int

    @property
    def index_bytes(self) -> int:
        return self.index_runs * RUN_ENTRY_BYTES

    @classmethod
    def decode(cls, data: bytes | memoryview) -> SegmentFooter:
        """Decode the last 128 bytes of a segment; raise MediumFormatError if they are none."""
        _check(data, SEGMENT_FOOTER_BYTES, _FOOTER_MAGIC)
        (_, _, _, partition, *summary, index_offset, runs, crc, erases) = _FOOTER.unpack_from(data)
        sequence, first_object, object_count, filemark_count, data_bytes, file_bytes = summary
        footer = cls(
            SegmentSummary(
                sequence=sequence,
                first_object=first_object,
                object_count=object_count,
                filemark_count=filemark_count,
                data_bytes=data_bytes,
                file_bytes=file_bytes,
                partition=partition,
                erases=bool(erases),
            ),
            index_offset,
            runs,
            crc,
        )
        if index_offset + footer.index_bytes + SEGMENT_FOOTER_BYTES != file_bytes:
            raise MediumFormatError(f"footer places the index of segment {sequence} elsewhere")
        return footer

    def decode_index(self, data: bytes | memoryview) -> RunIndex:
        """Decode the index bytes that the footer speaks of; raise MediumFormatError on damage."""
        if crc32c(data) != self.index_crc:
            raise MediumFormatError(f"checksum of the index of segment {self.summary.sequence}")
        index = RunIndex.decode(data, start_offset=SEGMENT_HEADER_BYTES)
        found = (index.object_count, index.filemark_count, index.data_bytes)
        summary = self.summary
        if found != (summary.object_count, summary.filemark_count, summary.data_bytes):
            raise MediumFormatError(f"index and footer of segment {summary.sequence} disagree")
        return index


def summarize(header: SegmentHeader, index: RunIndex, *, erases: bool) -> SegmentSummary:
    """Return what a segment is once it is sealed with this index."""
    frames_end = index.end_offset + (FRAME_HEADER_BYTES if erases else 0)
    return SegmentSummary(
        sequence=header.sequence,
        first_object=header.first_object,
        object_count=index.object_count,
        filemark_count=index.filemark_count,
        data_bytes=index.data_bytes,
        file_bytes=frames_end + index.encoded_bytes() + SEGMENT_FOOTER_BYTES,
        partition=header.partition,
        erases=erases,
        before=Totals(header.file_number, header.data_bytes_before),
    )


def encode_tail(summary: SegmentSummary, index: RunIndex) -> bytes:
    """Return index and footer: the last bytes of a sealed file of `summary.file_bytes`."""
    entries = index.encode()
    fields = _FOOTER.pack(
        _FOOTER_MAGIC,
        FORMAT_VERSION,
        SEGMENT_FOOTER_BYTES,
        summary.partition,
        summary.sequence,
        summary.first_object,
        summary.object_count,
        summary.filemark_count,
        summary.data_bytes,
        summary.file_bytes,
        summary.file_bytes - SEGMENT_FOOTER_BYTES - len(entries),
        index.run_count,
        crc32c(entries),
        summary.erases,
    )
    return entries + _with_crc(fields, SEGMENT_FOOTER_BYTES)


@dataclass(frozen=True, slots=True)
class ScannedSegment:
    """What the frames of a segment say, its index and footer not looked at."""

    header: SegmentHeader
    index: RunIndex
    erases: bool

    @property
    def summary(self) -> SegmentSummary:
        return summarize(self.header, self.index, erases=self.erases)

    @property
    def end_offset(self) -> int:
        """Where the last whole frame ends in the file."""
        return self.index.end_offset + self.erases * FRAME_HEADER_BYTES


def scan(
    header: SegmentHeader, read_frame: Callable[[int, int], tuple[FrameKind, int] | None]
) -> ScannedSegment:
    """Rebuild a segment from its frames alone, up to the first that is not whole.

    `read_frame(offset, number)` returns what `frame_at` says of the bytes at an offset of the file.
    """
    index = RunIndex(SEGMENT_HEADER_BYTES)
    while True:
        number = header.first_object + index.object_count
        frame = read_frame(index.end_offset, number)
        if frame is None or frame[0] is FrameKind.END_OF_DATA:
            return ScannedSegment(header, index, erases=frame is not None)
        index.append(*frame)


def frame_at(data: memoryview, number: int, sequence: int) -> tuple[FrameKind, int] | None:
    """Return kind and payload length of the whole, undamaged frame at the start of `data`.

    None if it is not that of object `number` of segment `sequence`, or damaged, or cut short.
    """
    frame = decode_frame(data[:FRAME_HEADER_BYTES])
    if frame is None or (frame.number, frame.sequence) != (number, sequence & 0xFFFFFFFF):
        return None
    payload = data[FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + frame.length]
    if len(payload) != frame.length or crc32c(payload) != frame.payload_crc:
        return None
    return frame.kind, frame.length


def _with_crc(fields: bytes, size_bytes: int) -> bytes:
    body = fields.ljust(size_bytes - _CRC.size, b"\0")
    return body + _CRC.pack(crc32c(body))


def _check(data: bytes | memoryview, size_bytes: int, magic: bytes) -> None:
    if len(data) != size_bytes or data[:8] != magic:
        raise MediumFormatError(f"no {magic.decode()} of {size_bytes} bytes")
    (crc,) = _CRC.unpack_from(data, size_bytes - _CRC.size)
    if crc != crc32c(data[: size_bytes - _CRC.size]):
        raise MediumFormatError(f"checksum of {magic.decode()}")
    version = int.from_bytes(data[8:10], "big")
    if version != FORMAT_VERSION:
        raise MediumFormatError(f"version {version} of the format, this program knows 1")
