"""Ejected tapes go to the shelf: IN TRANSIT TO VTS, ARCHIVING, ARCHIVED.

When the hold is over and every segment is in the store, the store copies each segment
object into the pool's storage class, below `archive/`, and locks them if the pool does. A tape that
was retrieved has nothing new and so copies nothing. Cut off anywhere, it goes on with the objects
that are not there yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import as_completed

from tapectl.gateway.retention import lock_columns
from tapectl.gateway.transfer.archived_objects import conform, lock_archived
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
from tapectl.gateway.transfer.object_options import archive_options
from tapectl.gateway.transfer.ownership import require_ownership
from tapectl.gateway.transfer.stored_segment import object_key
from tapectl.gateway.transfer.tape_errors import TapeErrors
from tapectl.state import pools, segments, tapes, volumes
from tapectl.state.pools import PoolRecord
from tapectl.state.segments import SegmentRecord
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeRecord
from tapectl.state.transfer_queries import cached_of_tape, forget_cached
from tapectl.store.interface import PutOptions

# Copies between two looks at whether to stop, and two updates of the progress.
_BATCH = 64


class Archiving:
    """The step."""

    def __init__(self, context: TransferContext, errors: TapeErrors) -> None:
        self._context = context
        self._errors = errors
        self._poll_at_ms: dict[str, int] = {}

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
        if (due_ms := self._poll_at_ms.get(tape.barcode, 0)) > context.now_ms():
            return StepReport(waiting=1, next_due_ms=due_ms)
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
        changed = tape.archive_pending or tape.manifest_stale or volume_changed
        locks_now = pool.locks and tape.retention_start_at_ms is None
        if not (new or changed or locks_now or tape.manifest_number == 0):
            self._leave(tape, tape.manifest_number, through)
            return StepReport(done=1)
        return self._put_away(tape, pool, new)

    def _put_away(
        self, tape: TapeRecord, pool: PoolRecord, new: Sequence[SegmentRecord]
    ) -> StepReport:
        """Archive what is new, and what the pool wants otherwise than it is."""
        context = self._context
        require_ownership(context.store, tape.barcode, tape.store_etag)
        through = new[-1].sequence if new else tape.archived_through_sequence
        options = archive_options(tape, pool)
        moves = tape.archive_pending
        if pool.locks and tape.retention_start_at_ms is None:
            tape = self._start_retention(tape, pool)
        self._copy(tape, new, options)
        if moves and not conform(context, tape, options):
            # What it had archived before goes into another class, and cannot be read any more.
            due_ms = context.now_ms() + round(context.settings.retrieval_poll_s * 1000)
            self._poll_at_ms[tape.barcode] = due_ms
            return StepReport(waiting=1, next_due_ms=due_ms)
        put = put_manifest(
            context,
            tape.barcode,
            RecoveryPoint(status=TapeStatus.ARCHIVED, archived_through=through),
        )
        with context.state.write() as db:
            note_manifest(db, tape.barcode, put)
        lock_archived(context, tape, put.number)
        for info in context.store.list(segments_prefix(tape.barcode)):
            context.check_stop()
            # Of a later owner, should the tape have gone to one since the manifest was put,
            # nothing may be deleted.
            if epoch_of(info.key) <= tape.store_epoch:
                context.store.delete(info.key)
        self._leave(tape, put.number, through)
        return StepReport(done=1)

    def _start_retention(self, tape: TapeRecord, pool: PoolRecord) -> TapeRecord:
        """Say since when the tape is locked, before anything of it is. Cut off in between, it is
        pending."""
        columns = lock_columns(pool, self._context.now_ms())
        with self._context.state.write() as db:
            tapes.update(db, tape.barcode, archive_pending=1, **columns)
            return tapes.get(db, tape.barcode)

    def _copy(
        self, tape: TapeRecord, records: Sequence[SegmentRecord], options: PutOptions
    ) -> None:
        """Copy what has not been copied; a copy of the right size and class is one of ours."""
        context = self._context
        present = {
            info.key: info.size_bytes
            for info in context.store.list(archive_prefix(tape.barcode))
            if info.storage_class is options.storage_class
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
                options=options,
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
        self._poll_at_ms.pop(tape.barcode, None)
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
                archive_pending=0,
            )
        for place in cached:
            remove(local.file(place.disk_id, place.barcode, place.sequence, SEALED))
        remove_empty_folders(local, tape.barcode)
