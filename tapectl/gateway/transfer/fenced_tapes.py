"""A tape that the fence of the store shuts this gateway out of: whose is it now?

Of a tape on the shelf everything is in the store: when another gateway has retrieved it, it leaves
quietly. Any other tape is lost to this gateway, with what it has of it and the store has not.
"""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3

from tapectl.gateway.transfer.bucket_layout import tombstone_key
from tapectl.gateway.transfer.context import TransferContext
from tapectl.gateway.transfer.local_files import LocalDisks, tape_folder
from tapectl.gateway.transfer.ownership import Ownership, OwnershipObject, read_ownership
from tapectl.state import (
    archive_objects,
    events,
    gateways,
    retrievals,
    segments,
    tapes,
    verifications,
)
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeRecord
from tapectl.store.interface import ObjectNotFoundError, ObjectStore

_log = logging.getLogger(__name__)

TAPE_MOVED_TO_GATEWAY = "TapeMovedToGateway"

# Nothing of these is in this gateway alone.
_LEAVES = frozenset({TapeStatus.ARCHIVED, TapeStatus.RETRIEVING})
# These have no way to IRRECOVERABLE, or have ended already.
_STAYS = frozenset({TapeStatus.ARCHIVED, TapeStatus.IRRECOVERABLE, TapeStatus.DELETING})


def settle_fenced(context: TransferContext, barcode: str, reason: str) -> bool:
    """Enter what a tape is after a step of it was refused by the store; return False if it has to
    wait for somebody to look.

    Raises ObjectNotFoundError, StoreDataError (the store does not say whose it is), StoreError.
    """
    with context.state.read() as db:
        tape = tapes.get(db, barcode)
    found = _owner_in_store(context.store, barcode)
    if found is not None and is_ours(context, tape, found.ownership):
        if found.etag != tape.store_etag:
            # This machine put it, and was cut off before it could enter that.
            with context.state.write() as db:
                tapes.update(db, barcode, store_etag=found.etag, on_shelf=None)
            return True
    elif tape.status in _LEAVES and (owner := other_owner(context, tape)) is not None:
        _log.info("tape %s belongs to gateway %s now", barcode, owner)
        leave(context, tape, owner)
        return True
    _log.error("tape %s: %s", barcode, reason)
    if tape.status in _STAYS:
        return False
    with context.state.write() as db:
        if tapes.get(db, barcode).status not in _STAYS:
            by = context.stamp()
            tapes.transition(db, barcode, TapeStatus.IRRECOVERABLE, by, status_detail=reason)
    return True


def is_ours(context: TransferContext, tape: TapeRecord, ownership: Ownership) -> bool:
    """Whether an ownership object is one that this machine has put for this tape."""
    with context.state.read() as db:
        gateway_epoch = gateways.read_standing(db).store_epoch
    ours = (context.gateway.id, gateway_epoch, tape.tape_uuid, tape.store_epoch)
    return ours == (
        ownership.gateway_id,
        ownership.gateway_epoch,
        ownership.tape_uuid,
        ownership.epoch,
    )


def other_owner(context: TransferContext, tape: TapeRecord) -> str | None:
    """Return the id of the gateway that has the tape now, or had it until it deleted it; None if
    that is this one, or the store does not know the tape. Raises StoreDataError, StoreError."""
    found = _owner_in_store(context.store, tape.barcode)
    if found is not None:
        owner, tape_uuid = found.ownership.gateway_id, found.ownership.tape_uuid
    else:
        try:
            tombstone = json.loads(context.store.get(tombstone_key(tape.barcode)))
        except ObjectNotFoundError:
            return None
        owner, tape_uuid = str(tombstone["gateway_id"]), tombstone["tape_uuid"]
    return owner if owner != context.gateway.id and tape_uuid == tape.tape_uuid else None


def leave(context: TransferContext, tape: TapeRecord, owner: str) -> None:
    """Let a tape go of which another gateway has all there is."""
    remove_files(context, tape.barcode)
    with context.state.write() as db:
        if tapes.get(db, tape.barcode).status not in _LEAVES:
            return  # changed meanwhile, by a command
        forget_contents(db, tape.barcode)
        detail = f"belongs to gateway {owner} now"
        by = context.stamp()
        tapes.transition(
            db, tape.barcode, TapeStatus.DELETED, by, moved_to=owner, status_detail=detail
        )
        tell_moved(context, db, tape.barcode, owner)


def tell_moved(context: TransferContext, db: sqlite3.Connection, barcode: str, owner: str) -> None:
    """Record that another gateway has a tape now."""
    detail = {"to_gateway": owner}
    told = tapes.event_of(barcode, context.stamp(), TAPE_MOVED_TO_GATEWAY, detail)
    events.append(db, told)


def remove_files(context: TransferContext, barcode: str) -> None:
    """Remove all that the disks have of a tape; raises OSError."""
    for root in LocalDisks.read(context).paths.values():
        folder = tape_folder(root, barcode)
        if folder.exists():
            shutil.rmtree(folder)


def forget_contents(db: sqlite3.Connection, barcode: str) -> None:
    """Forget what is on a tape whose row stays, so that its barcode is not given again."""
    segments.delete_of_tape(db, barcode)
    archive_objects.delete_of_tape(db, barcode)
    retrievals.delete_of_tape(db, barcode)
    verifications.delete_of_tape(db, barcode)


def _owner_in_store(store: ObjectStore, barcode: str) -> OwnershipObject | None:
    try:
        return read_ownership(store, barcode)
    except ObjectNotFoundError:
        return None
