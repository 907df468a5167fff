"""Which segments of a tape were overwritten, and since when a recovery point says so.

Only what the last manifest names is looked at: from that point on none needs them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from tapectl.gateway.transfer.context import TransferContext
from tapectl.medium.overwritten import overwritten
from tapectl.medium.volume import VolumeRecord
from tapectl.state import tapes, volumes
from tapectl.state.overwritten import UploadedSegment, mark, unmark, uploaded

# What is less than this, one after the other, is kept: letting go of it would end older recovery
# points, and part archived objects, for nothing. Every session of a backup program overwrites a
# filemark or two.
RUN_BYTES_MIN = 1 << 20


def mark_overwritten(context: TransferContext, barcode: str) -> bool:
    """Enter what counts for nothing any more as of the last manifest of a tape, and what counts
    again; whether that could be told: a change that no manifest says yet may bring it back."""
    with context.state.read() as db:
        tape = tapes.get(db, barcode)
        row = volumes.get(db, barcode)
        if barcode in volumes.changed_since_manifest(db):
            return False
        if tape.overwritten_seen == tape.manifest_number:
            return True
        volume = VolumeRecord() if row is None else VolumeRecord.from_document(row.document)
        found = list(uploaded(db, barcode))
    void = frozenset(overwritten((one.summary for one in found), volume))
    large = set(itertools.chain.from_iterable(_large_runs(found, void)))
    with context.state.write() as db:
        now, row_now = tapes.get(db, barcode), volumes.get(db, barcode)
        if now.manifest_number != tape.manifest_number or row_now != row:
            return False
        mark(db, barcode, large, at_ms=context.now_ms(), point=tape.manifest_number)
        unmark(db, barcode, (one.summary.sequence for one in found if _counts_again(one, void)))
        tapes.update(db, barcode, overwritten_seen=tape.manifest_number)
    return True


def _counts_again(segment: UploadedSegment, void: frozenset[int]) -> bool:
    return segment.marked and segment.summary.sequence not in void


def _large_runs(found: Iterable[UploadedSegment], void: frozenset[int]) -> Iterator[Sequence[int]]:
    """Yield the sequences of what was overwritten and is worth letting go of, run by run."""
    for is_void, run in itertools.groupby(
        (one for one in found if not one.expired), key=lambda one: one.summary.sequence in void
    ):
        if is_void:
            members = list(run)
            if sum(one.object_bytes for one in members) >= RUN_BYTES_MIN:
                yield [one.summary.sequence for one in members]
