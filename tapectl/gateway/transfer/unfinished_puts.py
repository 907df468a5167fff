"""Puts of segments that were cut off: what they left in the store goes, unless it is still of use.

A put that is repeated goes on with it by itself. What will never be repeated is found here: once
in the life of a process, which may have found it, and once a day.
"""

from __future__ import annotations

import logging

from tapectl.gateway.transfer.bucket_layout import TAPES_PREFIX, SegmentPlace, segment_of
from tapectl.gateway.transfer.context import StepReport, TransferContext
from tapectl.state import segments, tapes
from tapectl.store.interface import StoreDeniedError, StoreRefusedError

_log = logging.getLogger(__name__)

_AGAIN_MS = 86_400_000


class UnfinishedPuts:
    """The step. Runs when no segment is being put by the uploads."""

    def __init__(self, context: TransferContext) -> None:
        self._context = context
        self._due_ms = 0

    def run(self) -> StepReport:
        context = self._context
        if context.now_ms() < self._due_ms:
            return StepReport()
        try:
            for key in context.store.unfinished_puts(TAPES_PREFIX):
                context.check_stop()
                place = segment_of(key)
                if place is not None and self._useless(place):
                    context.store.abandon_put(key)
                    _log.info("removed what an upload that was cut off has left: %s", key)
        except (StoreDeniedError, StoreRefusedError) as error:
            # It takes a permission that nothing else needs, and not every server knows it.
            _log.warning("uploads that were cut off are not removed: %s", error.message)
        self._due_ms = context.now_ms() + _AGAIN_MS
        return StepReport()

    def _useless(self, place: SegmentPlace) -> bool:
        """Whether nobody will go on with the put: it is of a tape of ours, or one that was ours
        before it got the owner it has now, and it is not a segment that waits."""
        with self._context.state.read() as db:
            tape = tapes.find(db, place.barcode)
            record = segments.find(db, place.barcode, place.sequence)
        if tape is None or place.epoch > tape.store_epoch:
            return False
        waits = record is not None and record.uploaded_at_ms is None
        return place.epoch < tape.store_epoch or not waits
