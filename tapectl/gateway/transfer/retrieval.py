"""Tapes come back from the shelf: RETRIEVING, RETRIEVED; and stay readable while they are here.

A retrieved tape is read in place, from the restored copies; nothing is downloaded before
somebody reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import as_completed

from tapectl.gateway.shelf import complete_retrieval
from tapectl.gateway.transfer.context import StepReport, TransferContext, combine
from tapectl.gateway.transfer.stored_segment import object_key
from tapectl.gateway.transfer.tape_errors import TapeErrors
from tapectl.state import segments, tapes
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeFilter, TapeRecord
from tapectl.store.interface import ObjectInfo, RestoreState, RetrievalTier

_READABLE = (RestoreState.READABLE, RestoreState.RESTORED)
_DAY_MS = 86_400_000
_BATCH = 256
# Copies are prolonged when this part of their life is left, so that a store that is down for a
# while, or a gateway that is, does not lose them.
_LEFT_TO_PROLONG = 0.5


class Retrieval:
    """The step; remembers between passes what has been seen restored."""

    def __init__(self, context: TransferContext, errors: TapeErrors) -> None:
        self._context = context
        self._errors = errors
        self._poll_at_ms: dict[str, int] = {}
        self._restored: dict[str, dict[str, int | None]] = {}
        # Tapes whose every object has been asked for.
        self._asked: set[str] = set()

    def run(self) -> StepReport:
        with self._context.state.read() as db:
            retrieving = tapes.with_status(db, TapeStatus.RETRIEVING)
            here = tapes.select(db, TapeFilter(statuses=frozenset({TapeStatus.RETRIEVED})))
        for barcode in self._asked - {tape.barcode for tape in retrieving}:
            # Cancelled; a later retrieval begins anew.
            self._forget(barcode)
        return combine(
            [
                self._errors.each(retrieving, self._retrieve),
                self._errors.each(here, self._prolong),
            ]
        )

    def _retrieve(self, tape: TapeRecord) -> StepReport:
        context = self._context
        due_ms = self._poll_at_ms.get(tape.barcode, 0)
        if due_ms > context.now_ms():
            return StepReport(waiting=1, next_due_ms=due_ms)
        archived = self._archived(tape)
        restored = self._restored.setdefault(tape.barcode, {})
        left = [key for key in archived if key not in restored]
        restored |= self._ask(tape, left)
        if len(restored) < len(archived):
            with context.state.write() as db:
                if tapes.get(db, tape.barcode).status is TapeStatus.RETRIEVING:
                    progress = 100.0 * len(restored) / len(archived)
                    tapes.update(db, tape.barcode, progress=progress)
            return self._poll_later(tape)
        until_ms = min((ms for ms in restored.values() if ms is not None), default=None)
        if not complete_retrieval(
            context.state, tape.barcode, context.stamp(), restore_until_ms=until_ms
        ):
            return self._poll_later(tape)
        self._forget(tape.barcode)
        return StepReport(done=1)

    def _forget(self, barcode: str) -> None:
        self._poll_at_ms.pop(barcode, None)
        self._restored.pop(barcode, None)
        self._asked.discard(barcode)

    def _poll_later(self, tape: TapeRecord) -> StepReport:
        due_ms = self._context.now_ms() + round(self._context.settings.retrieval_poll_s * 1000)
        self._poll_at_ms[tape.barcode] = due_ms
        return StepReport(waiting=1, next_due_ms=due_ms)

    def _archived(self, tape: TapeRecord) -> Sequence[str]:
        """Return the keys of a tape's archived objects."""
        through = tape.archived_through_sequence
        if through is None:
            return []
        with self._context.state.read() as db:
            records = segments.of_tape(db, tape.barcode)
        return [object_key(one, archived=True) for one in records if one.sequence <= through]

    def _ask(self, tape: TapeRecord, keys: Sequence[str]) -> dict[str, int | None]:
        """Ask for what is archived; return the readable ones with the time their copy ends."""
        context = self._context
        tier = RetrievalTier(tape.retrieval_tier or RetrievalTier.STANDARD)

        def ask(key: str) -> tuple[str, ObjectInfo | None]:
            context.check_stop()
            info = context.store.head(key)
            if info.restore_state is RestoreState.ARCHIVED:
                state = context.store.restore(key, tier=tier, days=context.settings.retrieval_days)
                if state is RestoreState.RESTORED:
                    info = context.store.head(key)
                elif state is RestoreState.READABLE:
                    return key, info
            return key, info if info.restore_state in _READABLE else None

        found: dict[str, int | None] = {}
        asked_before = tape.barcode in self._asked
        for start in range(0, len(keys), _BATCH):
            futures = [context.pool.submit(ask, one) for one in keys[start:][:_BATCH]]
            failures = [error for one in as_completed(futures) if (error := one.exception())]
            if failures:
                raise failures[0]
            for key, info in (future.result() for future in futures):
                if info is not None:
                    found[key] = info.restored_until_ms
            if asked_before and not found:
                # They were asked for at once and come at about the same time: of a long tape
                # the first ones tell that it is too early to look at all the others.
                break
        self._asked.add(tape.barcode)
        return found

    def _prolong(self, tape: TapeRecord) -> StepReport:
        """Ask for more days before the restored copies end."""
        context = self._context
        if tape.restore_until_ms is None:
            return StepReport()
        days = context.settings.retrieval_days
        due_ms = tape.restore_until_ms - round(days * _DAY_MS * _LEFT_TO_PROLONG)
        if context.now_ms() < due_ms:
            return StepReport(next_due_ms=due_ms)
        if (poll_ms := self._poll_at_ms.get(tape.barcode, 0)) > context.now_ms():
            return StepReport(waiting=1, next_due_ms=poll_ms)
        tier = RetrievalTier(tape.retrieval_tier or RetrievalTier.STANDARD)
        ends: list[int] = []
        for key in self._archived(tape):
            context.check_stop()
            context.store.restore(key, tier=tier, days=days)
            info = context.store.head(key)
            if info.restore_state not in _READABLE:
                # It has run out, while the gateway was down: it is being restored again.
                return self._poll_later(tape)
            if info.restored_until_ms is not None:
                ends.append(info.restored_until_ms)
        self._poll_at_ms.pop(tape.barcode, None)
        with context.state.write() as db:
            if tapes.get(db, tape.barcode).status is TapeStatus.RETRIEVED:
                tapes.update(db, tape.barcode, restore_until_ms=min(ends, default=None))
        return StepReport(done=1)
