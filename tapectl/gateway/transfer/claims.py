"""CREATING tapes: claim the barcode in the store, then they are AVAILABLE."""

from __future__ import annotations

from tapectl.gateway.transfer.bucket_layout import (
    ownership_key,
    tombstone_key,
)
from tapectl.gateway.transfer.context import StepReport, TransferContext
from tapectl.gateway.transfer.ownership import BarcodeTakenError, Ownership, claim
from tapectl.gateway.transfer.tape_errors import TapeErrors
from tapectl.state import gateways, tapes
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeRecord
from tapectl.store.interface import ObjectNotFoundError


class Claims:
    """The step."""

    def __init__(self, context: TransferContext, errors: TapeErrors) -> None:
        self._context = context
        self._errors = errors

    def run(self) -> StepReport:
        with self._context.state.read() as db:
            creating = tapes.with_status(db, TapeStatus.CREATING)
        return self._errors.each(creating, self._claim)

    def _claim(self, tape: TapeRecord) -> StepReport:
        context = self._context
        with context.state.read() as db:
            gateway_epoch = gateways.read_standing(db).store_epoch
        wanted = Ownership(
            gateway_id=context.gateway.id,
            gateway_epoch=gateway_epoch,
            tape_uuid=tape.tape_uuid,
            # So that no machine that was this gateway before has used the epoch for a segment.
            epoch=gateway_epoch,
            barcode=tape.barcode,
            size_bytes=tape.size_bytes,
            pool=tape.pool_id,
            worm=tape.worm,
            created_ms=tape.created_at_ms,
            generation=tape.generation,
            cleaning=tape.cleaning,
            encryption=tape.encryption,
            kms_key=tape.kms_key,
            data_key=tape.data_key,
        )
        try:
            self._require_no_tombstone(tape.barcode)
            claimed = claim(context.store, wanted)
            # A tape that was being deleted just now had its tombstone before its key was free.
            try:
                self._require_no_tombstone(tape.barcode)
            except BarcodeTakenError:
                context.store.delete(ownership_key(tape.barcode))
                raise
        except BarcodeTakenError as error:
            with context.state.write() as db:
                if tapes.get(db, tape.barcode).status is TapeStatus.CREATING:
                    tapes.transition(
                        db,
                        tape.barcode,
                        TapeStatus.IRRECOVERABLE,
                        context.stamp(),
                        status_detail=str(error),
                    )
            return StepReport(done=1)
        with context.state.write() as db:
            # Deleted in the meantime, it keeps the claim for the deletion to give up.
            epoch = claimed.ownership.epoch
            tapes.update(db, tape.barcode, store_epoch=epoch, store_etag=claimed.etag, on_shelf=0)
            if tapes.get(db, tape.barcode).status is TapeStatus.CREATING:
                tapes.transition(db, tape.barcode, TapeStatus.AVAILABLE, context.stamp())
        return StepReport(done=1)

    def _require_no_tombstone(self, barcode: str) -> None:
        try:
            self._context.store.head(tombstone_key(barcode))
        except ObjectNotFoundError:
            return
        raise BarcodeTakenError(f"barcode {barcode} belonged to a tape that was deleted")
