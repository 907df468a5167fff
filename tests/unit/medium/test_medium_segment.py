"""Segment headers, footers and what is rebuilt from frames alone."""

from __future__ import annotations

import uuid

import pytest

from tapectl.medium.errors import MediumFormatError
from tapectl.medium.frame import FrameEncoder, FrameKind
from tapectl.medium.run_index import RunIndex
from tapectl.medium.segment import (
    SEGMENT_FOOTER_BYTES,
    SEGMENT_HEADER_BYTES,
    SegmentFooter,
    SegmentHeader,
    encode_tail,
    frame_at,
    scan,
    summarize,
)

HEADER = SegmentHeader(
    tape_uuid=uuid.UUID("6a1c1b1e-5f0e-4b39-9c3c-3c4d5e6f7a8b"),
    barcode="TAP001L5",
    sequence=3,
    first_object=7,
    file_number=2,
    data_bytes_before=500,
    created_ms=1_700_000_000_000,
)


def segment(*, erases=False) -> bytes:
    """Return a sealed segment: a block of 9 bytes, two filemarks, a block of 4 bytes."""
    encoder, index = FrameEncoder(3), RunIndex(SEGMENT_HEADER_BYTES)
    parts = [HEADER.encode()]
    for number, payload in ((7, b"123456789"), (8, None), (9, None), (10, b"last")):
        if payload is None:
            parts.append(encoder.marks(FrameKind.FILEMARK, number))
        else:
            parts += [bytes(encoder.block(number, memoryview(payload))), payload]
        index.append(
            FrameKind.FILEMARK if payload is None else FrameKind.BLOCK, len(payload or b"")
        )
    if erases:
        parts.append(encoder.marks(FrameKind.END_OF_DATA, 11))
    return b"".join([*parts, encode_tail(summarize(HEADER, index, erases=erases), index)])


def scan_bytes(data: bytes):
    view = memoryview(data)
    return scan(
        SegmentHeader.decode(view[:SEGMENT_HEADER_BYTES]),
        lambda offset, number: frame_at(view[offset:], number, HEADER.sequence),
    )


def test_header_is_the_bytes_of_the_specification():
    data = HEADER.encode()
    assert len(data) == 256
    assert data[:104] == bytes.fromhex(
        "7461706553454731 0001 0100 00000000 6a1c1b1e5f0e4b399c3c3c4d5e6f7a8b"
        "5441503030314c35 0000000000000000 0000000000000000 0000000000000000"
        "0000000000000003 0000000000000007 0000000000000002 00000000000001f4 0000018bcfe56800"
    )
    assert data[104:252] == bytes(148)
    assert SegmentHeader.decode(data) == HEADER


@pytest.mark.parametrize("erases", [False, True])
def test_a_sealed_segment_is_known_from_its_end(erases):
    data = segment(erases=erases)
    footer = SegmentFooter.decode(data[-SEGMENT_FOOTER_BYTES:])
    summary = footer.summary
    assert (summary.sequence, summary.first_object, summary.object_count) == (3, 7, 4)
    assert (summary.filemark_count, summary.data_bytes, summary.erases) == (2, 13, erases)
    assert summary.file_bytes == len(data)
    index = footer.decode_index(data[footer.index_offset :][: footer.index_bytes])
    assert [index.run_at(at).length for at in range(4)] == [9, 0, 0, 4]
    assert index.run_count == 3


@pytest.mark.parametrize("erases", [False, True])
def test_the_frames_alone_say_the_same(erases):
    data = segment(erases=erases)
    assert scan_bytes(data).summary == SegmentFooter.decode(data[-SEGMENT_FOOTER_BYTES:]).summary


def test_a_segment_cut_at_any_byte_keeps_its_whole_frames():
    data = segment()
    ends = [256, 256 + 41, 256 + 73, 256 + 105, 256 + 141]  # after header, and after each object
    for length in range(256, ends[-1] + 1):
        whole = sum(end <= length for end in ends) - 1
        for rest in (b"", bytes(300)):  # the file ends there, or is preallocated zeros
            assert scan_bytes(data[:length] + rest).index.object_count == whole


@pytest.mark.parametrize("at", range(0, SEGMENT_FOOTER_BYTES, 3))
def test_a_damaged_footer_is_refused(at):
    footer = bytearray(segment()[-SEGMENT_FOOTER_BYTES:])
    footer[at] ^= 0x10
    with pytest.raises(MediumFormatError):
        SegmentFooter.decode(bytes(footer))


def test_a_damaged_index_is_refused():
    data = segment()
    footer = SegmentFooter.decode(data[-SEGMENT_FOOTER_BYTES:])
    index = bytearray(data[footer.index_offset :][: footer.index_bytes])
    index[5] ^= 1
    with pytest.raises(MediumFormatError):
        footer.decode_index(bytes(index))


@pytest.mark.parametrize("data", [b"", bytes(256), HEADER.encode()[:-1]])
def test_other_bytes_are_no_header(data):
    with pytest.raises(MediumFormatError):
        SegmentHeader.decode(data)
