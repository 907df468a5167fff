"""Which segments count, after overwrites and erasures."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tapectl.medium.chain import Chain
from tapectl.medium.errors import ChainGapError
from tapectl.medium.summary import SegmentSummary, Totals


def summary(sequence, first, objects, *, filemarks=0, erases=False, partition=0):
    return SegmentSummary(sequence, first, objects, filemarks, 10 * objects, 999, partition, erases)


def no_counts(_summary, _objects):
    raise AssertionError("no segment is voided in part")


def half(segment, objects):
    """Filemarks stand at the end of a segment, blocks are of 10 bytes."""
    blocks = segment.object_count - segment.filemark_count
    return max(0, objects - blocks), 10 * min(objects, blocks)


def spans(chain):
    return [(entry.sequence, entry.first_object, entry.end_object) for entry in entries(chain)]


def entries(chain):
    return [chain.entry(at) for at in range(len(chain))]


def test_segments_one_after_the_other_all_count():
    chain = Chain.fold([summary(1, 0, 5, filemarks=1), summary(2, 5, 5)], no_counts)
    assert spans(chain) == [(1, 0, 5), (2, 5, 10)]
    assert (chain.end_object, chain.filemark_count, chain.data_bytes) == (10, 1, 100)


def test_an_overwrite_in_the_middle_of_a_segment_keeps_what_is_before_it():
    chain = Chain.fold([summary(1, 0, 10, filemarks=2), summary(2, 4, 3)], half)
    assert spans(chain) == [(1, 0, 4), (2, 4, 7)]
    assert (chain.filemark_count, chain.data_bytes) == (0, 70)


def test_an_overwrite_at_the_start_voids_everything():
    chain = Chain.fold([summary(1, 0, 5), summary(2, 5, 5), summary(3, 0, 1)], no_counts)
    assert spans(chain) == [(3, 0, 1)]


def test_a_segment_overwritten_twice_is_counted_once():
    asked = []

    def counts(segment, objects):
        asked.append((segment.sequence, objects))
        return half(segment, objects)

    segments = [summary(1, 0, 10), summary(2, 8, 5), summary(3, 6, 1)]
    assert spans(Chain.fold(segments, counts)) == [(1, 0, 6), (3, 6, 7)]
    assert asked == [(1, 6)]


def test_an_empty_segment_voids_nothing_and_one_that_erases_does():
    whole, empty = summary(1, 0, 5), summary(2, 0, 0)
    assert spans(Chain.fold([whole, empty], no_counts)) == [(1, 0, 5)]
    assert spans(Chain.fold([whole, summary(2, 0, 0, erases=True)], no_counts)) == []
    erased = Chain.fold([whole, summary(2, 3, 0, erases=True)], half)
    assert (spans(erased), erased.end_object) == ([(1, 0, 3)], 3)


def test_other_partitions_are_another_chain():
    segments = [summary(1, 0, 5), summary(2, 0, 3, partition=1)]
    assert spans(Chain.fold(segments, no_counts)) == [(1, 0, 5)]
    assert spans(Chain.fold(segments, no_counts, partition=1)) == [(2, 0, 3)]


def test_a_missing_segment_is_noticed():
    with pytest.raises(ChainGapError, match="segment 3 starts at object 9, but data ends at 5"):
        Chain.fold([summary(1, 0, 5), summary(3, 9, 2)], no_counts)


def test_lookups():
    chain = Chain.fold(
        [summary(1, 0, 5), summary(2, 5, 5, filemarks=2), summary(3, 10, 1, filemarks=1)], no_counts
    )
    assert [chain.find_object(at).sequence for at in (0, 4, 5, 9, 10)] == [1, 1, 2, 2, 3]
    assert [chain.find_filemark(at).sequence for at in (0, 1, 2)] == [2, 2, 3]
    with pytest.raises(IndexError):
        chain.find_object(11)
    with pytest.raises(IndexError):
        chain.find_filemark(3)


def test_what_a_segment_says_stands_before_it_needs_no_counting():
    """However often the one before was cut, and whatever became of what cut it."""

    def at(sequence, first, objects, before, *, erases=False):
        return replace(summary(sequence, first, objects, erases=erases), before=before)

    first = at(1, 0, 10, Totals(0, 0))
    cut = [first, at(2, 8, 5, Totals(2, 77)), at(3, 6, 1, Totals(1, 55))]
    chain = Chain.fold(cut, no_counts)
    assert spans(chain) == [(1, 0, 6), (3, 6, 7)]
    assert (chain.filemark_count, chain.data_bytes) == (1, 65)
    erased = Chain.fold([first, at(2, 4, 0, Totals(1, 30), erases=True)], no_counts)
    assert (erased.end_object, erased.filemark_count, erased.data_bytes) == (4, 1, 30)
    # Cut again by one that does not say it: what the one before said is not true of that.
    again = Chain.fold([first, at(2, 8, 5, Totals(2, 77)), summary(3, 6, 1)], half)
    assert (spans(again), again.data_bytes) == ([(1, 0, 6), (3, 6, 7)], 70)


def test_folding_is_the_same_as_appending_and_truncating():
    rng = random.Random(2)
    for _ in range(200):
        chain, segments = Chain(), []
        for sequence in range(1, rng.randint(2, 8)):
            first = rng.randint(0, chain.end_object)
            new = summary(sequence, first, rng.choice([0, 1, 4]), erases=rng.random() < 0.3)
            segments.append(new)
            if new.object_count or new.erases:
                chain.truncate(first, file_number=0, data_bytes=10 * first)
                chain.append(new)
        folded = Chain.fold(segments, half)
        assert entries(folded) == entries(chain)
        assert (folded.end_object, folded.data_bytes) == (chain.end_object, chain.data_bytes)
