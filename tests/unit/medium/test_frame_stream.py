"""The objects of a segment come of its bytes, however those are cut, or are refused."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapectl.medium.errors import MediumFormatError
from tapectl.medium.frame import FRAME_HEADER_BYTES, FrameEncoder, FrameKind
from tapectl.medium.frame_stream import FrameStream
from tapectl.medium.segment import SEGMENT_HEADER_BYTES, SegmentHeader

TAPE, SEQUENCE, FIRST = uuid.UUID(int=7), 5, 100
BLOCKS = [b"label", bytes(3000), b"\xff" * 70, b"x"]
OBJECTS = [*((FrameKind.BLOCK, one) for one in BLOCKS), (FrameKind.FILEMARK, b"")]


def segment() -> bytes:
    header = SegmentHeader(
        tape_uuid=TAPE,
        barcode="TEST01L5",
        sequence=SEQUENCE,
        first_object=FIRST,
        file_number=0,
        data_bytes_before=0,
        created_ms=0,
    )
    encoder = FrameEncoder(SEQUENCE)
    frames = b"".join(
        bytes(encoder.block(number, memoryview(one))) + one
        for number, one in enumerate(BLOCKS, FIRST)
    )
    last = FIRST + len(BLOCKS)
    marks = encoder.marks(FrameKind.FILEMARK, last) + encoder.marks(FrameKind.END_OF_DATA, last + 1)
    return header.encode() + frames + marks


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    ends = sorted(place % (len(data) + 1) for place in places)
    for start, end in zip([0, *ends], [*ends, len(data)], strict=True):
        yield data[start:end]


def read(pieces: Iterator[bytes], count: int = len(OBJECTS)) -> list[tuple[FrameKind, bytes]]:
    stream = FrameStream(pieces, SEQUENCE)
    stream.read_header(TAPE)
    return list(stream.objects(FIRST, count))


@given(st.lists(st.integers(0, 1 << 16), max_size=20))
def test_pieces_end_anywhere(places: list[int]) -> None:
    assert read(cut(segment(), places)) == OBJECTS


@given(st.data())
def test_no_byte_can_be_another(data: st.DataObject) -> None:
    damaged = bytearray(segment())
    at = data.draw(st.integers(0, len(damaged) - FRAME_HEADER_BYTES - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MediumFormatError):
        read(cut(bytes(damaged), []))


@given(st.integers(0, 4000))
def test_a_segment_that_ends_too_soon(missing_bytes: int) -> None:
    whole = segment()[:-FRAME_HEADER_BYTES]
    with pytest.raises(MediumFormatError):
        read(cut(whole[: -1 - missing_bytes], []))


def test_what_is_not_the_segment_that_was_asked_for() -> None:
    with pytest.raises(MediumFormatError):
        read(cut(segment(), []), len(OBJECTS) + 1)  # end of data is no object
    with pytest.raises(MediumFormatError):
        FrameStream([segment()], SEQUENCE + 1).read_header(TAPE)
    with pytest.raises(MediumFormatError):
        FrameStream([segment()], SEQUENCE).read_header(uuid.UUID(int=8))
    frames = segment()[SEGMENT_HEADER_BYTES:]
    for sequence, first in ((SEQUENCE + 1, FIRST), (SEQUENCE, FIRST + 1)):
        with pytest.raises(MediumFormatError):
            list(FrameStream([frames], sequence).objects(first, 1))
