"""CREATING tapes: claim the barcode in the store, then they are AVAILABLE."""

from __future__ import annotations

import json

from tapectl.gateway.transfer.bucket_layout import FORMAT_VERSION, MARKER, tombstone_key
from tapectl.gateway.transfer.context import StepReport, TransferContext
from tapectl.gateway.transfer.ownership import BarcodeTakenError, Ownership, claim
from tapectl.gateway.transfer.tape_errors import TapeErrors
from tapectl.state import tapes
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeRecord
from tapectl.store.interface import (
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreRefusedError,
)

_FIRST_EPOCH = 1


class Claims:
    """The step; writes the bucket's marker before the first claim."""

    def __init__(self, context: TransferContext, errors: TapeErrors) -> None:
        self._context = context
        self._errors = errors
        self._marked = False

    def run(self) -> StepReport:
        with self._context.state.read() as db:
            creating = tapes.with_status(db, TapeStatus.CREATING)
        if creating:
            self._mark_bucket()
        return self._errors.each(creating, self._claim)

    def _claim(self, tape: TapeRecord) -> StepReport:
        context = self._context
        wanted = Ownership(
            gateway_id=context.gateway.id,
            tape_uuid=tape.tape_uuid,
            epoch=_FIRST_EPOCH,
            barcode=tape.barcode,
            size_bytes=tape.size_bytes,
            pool=tape.pool_id,
            worm=tape.worm,
            created_ms=tape.created_at_ms,
        )
        try:
            self._require_no_tombstone(tape.barcode)
            etag = claim(context.store, wanted)
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
            tapes.update(db, tape.barcode, store_epoch=_FIRST_EPOCH, store_etag=etag)
            if tapes.get(db, tape.barcode).status is TapeStatus.CREATING:
                tapes.transition(db, tape.barcode, TapeStatus.AVAILABLE, context.stamp())
        return StepReport(done=1)

    def _require_no_tombstone(self, barcode: str) -> None:
        try:
            self._context.store.head(tombstone_key(barcode))
        except ObjectNotFoundError:
            return
        raise BarcodeTakenError(f"barcode {barcode} belonged to a tape that was deleted")

    def _mark_bucket(self) -> None:
        """Say what the bucket is, or find that it is something this program must not touch."""
        if self._marked:
            return
        store = self._context.store
        content = {"format": FORMAT_VERSION, "created_by": "tapectl"}
        try:
            store.put_if_absent(MARKER, json.dumps(content).encode() + b"\n")
        except PreconditionFailedError:
            try:
                found = json.loads(store.get(MARKER)).get("format")
            except (ValueError, AttributeError):
                found = "unknown"
            if found != FORMAT_VERSION:
                raise StoreRefusedError(
                    f"the store has format {found}, this program knows {FORMAT_VERSION}",
                    hint="use the tapectl that wrote it, or another prefix",
                ) from None
        self._marked = True
