"""A tape goes from one owner to another, in the store.

The new ownership object keeps the old owner from beginning anything. What it had begun ends in one
of two ways: its manifest comes before ours and is part of what we take over, or ours takes the
number and its manifest is refused. Every other object it may still put is in its own epoch.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.recovery_points import (
    DAMAGED_MAX,
    blank_point,
    last_sequence,
    latest_number,
    read_point,
    require_kept,
)
from tapectl.gateway.transfer.bucket_layout import manifest_key
from tapectl.gateway.transfer.ownership import Ownership, OwnershipObject, replace_owner
from tapectl.medium.manifest import Manifest, ManifestHead, ManifestRow, encode_manifest
from tapectl.medium.volume import VolumeRecord
from tapectl.state import archive_objects, segments, tags, volumes
from tapectl.state.overwritten import enter_expired
from tapectl.state.segments import SegmentRecord
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeRecord
from tapectl.store.interface import (
    ObjectNotFoundError,
    ObjectStore,
    PreconditionFailedError,
    StoreDataError,
)

_log = logging.getLogger(__name__)

# Manifests that the old owner may put before it notices.
_TRIES_MAX = 100


class TakeoverError(TapectlError):
    """The old owner of a tape went on writing it all the time."""

    exit_code = ExitCode.STORE_CONFLICT
    code = "takeover"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOwner:
    """Who takes a tape over, and when."""

    gateway_id: str
    gateway_epoch: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class TakenTape:
    """A tape that is ours, and our first recovery point of it. Its log can be read at any time: the
    pages that it names never change."""

    owned: OwnershipObject
    point: Manifest

    @property
    def head(self) -> ManifestHead:
        return self.point.head

    @property
    def volume(self) -> VolumeRecord:
        return self.head.volume


def take_over(
    store: ObjectStore,
    found: OwnershipObject,
    by: NewOwner,
    *,
    point: Manifest | None = None,
    status: TapeStatus | None = None,
    known_number: int = 0,
) -> TakenTape:
    """Become the owner of a tape, and make a recovery point of it.

    It is the tape as it was last, or at `point`: then what came after it is in the log all the
    same, and counts for nothing. `status` is what our recovery point says; None: what the last one
    does. `known_number` is that of a manifest there is. Raises FencedError if somebody else was
    faster, RecoveryPointNotFoundError if the old owner has let go of what the point needs, just
    now: the tape is ours then, and can be taken at another point. StoreError.
    """
    ownership = replace(
        found.ownership,
        gateway_id=by.gateway_id,
        gateway_epoch=by.gateway_epoch,
        epoch=found.ownership.epoch + 1,
    )
    owned = replace_owner(store, found, ownership)
    undone_from = None if point is None else last_sequence(store, point) + 1
    for _ in range(_TRIES_MAX):
        known_number = latest_number(store, ownership.barcode, known_number)
        last = _last_readable(store, ownership, known_number)
        if point is not None:
            require_kept(point, last.head.oldest_point)
        head = replace(
            last.head,
            number=known_number + 1,
            created_ms=by.now_ms,
            gateway_id=by.gateway_id,
            epoch=ownership.epoch,
            status=last.head.status if status is None else status.value,
        )
        ours = Manifest(head, last.page_epochs, last.rows)
        if point is not None and undone_from is not None:
            volume = point.head.volume.without(undone_from, last_sequence(store, last))
            head = replace(head, volume=volume, used_bytes=point.head.used_bytes)
            ours = replace(ours, head=head)
        try:
            store.put_if_absent(
                manifest_key(head.barcode, head.number),
                encode_manifest(head, ours.page_epochs, ours.rows),
                options=ownership.options,
            )
        except PreconditionFailedError:
            known_number += 1
            continue
        return TakenTape(owned, ours)
    raise TakeoverError(
        f"the old owner of tape {ownership.barcode} goes on writing it", hint="stop it, try again"
    )


def tape_of_head(
    head: ManifestHead, *, created_ms: int, status: TapeStatus, status_ms: int
) -> TapeRecord:
    """Return what a manifest says of a tape, as a row of the state; it is in no element."""
    tape = TapeRecord(
        barcode=head.barcode,
        tape_uuid=head.tape_uuid,
        size_bytes=head.size_bytes,
        used_bytes=head.used_bytes,
        status=status,
        pool_id=head.pool,
        worm=head.worm,
        write_protected=status is TapeStatus.RECOVERED,
        created_at_ms=created_ms,
        status_at_ms=status_ms,
        archive_completed_at_ms=head.created_ms if status is TapeStatus.ARCHIVED else None,
        manifest_number=head.number,
        archived_through_sequence=head.archived_through,
        generation=head.generation,
        cleaning=head.cleaning,
    )
    return with_head(tape, head)


def with_head(tape: TapeRecord, head: ManifestHead) -> TapeRecord:
    """Return a tape with what a manifest says of it beside its data.

    Whether what is archived is as its pool wants it the manifest cannot say: it is looked at.
    """
    return replace(
        tape,
        pool_id=head.pool,
        tags=tags.encode(head.tags),
        pool_entered_at_ms=head.pool_entered_ms,
        retention_start_at_ms=head.retention_start_ms,
        retention_mode=head.retention_mode,
        retained_until_ms=head.retained_until_ms,
        encryption=head.encryption,
        kms_key=head.kms_key,
        data_key=head.data_key,
        archive_pending=head.archived_through is not None,
    )


def enter_contents(
    db: sqlite3.Connection, tape: TapeRecord, taken: TakenTape, rows: Iterable[ManifestRow]
) -> None:
    """Enter the log and the volume record of a tape whose row is in the state already: all that a
    manifest says beyond the row."""
    segments.insert_all(
        db,
        (
            SegmentRecord(
                barcode=tape.barcode,
                summary=row.summary,
                sealed_at_ms=tape.created_at_ms,
                cache_disk_id=None,
                buffer_disk_id=None,
                uploaded_at_ms=taken.head.created_ms,
                object_bytes=row.object_bytes,
                store_epoch=row.epoch,
            )
            for row in rows
        ),
    )
    enter_expired(
        db,
        tape.barcode,
        taken.head.expired,
        at_ms=taken.head.created_ms,
        oldest_point=taken.head.oldest_point,
    )
    archive_objects.insert(db, tape.barcode, taken.head.archive_objects)
    volumes.put(db, tape.barcode, taken.volume.to_document())
    volumes.record_manifest(db, tape.barcode, 1)


def _last_readable(store: ObjectStore, ownership: Ownership, number: int) -> Manifest:
    """Return the latest recovery point up to a number that is not damaged; the blank tape if there
    is none, and then IRRECOVERABLE if there was one. One object that the store has lost must cost
    no more than that."""
    for candidate in range(number, max(0, number - DAMAGED_MAX), -1):
        try:
            return read_point(store, ownership.barcode, candidate)
        except (StoreDataError, ObjectNotFoundError) as error:
            _log.error("tape %s: %s", ownership.barcode, error.message)
    blank = blank_point(ownership)
    if number == 0:
        return blank
    return replace(blank, head=replace(blank.head, status=TapeStatus.IRRECOVERABLE.value))
