"""The memory that segments are read and encoded in."""

from __future__ import annotations

import uuid

from tapectl.gateway.transfer.segment_files import SegmentBuffers
from tapectl.medium.segment_object import ObjectHeader


def header(raw_bytes: int) -> ObjectHeader:
    return ObjectHeader(uuid.UUID(int=1), "HELD01L5", 1, raw_bytes)


def test_an_object_that_a_broken_request_still_holds_is_left_to_it() -> None:
    buffers = SegmentBuffers()
    first = buffers.encode(memoryview(bytes(5000)), header(5000), compression=False)
    content, held = bytes(first), memoryview(first)
    second = buffers.encode(memoryview(b"x" * 9000), header(9000), compression=False)
    assert len(second) > len(first)
    assert held == content


def test_memory_that_nobody_holds_is_used_again() -> None:
    buffers = SegmentBuffers()
    first = buffers.encode(memoryview(bytes(5000)), header(5000), compression=True)
    assert buffers.encode(memoryview(bytes(9000)), header(9000), compression=True) is first
