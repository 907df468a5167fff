"""ARCHIVED tapes that were assigned to another pool: their objects change class and lock in place.

What is in GLACIER has to be restored before it can be copied, which takes hours; the tape is
ARCHIVED all the time, and may be retrieved in the middle. A tape of the library changes when it is
archived.
"""

from __future__ import annotations

from tapectl.gateway.transfer.archive_conformance import conform, lock_archived
from tapectl.gateway.transfer.context import StepReport, TransferContext
from tapectl.gateway.transfer.object_options import archive_options
from tapectl.gateway.transfer.ownership import require_ownership
from tapectl.gateway.transfer.tape_errors import TapeErrors
from tapectl.state import pools, tapes
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeFilter, TapeRecord


class PoolChanges:
    """The step; it comes after the one that puts manifests, which say the new pool."""

    def __init__(self, context: TransferContext, errors: TapeErrors) -> None:
        self._context = context
        self._errors = errors
        self._poll_at_ms: dict[str, int] = {}

    def run(self) -> StepReport:
        with self._context.state.read() as db:
            archived = tapes.select(db, TapeFilter(statuses=frozenset({TapeStatus.ARCHIVED})))
        # While the store says that it is on the shelf, another gateway may have it retrieved.
        pending = [tape for tape in archived if tape.archive_pending and tape.on_shelf is False]
        return self._errors.each(pending, self._change)

    def _change(self, tape: TapeRecord) -> StepReport:
        context = self._context
        due_ms = self._poll_at_ms.get(tape.barcode, 0)
        if due_ms > context.now_ms():
            return StepReport(waiting=1, next_due_ms=due_ms)
        with context.state.read() as db:
            pool = pools.find(db, tape.pool_id)
        assert pool is not None  # a foreign key
        require_ownership(context.store, tape.barcode, tape.store_etag)
        if not conform(context, tape, archive_options(tape, pool)):
            due_ms = context.now_ms() + round(context.settings.retrieval_poll_s * 1000)
            self._poll_at_ms[tape.barcode] = due_ms
            return StepReport(waiting=1, next_due_ms=due_ms)
        lock_archived(context, tape, tape.manifest_number)
        self._poll_at_ms.pop(tape.barcode, None)
        with context.state.write() as db:
            now = tapes.get(db, tape.barcode)
            # Assigned again meanwhile, it is looked at once more.
            if (now.pool_id, now.status) == (tape.pool_id, tape.status):
                tapes.update(db, tape.barcode, archive_pending=0, progress=None)
        return StepReport(done=1)
