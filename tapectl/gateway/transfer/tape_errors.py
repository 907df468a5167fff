"""What happens to one tape must not stop the others; what happens to the store stops the pass.

No failure changes a tape's status: it waits, and its status_detail says what for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from tapectl.gateway.keyring import TapeKeyError
from tapectl.gateway.transfer.context import StepReport, TransferContext, combine
from tapectl.gateway.transfer.fenced_tapes import settle_fenced
from tapectl.gateway.transfer.ownership import FencedError
from tapectl.medium.errors import MediumFormatError
from tapectl.scsi.cartridge import CartridgeError
from tapectl.state import tapes
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeRecord
from tapectl.store.interface import OF_ONE_OBJECT, StoreError

_log = logging.getLogger(__name__)

# A tape that failed for a reason of its own is looked at again this much later.
_AGAIN_MS = 60_000


class TapeErrors:
    """Runs the work of one tape after the other, and remembers which ones have to wait."""

    def __init__(self, context: TransferContext) -> None:
        self._context = context
        self._not_before_ms: dict[str, int] = {}

    def each(
        self, found: Iterable[TapeRecord], work: Callable[[TapeRecord], StepReport]
    ) -> StepReport:
        """Run `work` for each tape. Raises the StoreError of a store that cannot be used now."""
        return combine([self.one(tape, work) for tape in found])

    def put_off(self, barcode: str) -> bool:
        """Whether a tape has failed a short while ago, for a reason of its own."""
        return self._not_before_ms.get(barcode, 0) > self._context.now_ms()

    def one(self, tape: TapeRecord, work: Callable[[TapeRecord], StepReport]) -> StepReport:
        """Run `work` for a tape unless it failed a short while ago."""
        self._context.check_stop()
        due_ms = self._not_before_ms.get(tape.barcode, 0)
        if due_ms > self._context.now_ms():
            return StepReport(waiting=1, next_due_ms=due_ms)
        try:
            report = self._unless_fenced(tape, work)
        except TapeKeyError as error:
            return self._wait(tape.barcode, error.message)
        except (*OF_ONE_OBJECT, MediumFormatError, CartridgeError, OSError) as error:
            return self._wait(tape.barcode, str(error))
        except StoreError as error:
            if tape.encryption is not None:
                # The store itself was asked a moment ago: likely it is a key that cannot be used,
                # which servers say in many ways, and must not stop the tapes that have none.
                return self._wait(tape.barcode, error.message)
            self._tell(tape.barcode, error.message)
            raise
        self._not_before_ms.pop(tape.barcode, None)
        if report.done and tape.status_detail is not None:
            self._tell(tape.barcode, None)
        return report

    def _wait(self, barcode: str, reason: str) -> StepReport:
        _log.warning("tape %s: %s", barcode, reason)
        due_ms = self._context.now_ms() + _AGAIN_MS
        self._not_before_ms[barcode] = due_ms
        self._tell(barcode, reason)
        return StepReport(waiting=1, next_due_ms=due_ms)

    def _tell(self, barcode: str, reason: str | None) -> None:
        with self._context.state.write() as db:
            tape = tapes.find(db, barcode)
            if tape is None or tape.status_detail == reason:
                return
            if tape.status not in (TapeStatus.IRRECOVERABLE, TapeStatus.DELETED):
                tapes.update(db, barcode, status_detail=reason)

    def _unless_fenced(
        self, tape: TapeRecord, work: Callable[[TapeRecord], StepReport]
    ) -> StepReport:
        """Run `work` for a tape; where another gateway owns it, enter what it is then."""
        try:
            return work(tape)
        except FencedError as error:
            if settle_fenced(self._context, tape.barcode, str(error)):
                return StepReport(done=1)
            return self._wait(tape.barcode, str(error))
