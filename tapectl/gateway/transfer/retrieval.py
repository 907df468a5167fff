"""Tapes come back from the shelf: RETRIEVING, RETRIEVED; and stay readable while they are here.

A retrieved tape is read in place, from the restored copies; nothing is downloaded before
somebody reads it. Its objects are asked for in order, a bounded number in a pass, and how far that
has got is in the state: the next pass, or the next process, goes on there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import wait
from dataclasses import replace

from tapectl.gateway.shelf import complete_retrieval
from tapectl.gateway.transfer.archived_objects import ArchivedObject, archived_after
from tapectl.gateway.transfer.context import StepReport, TransferContext, combine
from tapectl.gateway.transfer.tape_errors import TapeErrors
from tapectl.state import retrievals, tapes
from tapectl.state.retrievals import RetrievalProgress
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeFilter, TapeRecord
from tapectl.store.interface import ObjectInfo, ObjectStore, RestoreState, RetrievalTier

_READABLE = (RestoreState.READABLE, RestoreState.RESTORED)
_DAY_MS = 86_400_000
# Objects that a pass asks for or looks at, of all tapes together, so that the other steps get their
# turn; the pool's threads bound how many at the same time.
_OBJECTS_A_PASS = 256
# Objects between two entries in the state, and that are looked at in vain while none is there yet.
_BATCH = 32
# Copies are prolonged when this part of their life is left, so that a store that is down for a
# while, or a gateway that is, does not lose them.
_LEFT_TO_PROLONG = 0.5

Ask = Callable[[ObjectStore, str, RetrievalTier, int], ObjectInfo]


class Retrieval:
    """The step; remembers between passes only when to look again."""

    def __init__(self, context: TransferContext, errors: TapeErrors) -> None:
        self._context = context
        self._errors = errors
        self._poll_at_ms: dict[str, int] = {}
        self._objects_left = 0

    def run(self) -> StepReport:
        self._objects_left = _OBJECTS_A_PASS
        with self._context.state.read() as db:
            retrieving = tapes.with_status(db, TapeStatus.RETRIEVING)
            here = tapes.select(db, TapeFilter(statuses=frozenset({TapeStatus.RETRIEVED})))
        for barcode in self._poll_at_ms.keys() - {tape.barcode for tape in [*retrieving, *here]}:
            # Cancelled; a later retrieval begins anew.
            del self._poll_at_ms[barcode]
        return combine(
            [
                # While the store says that it is on the shelf, another gateway may be faster.
                self._errors.each(
                    [tape for tape in retrieving if tape.on_shelf is False], self._retrieve
                ),
                self._errors.each(here, self._prolong),
            ]
        )

    def _retrieve(self, tape: TapeRecord) -> StepReport:
        context = self._context
        if (waiting := self._not_yet(tape)) is not None:
            return waiting
        request_ms = tape.retrieval_requested_at_ms or tape.status_at_ms
        progress = before = self._begun(tape, request_ms)
        blocked = False
        while (after := self._step(tape, progress, progress.asked_through, _restored)) is not None:
            progress = after
        # They were asked for at once and come at about the same time: the first that is not there
        # tells that it is too early to look at all the others.
        while not blocked and progress.readable_through < progress.asked_through:
            after = self._step(tape, progress, progress.readable_through, _restored)
            if after is None:
                break
            blocked = after.readable_through == progress.readable_through
            progress = after
        through = _archived_through(tape)
        if blocked or progress.readable_through < through:
            with context.state.write() as db:
                if tapes.get(db, tape.barcode).status is TapeStatus.RETRIEVING:
                    percent = 100.0 * max(progress.readable_through, 0) / max(through, 1)
                    tapes.update(db, tape.barcode, progress=percent)
            return self._poll_later(tape) if blocked else _went_on(progress != before)
        if not complete_retrieval(
            context.state, tape.barcode, context.stamp(), restore_until_ms=progress.until_ms
        ):
            return self._poll_later(tape)
        return self._end(tape)

    def _prolong(self, tape: TapeRecord) -> StepReport:
        """Ask for more days before the restored copies end."""
        context = self._context
        if tape.restore_until_ms is None:
            return StepReport()
        days = context.settings.retrieval_days
        due_ms = tape.restore_until_ms - round(days * _DAY_MS * _LEFT_TO_PROLONG)
        if context.now_ms() < due_ms:
            return StepReport(next_due_ms=due_ms)
        if (waiting := self._not_yet(tape)) is not None:
            return waiting
        progress = before = self._begun(tape, tape.restore_until_ms)
        while (
            after := self._step(tape, progress, progress.readable_through, _prolonged)
        ) is not None:
            if after.readable_through == progress.readable_through:
                # It has run out, while the gateway was down: it is being restored again.
                return self._poll_later(tape)
            progress = after
        if progress.readable_through < _archived_through(tape):
            return _went_on(progress != before)
        with context.state.write() as db:
            if tapes.get(db, tape.barcode).status is TapeStatus.RETRIEVED:
                tapes.update(db, tape.barcode, restore_until_ms=progress.until_ms)
        return self._end(tape)

    def _not_yet(self, tape: TapeRecord) -> StepReport | None:
        """Return what to report of a tape that has to wait, for its time or for the next pass."""
        due_ms = self._poll_at_ms.get(tape.barcode, 0)
        if due_ms > self._context.now_ms():
            return StepReport(waiting=1, next_due_ms=due_ms)
        return None if self._objects_left else StepReport(waiting=1)

    def _poll_later(self, tape: TapeRecord) -> StepReport:
        due_ms = self._context.now_ms() + round(self._context.settings.retrieval_poll_s * 1000)
        self._poll_at_ms[tape.barcode] = due_ms
        return StepReport(waiting=1, next_due_ms=due_ms)

    def _begun(self, tape: TapeRecord, request_ms: int) -> RetrievalProgress:
        with self._context.state.read() as db:
            return retrievals.progress_of(db, tape.barcode, request_ms)

    def _end(self, tape: TapeRecord) -> StepReport:
        self._poll_at_ms.pop(tape.barcode, None)
        with self._context.state.write() as db:
            retrievals.delete_of_tape(db, tape.barcode)
        return StepReport(done=1)

    def _step(
        self, tape: TapeRecord, progress: RetrievalProgress, after: int, ask: Ask
    ) -> RetrievalProgress | None:
        """Ask for the next objects after a segment; return and record how far that has got, None if
        there are no more or the pass may ask for none.

        Copies that can be read count as far as none before them is missing.
        """
        context = self._context
        limit = min(_BATCH, self._objects_left)
        with context.state.read() as db:
            found = archived_after(db, tape, after, limit=limit) if limit else ()
        if not found:
            return None
        self._objects_left -= len(found)
        infos = self._ask_all(tape, found, ask)
        asked_through = max(progress.asked_through, found[-1].last_sequence)
        changed = replace(progress, asked_through=asked_through)
        if after == progress.readable_through:
            for one, info in zip(found, infos, strict=True):
                if info.restore_state not in _READABLE:
                    break
                ends = [changed.until_ms, info.restored_until_ms]
                changed = replace(
                    changed,
                    readable_through=one.last_sequence,
                    until_ms=min((end for end in ends if end is not None), default=None),
                )
        with context.state.write() as db:
            retrievals.record(db, changed)
        return changed

    def _ask_all(
        self, tape: TapeRecord, found: Sequence[ArchivedObject], ask: Ask
    ) -> Sequence[ObjectInfo]:
        context = self._context
        tier = RetrievalTier(tape.retrieval_tier or RetrievalTier.STANDARD)

        def one(key: str) -> ObjectInfo:
            context.check_stop()
            return ask(context.store, key, tier, context.settings.retrieval_days)

        futures = [context.pool.submit(one, each.key) for each in found]
        wait(futures)
        return [future.result() for future in futures]


def _restored(store: ObjectStore, key: str, tier: RetrievalTier, days: int) -> ObjectInfo:
    """Ask for a copy of an object unless it can be read, or will be."""
    info = store.head(key)
    if info.restore_state is RestoreState.ARCHIVED:
        store.restore(key, tier=tier, days=days)
        info = store.head(key)
    return info


def _prolonged(store: ObjectStore, key: str, tier: RetrievalTier, days: int) -> ObjectInfo:
    """Ask for a copy for as long from now on."""
    store.restore(key, tier=tier, days=days)
    return store.head(key)


def _archived_through(tape: TapeRecord) -> int:
    return -1 if tape.archived_through_sequence is None else tape.archived_through_sequence


def _went_on(progressed: bool) -> StepReport:
    """Return the report of a tape that the next pass goes on with."""
    return StepReport(done=1) if progressed else StepReport(waiting=1)
