"""Which segments of a tape count for nothing any more. Pure.

What they hold was overwritten, erased, formatted away or undone: no drive will ever ask for it, and
only an earlier recovery point does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from tapectl.medium.chain import voids
from tapectl.medium.summary import SegmentSummary
from tapectl.medium.volume import VolumeRecord


def overwritten(summaries: Iterable[SegmentSummary], volume: VolumeRecord) -> Sequence[int]:
    """Return the sequence numbers of segments of which no object counts, ascending.

    `summaries` are those of all partitions, by ascending sequence. One that erases counts until a
    later one does as much: without it what it has voided would come back. What is returned holds
    nothing that could, and can be let go of without a change to what is left.
    """
    # Of each partition first object and sequence number of what counts, both ascending.
    counting: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    found: list[int] = []
    for summary in summaries:
        if not voids(summary) or not volume.counts(summary.sequence):
            found.append(summary.sequence)
            continue
        held = counting[summary.partition]
        while held and held[-1][0] >= summary.first_object:
            found.append(held.pop()[1])
        held.append((summary.first_object, summary.sequence))
    return sorted(found)
