"""Ejected tapes go to the shelf: IN TRANSIT TO VTS, ARCHIVING, ARCHIVED.

When the hold is over and every segment is in the store, the store copies each segment
object into the pool's storage class, below `archive/`. A tape that was retrieved has nothing new
and so copies nothing. Cut off anywhere, it goes on with the objects that are not there yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import as_completed

from tapectl.gateway.transfer.bucket_layout import (
    archive_prefix,
    epoch_of,
    segments_prefix,
)
from tapectl.gateway.transfer.context import StepReport, TransferContext, combine
from tapectl.gateway.transfer.leftovers import recover_leftovers
from tapectl.gateway.transfer.local_files import (
    SEALED,
    LocalDisks,
    remove,
    remove_empty_folders,
)
from tapectl.gateway.transfer.manifests import RecoveryPoint, note_manifest, put_manifest
from tapectl.gateway.transfer.ownership import require_ownership
from tapectl.gateway.transfer.stored_segment import object_key
from tapectl.gateway.transfer.tape_errors import TapeErrors
from tapectl.state import pools, segments, tapes, volumes
from tapectl.state.segments import SegmentRecord
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeRecord
from tapectl.state.transfer_queries import cached_of_tape, forget_cached
from tapectl.store.interface import PutOptions, StorageClass

# Copies between two looks at whether to stop, and two updates of the progress.
_BATCH = 64


class Archiving:
    """The step."""

    def __init__(self, context: TransferContext, errors: TapeErrors) -> None:
        self._context = context
        self._errors = errors

    def run(self) -> StepReport:
        context = self._context
        with context.state.write() as db:
            released = tapes.release_expired_holds(db, context.now_ms())
            begun = [
                tapes.transition(db, tape.barcode, TapeStatus.ARCHIVING, context.stamp())
                for tape in tapes.ready_to_archive(db, context.now_ms())
            ]
            archiving = tapes.with_status(db, TapeStatus.ARCHIVING)
            next_hold_ms = tapes.next_hold_end_ms(db)
        copied = self._errors.each(archiving, self._archive)
        return combine([StepReport(done=released + len(begun), next_due_ms=next_hold_ms), copied])

    def _archive(self, tape: TapeRecord) -> StepReport:
        context = self._context
        # Out of the library for good, no drive can have the tape: now it can be told whether the
        # disks hold more of it than the state knows.
        recovered = recover_leftovers(context, LocalDisks.read(context), tape)
        with context.state.read() as db:
            records = segments.of_tape(db, tape.barcode)
            if segments.waiting_uploads(db, tape.barcode).segments:
                return StepReport(done=recovered, waiting=1)
            pool = pools.find(db, tape.pool_id)
            volume_changed = tape.barcode in volumes.changed_since_manifest(db)
        assert pool is not None  # a foreign key
        through = tape.archived_through_sequence
        new = [record for record in records if through is None or record.sequence > through]
        number = tape.manifest_number
        if new or number == 0 or volume_changed:
            require_ownership(context.store, tape.barcode, tape.store_etag)
            through = new[-1].sequence if new else through
            self._copy(tape, new, StorageClass(pool.storage_class))
            put = put_manifest(
                context,
                tape.barcode,
                RecoveryPoint(status=TapeStatus.ARCHIVED, archived_through=through),
            )
            number = put.number
            with context.state.write() as db:
                note_manifest(db, tape.barcode, put)
            for info in context.store.list(segments_prefix(tape.barcode)):
                context.check_stop()
                # Of a later owner, should the tape have gone to one since the manifest was put,
                # nothing may be deleted.
                if epoch_of(info.key) <= tape.store_epoch:
                    context.store.delete(info.key)
        self._leave(tape, number, through)
        return StepReport(done=1)

    def _copy(
        self, tape: TapeRecord, records: Sequence[SegmentRecord], storage_class: StorageClass
    ) -> None:
        """Copy what has not been copied; a copy of the right size and class is one of ours."""
        context = self._context
        present = {
            info.key: info.size_bytes
            for info in context.store.list(archive_prefix(tape.barcode))
            if info.storage_class is storage_class
        }
        missing = [
            record
            for record in records
            if present.get(object_key(record, archived=True)) != record.object_bytes
        ]

        def copy(record: SegmentRecord) -> None:
            context.check_stop()
            context.store.copy(
                object_key(record, archived=False),
                object_key(record, archived=True),
                options=PutOptions(storage_class=storage_class),
            )

        for start in range(0, len(missing), _BATCH):
            futures = [context.pool.submit(copy, one) for one in missing[start:][:_BATCH]]
            failures = [error for one in as_completed(futures) if (error := one.exception())]
            if failures:
                raise failures[0]
            left = len(missing) - min(start + _BATCH, len(missing))
            with context.state.write() as db:
                tapes.update(db, tape.barcode, progress=100.0 * (1 - left / len(records)))

    def _leave(self, tape: TapeRecord, number: int, through: int | None) -> None:
        """Make the tape ARCHIVED and drop what the cache has of it."""
        context = self._context
        local = LocalDisks.read(context)
        with context.state.write() as db:
            cached = cached_of_tape(db, tape.barcode)
            forget_cached(db, tape.barcode)
            tapes.transition(
                db,
                tape.barcode,
                TapeStatus.ARCHIVED,
                context.stamp(),
                manifest_number=number,
                archived_through_sequence=through,
                restore_until_ms=None,
            )
        for place in cached:
            remove(local.file(place.disk_id, place.barcode, place.sequence, SEALED))
        remove_empty_folders(local, tape.barcode)
