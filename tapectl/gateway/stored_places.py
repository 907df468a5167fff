"""Where the segments of a tape are in the store, as its manifests alone say. Of each a few numbers
are kept: a full tape has a quarter of a million."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

from tapectl.gateway.transfer.bucket_layout import (
    archive_key,
    archived_copy_key,
    segment_key,
)
from tapectl.gateway.transfer.stored_segment import ObjectPlace
from tapectl.medium.errors import MediumFormatError
from tapectl.medium.manifest import ManifestHead, ManifestRow
from tapectl.medium.sequences import SequenceRanges


class StoredPlaces:
    """The places of what a log names. `last` is the latest manifest of the tape, whichever one the
    log is of: it knows what has been archived since."""

    def __init__(self, last: ManifestHead) -> None:
        self._last = last
        self._composed_firsts = [one.first_sequence for one in last.archive_objects]
        self._expired = SequenceRanges(last.expired)
        self._sequences = array("Q")
        self._object_bytes = array("Q")
        self._epochs = array("Q")
        # Where each begins in the composed object that holds it; 0 for one of its own.
        self._offsets = array("Q")
        self._composed_at, self._end = -1, 0

    def add(self, row: ManifestRow) -> None:
        """Take the next row of the log."""
        sequence = row.summary.sequence
        if self._expired.hold(sequence, sequence):
            return
        composed_at = self._composed(sequence)
        if composed_at < 0 or composed_at != self._composed_at:
            self._composed_at, self._end = composed_at, 0
        self._sequences.append(sequence)
        self._object_bytes.append(row.object_bytes)
        self._epochs.append(row.epoch)
        self._offsets.append(self._end)
        self._end += row.object_bytes

    def get(self, sequence: int) -> tuple[ObjectPlace, int]:
        """Return where a segment is, and the epoch in which it was put; raise MediumFormatError if
        the log does not name it, or its data is let go of."""
        at = bisect_left(self._sequences, sequence)
        if at == len(self._sequences) or self._sequences[at] != sequence:
            raise MediumFormatError(f"segment {sequence} has been let go of")
        epoch, object_bytes = self._epochs[at], self._object_bytes[at]
        barcode, through = self._last.barcode, self._last.archived_through
        if through is None or sequence > through:
            key = segment_key(barcode, epoch, sequence, object_bytes)
            return ObjectPlace(key, object_bytes, archived=False), epoch
        composed_at = self._composed(sequence)
        if composed_at < 0:
            key = archived_copy_key(barcode, epoch, sequence, object_bytes)
            return ObjectPlace(key, object_bytes, archived=True), epoch
        key = archive_key(barcode, self._last.archive_objects[composed_at])
        return ObjectPlace(key, object_bytes, archived=True, offset=self._offsets[at]), epoch

    def _composed(self, sequence: int) -> int:
        """Return which composed object holds a segment, -1 for none."""
        at = bisect_right(self._composed_firsts, sequence) - 1
        held = at >= 0 and sequence <= self._last.archive_objects[at].last_sequence
        return at if held else -1
