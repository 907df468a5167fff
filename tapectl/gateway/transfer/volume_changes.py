"""Tapes whose partitions, auxiliary memory, pool or tags changed: a recovery point says so."""

from __future__ import annotations

from tapectl.gateway.transfer.context import StepReport, TransferContext
from tapectl.gateway.transfer.manifests import RecoveryPoint, note_manifest, put_manifest
from tapectl.gateway.transfer.ownership import require_ownership
from tapectl.gateway.transfer.tape_errors import TapeErrors
from tapectl.state import tapes, volumes
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeRecord

# Elsewhere the tape is not ours to name in the store, or will get a manifest anyway.
_NAMED = frozenset(
    (TapeStatus.AVAILABLE, TapeStatus.ARCHIVED, TapeStatus.RETRIEVED, TapeStatus.RECOVERED)
)


class VolumeChanges:
    """The step. It comes after the uploads, whose manifests say the same."""

    def __init__(self, context: TransferContext, errors: TapeErrors) -> None:
        self._context = context
        self._errors = errors

    def run(self) -> StepReport:
        with self._context.state.read() as db:
            barcodes = {*volumes.changed_since_manifest(db), *tapes.with_stale_manifest(db)}
            found = [tapes.find(db, one) for one in sorted(barcodes)]
            changed = [tape for tape in found if tape is not None]
        return self._errors.each([tape for tape in changed if tape.status in _NAMED], self._name)

    def _name(self, tape: TapeRecord) -> StepReport:
        context = self._context
        require_ownership(context.store, tape.barcode, tape.store_etag)
        put = put_manifest(context, tape.barcode, RecoveryPoint())
        with context.state.write() as db:
            tapes.update(db, tape.barcode, manifest_number=put.number)
            note_manifest(db, tape.barcode, put)
        return StepReport(done=1)
