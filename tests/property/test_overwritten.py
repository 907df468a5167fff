"""What counts for nothing any more can be let go of: nothing else changes by it."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tapectl.medium.chain import Chain
from tapectl.medium.overwritten import SegmentExtent
from tapectl.medium.overwritten import overwritten as overwritten_extents
from tapectl.medium.summary import SegmentSummary
from tapectl.medium.volume import VolumeRecord

PARTITIONS = 2


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[SegmentSummary], VolumeRecord]:
    """A log of two partitions: segments that append, overwrite, erase or hold nothing, some of them
    from before a format or undone."""
    ends = [0] * PARTITIONS
    log: list[SegmentSummary] = []
    formatted_through = -1
    for sequence in range(1, draw(st.integers(1, 25)) + 1):
        if draw(st.integers(0, 12)) == 0:
            formatted_through, ends = sequence - 1, [0] * PARTITIONS
        partition = draw(st.integers(0, PARTITIONS - 1))
        first = draw(st.integers(0, ends[partition]))
        objects = draw(st.integers(0, 3))
        erases = draw(st.booleans())
        log.append(
            SegmentSummary(sequence, first, objects, 0, objects * 10, 100, partition, erases)
        )
        if objects or erases:
            ends[partition] = first + objects
    # Undone are those at the end: what is before them has no gap then.
    volume = VolumeRecord((1 << 30,) * PARTITIONS, formatted_through)
    last = len(log)
    undone_from = draw(st.integers(max(1, formatted_through + 1), last + 1))
    return log, volume.without(undone_from, last)


def overwritten(log: Sequence[SegmentSummary], volume: VolumeRecord) -> Sequence[int]:
    return overwritten_extents(
        (
            SegmentExtent(
                one.sequence, one.partition, one.first_object, one.object_count, one.erases
            )
            for one in log
        ),
        volume,
    )


def chains(log: Sequence[SegmentSummary], volume: VolumeRecord) -> list[list[tuple[int, ...]]]:
    counting = [one for one in log if volume.counts(one.sequence)]
    found = []
    for partition in range(PARTITIONS):
        chain = Chain.fold(counting, lambda _, objects: (0, objects * 10), partition=partition)
        found.append([tuple(chain.entry(at)) for at in range(len(chain))])
    return found


@given(logs())
def test_without_it_the_tape_is_the_same(given: tuple[list[SegmentSummary], VolumeRecord]) -> None:
    log, volume = given
    gone = set(overwritten(log, volume))
    left = [one for one in log if one.sequence not in gone]
    assert chains(left, volume) == chains(log, volume)


@given(logs())
def test_all_that_is_left_is_needed(given: tuple[list[SegmentSummary], VolumeRecord]) -> None:
    """Each holds an object that counts, or erases what is before it."""
    log, volume = given
    gone = set(overwritten(log, volume))
    counting = {entry[0] for chain in chains(log, volume) for entry in chain}
    assert not counting & gone
    for one in log:
        if one.sequence not in gone:
            assert one.sequence in counting or one.erases


@given(logs(), st.data())
def test_what_is_gone_never_comes_back(
    given: tuple[list[SegmentSummary], VolumeRecord], data: st.DataObject
) -> None:
    """Whatever is written after it."""
    log, volume = given
    before = set(overwritten(log, volume))
    for sequence in range(len(log) + 1, len(log) + 4):
        entries = chains(log, volume)[0]
        end = entries[-1][1] + entries[-1][2] if entries else 0
        first, objects = data.draw(st.integers(0, end)), data.draw(st.integers(0, 3))
        log = [*log, SegmentSummary(sequence, first, objects, 0, objects * 10, 100)]
        after = set(overwritten(log, volume))
        assert before <= after
        before = after
