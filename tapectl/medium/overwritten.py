"""Which segments of a tape count for nothing any more. Pure.

What they hold was overwritten, erased, formatted away or undone: no drive will ever ask for it, and
only an earlier recovery point does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tapectl.medium.volume import VolumeRecord


class SegmentExtent(NamedTuple):
    """Of a segment what tells which others it voids; a tuple, as there are very many."""

    sequence: int
    partition: int
    first_object: int
    object_count: int
    erases: int


def overwritten(extents: Iterable[SegmentExtent], volume: VolumeRecord) -> Sequence[int]:
    """Return the sequence numbers of segments of which no object counts, ascending.

    `extents` are those of all partitions, by ascending sequence. One that erases counts until a
    later one does as much: without it what it has voided would come back. What is returned holds
    nothing that could, and can be let go of without a change to what is left.
    """
    # Of each partition first object and sequence number of what counts, both ascending.
    counting: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    found: list[int] = []
    for sequence, partition, first_object, object_count, erases in extents:
        if not (object_count or erases) or not volume.counts(sequence):
            found.append(sequence)
            continue
        held = counting[partition]
        while held and held[-1][0] >= first_object:
            found.append(held.pop()[1])
        held.append((first_object, sequence))
    return sorted(found)
