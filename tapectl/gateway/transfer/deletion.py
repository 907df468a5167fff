"""DELETING tapes: their objects go, a tombstone keeps the barcode, their files go."""

from __future__ import annotations

import json
from dataclasses import replace

from tapectl.gateway.transfer.bucket_layout import (
    FORMAT_VERSION,
    ownership_key,
    tape_prefix,
    tombstone_key,
)
from tapectl.gateway.transfer.context import StepReport, TransferContext
from tapectl.gateway.transfer.fenced_tapes import (
    forget_contents,
    other_owner,
    remove_files,
    tell_moved,
)
from tapectl.gateway.transfer.ownership import (
    FencedError,
    OwnershipObject,
    read_ownership,
    replace_owner,
)
from tapectl.gateway.transfer.tape_errors import TapeErrors
from tapectl.state import gateways, tapes
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
        owned = self._own(tape)
        if owned is not None:
            self._delete_objects(tape, owned)
        # Another gateway was faster: what is in the store is its tape.
        owner = None if owned is not None else other_owner(context, tape)
        remove_files(context, tape.barcode)
        with context.state.write() as db:
            forget_contents(db, tape.barcode)
            changes = {} if owner is None else {"moved_to": owner}
            tapes.transition(db, tape.barcode, TapeStatus.DELETED, context.stamp(), **changes)
            if owner is not None:
                tell_moved(context, db, tape.barcode, owner)
        return StepReport(done=1)

    def _own(self, tape: TapeRecord) -> OwnershipObject | None:
        """Mark the tape's ownership as one that ends, so that nobody takes the tape over while its
        objects go; None if the store does not have it for us: it may never have been claimed, or
        have gone to another gateway, or be deleted already."""
        context = self._context
        with context.state.read() as db:
            gateway_epoch = gateways.read_standing(db).store_epoch
        try:
            found = read_ownership(context.store, tape.barcode)
        except ObjectNotFoundError:
            return None
        ownership = found.ownership
        ours = (context.gateway.id, gateway_epoch, tape.tape_uuid)
        if (ownership.gateway_id, ownership.gateway_epoch, ownership.tape_uuid) != ours:
            return None
        if ownership.deleted_ms is not None:
            return found
        try:
            ended = replace(ownership, deleted_ms=context.now_ms())
            return replace_owner(context.store, found, ended)
        except FencedError:
            return None

    def _delete_objects(self, tape: TapeRecord, owned: OwnershipObject) -> None:
        context = self._context
        tombstone = {
            "format": FORMAT_VERSION,
            "barcode": tape.barcode,
            "tape_uuid": tape.tape_uuid,
            "gateway_id": context.gateway.id,
            "deleted_ms": owned.ownership.deleted_ms,
        }
        context.store.put(tombstone_key(tape.barcode), json.dumps(tombstone).encode() + b"\n")
        # In order of keys: what is archived comes first. Where a lock holds it that the state does
        # not know of, nothing has gone, and the tape waits.
        for info in context.store.list(tape_prefix(tape.barcode)):
            context.check_stop()
            context.store.delete(info.key, bypass_governance=tape.bypass_governance)
        context.store.delete(ownership_key(tape.barcode))
