"""Frames: bytes as docs/medium-format.md has them, and no damage that goes unseen."""

from __future__ import annotations

import pytest

from tapectl.medium.frame import (
    BLOCK_BYTES_MAX,
    FRAME_HEADER_BYTES,
    Frame,
    FrameEncoder,
    FrameKind,
    decode_frame,
    is_block,
)

PAYLOAD = memoryview(b"123456789")
# CRC32C of "123456789" is E3069283h: the check value of the polynomial's definition.
BLOCK_HEADER = "54704672 01000000 0000000000000007 00000009 e3069283 00000003"


def test_a_block_is_the_bytes_of_the_specification():
    header = bytes(FrameEncoder(3).block(7, PAYLOAD))
    assert header[:28] == bytes.fromhex(BLOCK_HEADER)
    assert decode_frame(header) == Frame(FrameKind.BLOCK, 7, 9, 0xE3069283, 3)


def test_filemarks_are_numbered_one_by_one_and_have_no_payload():
    marks = FrameEncoder(3).marks(FrameKind.FILEMARK, 7, 3)
    frames = [decode_frame(marks[at : at + 32]) for at in range(0, 96, 32)]
    assert frames == [Frame(FrameKind.FILEMARK, number, 0, 0, 3) for number in (7, 8, 9)]


def test_equal_blocks_are_not_copied():
    data = memoryview(bytearray(b"aabbcc"))
    buffers = FrameEncoder(3).blocks(7, data, 2)
    assert [bytes(part) for part in buffers[1::2]] == [b"aa", b"bb", b"cc"]
    assert buffers[1].obj is data.obj
    numbers = [decode_frame(part).number for part in buffers[::2]]
    assert numbers == [7, 8, 9]


@pytest.mark.parametrize("bit", range(8 * FRAME_HEADER_BYTES))
def test_any_flipped_bit_of_a_header_is_seen(bit):
    header = bytearray(FrameEncoder(3).block(7, PAYLOAD))
    header[bit // 8] ^= 1 << bit % 8
    assert decode_frame(header) is None


@pytest.mark.parametrize("bit", range(8 * len(PAYLOAD)))
def test_any_flipped_bit_of_a_payload_is_seen(bit):
    header = memoryview(bytes(FrameEncoder(3).block(7, PAYLOAD)))
    payload = bytearray(PAYLOAD)
    payload[bit // 8] ^= 1 << bit % 8
    assert is_block(header, 7, 3, PAYLOAD)
    assert not is_block(header, 7, 3, memoryview(payload))


@pytest.mark.parametrize(("number", "sequence"), [(8, 3), (7, 4)])
def test_a_whole_block_of_another_place_is_not_taken(number, sequence):
    header = memoryview(bytes(FrameEncoder(3).block(7, PAYLOAD)))
    assert not is_block(header, number, sequence, PAYLOAD)


@pytest.mark.parametrize("data", [b"", b"TpFr", bytes(32), b"\xff" * 32])
def test_other_bytes_are_no_frame(data):
    assert decode_frame(data) is None


def test_the_longest_block_is_16_mib_less_one():
    payload = memoryview(bytes(BLOCK_BYTES_MAX))
    frame = decode_frame(FrameEncoder(1).block(0, payload))
    assert frame is not None
    assert frame.length == 16 * 1024 * 1024 - 1
