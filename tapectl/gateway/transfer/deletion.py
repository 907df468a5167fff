"""DELETING tapes: their objects go, a tombstone keeps the barcode, their files go."""

from __future__ import annotations

import json
import shutil

from tapectl.gateway.transfer.bucket_layout import (
    FORMAT_VERSION,
    ownership_key,
    tape_prefix,
    tombstone_key,
)
from tapectl.gateway.transfer.context import StepReport, TransferContext
from tapectl.gateway.transfer.local_files import LocalDisks, tape_folder
from tapectl.gateway.transfer.ownership import Ownership
from tapectl.gateway.transfer.tape_errors import TapeErrors
from tapectl.state import segments, tapes, verifications
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeRecord
from tapectl.store.interface import ObjectNotFoundError


class Deletion:
    """The step. The tombstone comes first and the ownership object goes last, so that the barcode
    is never free in between."""

    def __init__(self, context: TransferContext, errors: TapeErrors) -> None:
        self._context = context
        self._errors = errors

    def run(self) -> StepReport:
        with self._context.state.read() as db:
            deleting = tapes.with_status(db, TapeStatus.DELETING)
        return self._errors.each(deleting, self._delete)

    def _delete(self, tape: TapeRecord) -> StepReport:
        context = self._context
        if self._is_ours(tape):
            self._delete_objects(tape)
        for root in LocalDisks.read(context).paths.values():
            folder = tape_folder(root, tape.barcode)
            if folder.exists():
                shutil.rmtree(folder)
        with context.state.write() as db:
            segments.delete_of_tape(db, tape.barcode)
            verifications.delete_of_tape(db, tape.barcode)
            tapes.transition(db, tape.barcode, TapeStatus.DELETED, context.stamp())
        return StepReport(done=1)

    def _is_ours(self, tape: TapeRecord) -> bool:
        """Whether the store has the tape for us: it may never have been claimed, or have gone to
        another gateway, or be deleted already."""
        try:
            found = Ownership.decode(self._context.store.get(ownership_key(tape.barcode)))
        except ObjectNotFoundError:
            return False
        return (found.gateway_id, found.tape_uuid) == (self._context.gateway.id, tape.tape_uuid)

    def _delete_objects(self, tape: TapeRecord) -> None:
        context = self._context
        tombstone = {
            "format": FORMAT_VERSION,
            "barcode": tape.barcode,
            "tape_uuid": tape.tape_uuid,
            "gateway_id": context.gateway.id,
            "deleted_ms": context.now_ms(),
        }
        context.store.put(tombstone_key(tape.barcode), json.dumps(tombstone).encode() + b"\n")
        last = ownership_key(tape.barcode)
        for info in context.store.list(tape_prefix(tape.barcode)):
            context.check_stop()
            if info.key != last:
                context.store.delete(info.key)
        context.store.delete(last)
