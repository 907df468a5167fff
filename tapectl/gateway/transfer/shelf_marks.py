"""Which tapes any gateway of the bucket may retrieve: the owner says so in the ownership object.

A tape is marked when it is ARCHIVED and nothing is to be done with it. Before the gateway begins
anything with what is archived, the mark goes: of two gateways that want the tape, the one that
replaces the ownership object first has it, and the other one finds out before it has done anything.
"""

from __future__ import annotations

from dataclasses import replace

from tapectl.gateway.transfer.bucket_layout import OWNERS_PREFIX, ownership_key
from tapectl.gateway.transfer.context import StepReport, TransferContext, combine
from tapectl.gateway.transfer.fenced_tapes import is_ours
from tapectl.gateway.transfer.ownership import (
    FencedError,
    read_ownership,
    replace_owner,
    require_ownership,
)
from tapectl.gateway.transfer.tape_errors import TapeErrors
from tapectl.state import tapes
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeRecord

# Marks that a pass changes, so that the other steps get their turn: five requests each.
_MARKS_A_PASS = 32
# Between two looks at whether other gateways have retrieved tapes from the shelf of this one: one
# request for a thousand tapes.
_LOOK_MS = 300_000


class ShelfMarks:
    """The step. It comes before those that do something with archived tapes; remembers between
    passes when it has looked where the tapes are."""

    def __init__(self, context: TransferContext, errors: TapeErrors) -> None:
        self._context = context
        self._errors = errors
        self._look_at_ms = 0

    def run(self) -> StepReport:
        with self._context.state.read() as db:
            found = tapes.with_wrong_shelf_mark(db)
        # Those that somebody waits for come first.
        wrong = sorted(found, key=_wanted)
        marked = self._errors.each(wrong[:_MARKS_A_PASS], self._mark)
        return combine([marked, self._look()])

    def _mark(self, tape: TapeRecord) -> StepReport:
        context, wanted = self._context, _wanted(tape)
        with context.state.write() as db:
            # Cut off from here on, it is not known what the store says.
            tapes.update(db, tape.barcode, on_shelf=None)
        found = read_ownership(context.store, tape.barcode)
        ownership = found.ownership
        if not is_ours(context, tape, ownership):
            raise FencedError(f"tape {tape.barcode} has another owner in the store")
        if ownership.on_shelf is not wanted:
            found = replace_owner(context.store, found, replace(ownership, on_shelf=wanted))
        with context.state.write() as db:
            tapes.update(db, tape.barcode, store_etag=found.etag, on_shelf=int(wanted))
        return StepReport(done=1)

    def _look(self) -> StepReport:
        """Find the tapes that other gateways have retrieved."""
        context = self._context
        with context.state.read() as db:
            marked = tapes.marked_on_shelf(db)
        if not marked:
            return StepReport()
        if context.now_ms() < self._look_at_ms:
            return StepReport(next_due_ms=self._look_at_ms)
        etags = {info.key: info.etag for info in context.store.list(OWNERS_PREFIX)}
        changed = [
            tape for tape in marked if etags.get(ownership_key(tape.barcode)) != tape.store_etag
        ]
        found = self._errors.each(changed, self._look_at)
        self._look_at_ms = context.now_ms() + _LOOK_MS
        return combine([found, StepReport(next_due_ms=self._look_at_ms)])

    def _look_at(self, tape: TapeRecord) -> StepReport:
        require_ownership(self._context.store, tape.barcode, tape.store_etag)
        return StepReport()


def _wanted(tape: TapeRecord) -> bool:
    """Whether any gateway may retrieve a tape."""
    return tape.status is TapeStatus.ARCHIVED and not tape.archive_pending
