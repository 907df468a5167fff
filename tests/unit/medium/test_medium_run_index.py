"""The run-length coded index of a segment."""

from __future__ import annotations

import random

import pytest

from tapectl.medium.errors import MediumFormatError
from tapectl.medium.frame import FrameKind
from tapectl.medium.run_index import RUN_ENTRY_BYTES, Run, RunIndex

BLOCK, FILEMARK = FrameKind.BLOCK, FrameKind.FILEMARK


def build(objects):
    index = RunIndex(256)
    for length in objects:
        index.append(FILEMARK if length is None else BLOCK, length or 0)
    return index


def test_equal_blocks_are_one_run():
    index = build([1000] * 10_000)
    assert index.run_count == 1
    assert index.run_at(9_999) == Run(BLOCK, 1000, 0, 10_000, 256)
    assert index.offset_of(9_999) == 256 + 9_999 * 1032
    assert index.data_bytes == 10_000_000


def test_lookups_agree_with_a_walk():
    rng = random.Random(1)
    objects = [rng.choice([None, None, 7, 7, 100]) for _ in range(300)]
    for index in (build(objects), RunIndex.decode(build(objects).encode(), start_offset=256)):
        offset, filemarks, data_bytes = 256, 0, 0
        for ordinal, length in enumerate(objects):
            assert index.offset_of(ordinal) == offset
            assert index.filemarks_before(ordinal) == filemarks
            assert index.data_bytes_before(ordinal) == data_bytes
            assert index.run_at(ordinal).length == (length or 0)
            if length is None:
                assert index.filemark(filemarks) == ordinal
                filemarks += 1
            offset += 32 + (length or 0)
            data_bytes += length or 0
        assert index.end_offset == offset
        assert (index.object_count, index.filemark_count) == (300, filemarks)
        assert index.data_bytes == data_bytes


@pytest.mark.parametrize("ordinal", [-1, 3])
def test_objects_that_are_not_there(ordinal):
    index = build([1, None, 1])
    with pytest.raises(IndexError):
        index.run_at(ordinal)
    with pytest.raises(IndexError):
        index.filemark(ordinal)


@pytest.mark.parametrize(
    "entry",
    [
        bytes(RUN_ENTRY_BYTES),  # no kind
        bytes.fromhex("01000000 00000000 00000001"),  # a block of no bytes
        bytes.fromhex("01000000 01000000 00000001"),  # a block of 16 MiB
        bytes.fromhex("02000000 00000001 00000001"),  # a filemark with a payload
        bytes.fromhex("03000000 00000000 00000001"),  # END_OF_DATA is in no index
        bytes.fromhex("01000000 00000001 00000000"),  # a run of nothing
        b"short",
    ],
)
def test_what_no_index_holds_is_refused(entry):
    with pytest.raises(MediumFormatError):
        RunIndex.decode(entry, start_offset=256)
