"""Which segments of a tape were overwritten, and since when a recovery point says so.

Only what the last manifest names is looked at: from that point on none needs them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from tapectl.gateway.transfer.context import TransferContext
from tapectl.medium.overwritten import overwritten
from tapectl.medium.volume import VolumeRecord
from tapectl.state import tapes, volumes
from tapectl.state.overwritten import UploadedSegment, mark, unmark, uploaded

# What is less than this part of a segment, one after the other, is kept: letting go of it would end
# older recovery points, and part archived objects, for nothing. Every session of a backup program
# overwrites a filemark or two.
_LEAST_OF_A_SEGMENT = 64


# Rows that are entered at once: a drive that seals a segment waits for no more than that.
_ROWS_AT_ONCE = 2000


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
    void = frozenset(overwritten((one.extent for one in found), volume))
    least_bytes = context.settings.segment_bytes // _LEAST_OF_A_SEGMENT
    large = _large_runs(found, void, least_bytes)
    new = [one.extent.sequence for one in large if not one.marked]
    counts_again = [
        one.extent.sequence for one in found if one.marked and one.extent.sequence not in void
    ]
    for start in range(0, len(new) or 1, _ROWS_AT_ONCE):
        with context.state.write() as db:
            if volumes.get(db, barcode) != row:
                return False
            at_ms, point = context.now_ms(), tape.manifest_number
            mark(db, barcode, new[start:][:_ROWS_AT_ONCE], at_ms=at_ms, point=point)
            unmark(db, barcode, counts_again)
            if start + _ROWS_AT_ONCE >= len(new):
                tapes.update(db, barcode, overwritten_seen=tape.manifest_number)
    return True


def _large_runs(
    found: Iterable[UploadedSegment], void: frozenset[int], least_bytes: int
) -> Iterator[UploadedSegment]:
    """Yield what was overwritten and stands in runs that are worth letting go of."""
    for is_void, run in itertools.groupby(found, key=lambda one: one.extent.sequence in void):
        if is_void:
            members = list(run)
            if sum(one.object_bytes for one in members) >= least_bytes:
                yield from members
