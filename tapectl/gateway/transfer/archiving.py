"""Ejected tapes go to the shelf: IN TRANSIT TO VTS, ARCHIVING, ARCHIVED.

When the hold is over and every segment is in the store, the store makes one large object of many
segments in the pool's storage class, below `archive/`, and a manifest says so; then they go, and
the next ones come. At the end all of it is locked if the pool does that. A tape that was retrieved
has nothing new and so nothing is made. Cut off anywhere, it goes on with the object that no
manifest names yet.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tapectl.gateway.retention import lock_columns
from tapectl.gateway.transfer.archive_conformance import conform, lock_archived
from tapectl.gateway.transfer.bucket_layout import (
    archive_key,
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
from tapectl.gateway.transfer.object_removal import delete_objects
from tapectl.gateway.transfer.overwritten import mark_overwritten
from tapectl.gateway.transfer.ownership import require_ownership
from tapectl.gateway.transfer.stored_segment import locate_all, object_key
from tapectl.gateway.transfer.tape_errors import TapeErrors
from tapectl.medium.manifest import ArchiveObject
from tapectl.state import archive_objects, pools, segments, tapes, volumes
from tapectl.state.pools import PoolRecord
from tapectl.state.segments import SegmentRecord
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeRecord
from tapectl.state.transfer_queries import (
    cached_of_tape,
    forget_cached,
    last_stored,
    stored_after,
)
from tapectl.store.interface import (
    COMPOSED_SOURCES_MAX,
    ObjectLockedError,
    ObjectNotFoundError,
    PutOptions,
    Source,
    StorageClass,
)

_log = logging.getLogger(__name__)

# Objects that a pass makes, of all tapes together, so that the other steps get their turn.
_OBJECTS_A_PASS = 4


class Archiving:
    """The step."""

    def __init__(self, context: TransferContext, errors: TapeErrors) -> None:
        self._context = context
        self._errors = errors
        self._objects_left = 0
        self._poll_at_ms: dict[str, int] = {}
        # Tapes of which it was looked what had been overwritten: nothing is written on them now.
        self._looked_at: set[str] = set()

    def run(self) -> StepReport:
        context = self._context
        self._objects_left = _OBJECTS_A_PASS
        with context.state.write() as db:
            released = tapes.release_expired_holds(db, context.now_ms())
            begun = [
                tapes.transition(db, tape.barcode, TapeStatus.ARCHIVING, context.stamp())
                for tape in tapes.ready_to_archive(db, context.now_ms())
            ]
            archiving = tapes.with_status(db, TapeStatus.ARCHIVING)
            next_hold_ms = tapes.next_hold_end_ms(db)
        archived = self._errors.each(archiving, self._archive)
        return combine([StepReport(done=released + len(begun), next_due_ms=next_hold_ms), archived])

    def _archive(self, tape: TapeRecord) -> StepReport:
        """Do one thing: make the next object, or finish."""
        context = self._context
        if (due_ms := self._poll_at_ms.get(tape.barcode, 0)) > context.now_ms():
            return StepReport(waiting=1, next_due_ms=due_ms)
        # Out of the library for good, no drive can have the tape: now it can be told whether the
        # disks hold more of it than the state knows.
        recovered = recover_leftovers(context, LocalDisks.read(context), tape)
        with context.state.read() as db:
            waiting = segments.waiting_uploads(db, tape.barcode).segments
        if waiting:
            return StepReport(done=recovered, waiting=1)
        looked_at = not recovered and tape.barcode in self._looked_at
        if not looked_at and mark_overwritten(context, tape.barcode):
            self._looked_at.add(tape.barcode)
        with context.state.read() as db:
            pool = pools.find(db, tape.pool_id)
            through = tape.archived_through_sequence
            following = stored_after(
                db,
                tape.barcode,
                -1 if through is None else through,
                limit=COMPOSED_SOURCES_MAX,
            )
            last = last_stored(db, tape.barcode)
        assert pool is not None  # a foreign key
        if following and not self._objects_left:
            return StepReport(done=recovered, waiting=1)
        require_ownership(context.store, tape.barcode, tape.store_etag)
        if pool.locks and tape.retention_start_at_ms is None:
            tape = self._start_retention(tape, pool)
        options = archive_options(tape, pool)
        if following:
            self._objects_left -= 1
            records = self._next_object(following)
            self._compose(tape, records, options)
            if records[-1].sequence != last:
                return StepReport(done=1)
        return self._finish(tape.barcode, options)

    def _start_retention(self, tape: TapeRecord, pool: PoolRecord) -> TapeRecord:
        """Say since when the tape is locked, before anything of it is."""
        columns = lock_columns(pool, self._context.now_ms())
        with self._context.state.write() as db:
            tapes.update(db, tape.barcode, archive_pending=1, **columns)
            return tapes.get(db, tape.barcode)

    def _finish(self, barcode: str, options: PutOptions) -> StepReport:
        """Bring what was archived before to what the pool wants, lock all of it, and leave."""
        context = self._context
        with context.state.read() as db:
            tape = tapes.get(db, barcode)
            volume_changed = barcode in volumes.changed_since_manifest(db)
        if tape.archive_pending and not conform(context, tape, options):
            # What it had archived before goes into another class, and cannot be read any more.
            due_ms = context.now_ms() + round(context.settings.retrieval_poll_s * 1000)
            self._poll_at_ms[barcode] = due_ms
            return StepReport(waiting=1, next_due_ms=due_ms)
        number = tape.manifest_number
        if volume_changed or tape.manifest_stale or tape.archive_pending or number == 0:
            put = put_manifest(context, barcode, RecoveryPoint(status=TapeStatus.ARCHIVED))
            number = put.number
            with context.state.write() as db:
                tapes.update(db, barcode, manifest_number=number)
                note_manifest(db, barcode, put)
        lock_archived(context, tape, number)
        self._tidy(tape)
        self._leave(tape)
        return StepReport(done=1)

    def _next_object(self, records: Sequence[SegmentRecord]) -> Sequence[SegmentRecord]:
        """Return the first of the segments, as many as make one object; one at least.

        What has been overwritten and what counts are never in the same, nor is anything of which a
        part has expired: an object can be let go of, and read, as a whole only.
        """
        size_bytes = 0
        for count, record in enumerate(records):
            size_bytes += record.object_bytes or 0
            if count and (
                size_bytes > self._context.settings.archive_object_bytes
                or record.sequence != records[count - 1].sequence + 1
                or (record.overwritten_at_ms is None) != (records[0].overwritten_at_ms is None)
            ):
                return records[:count]
        return records

    def _compose(
        self, tape: TapeRecord, records: Sequence[SegmentRecord], options: PutOptions
    ) -> None:
        """Make one object of segments, name it in a manifest and let go of what it was made of."""
        context = self._context
        context.check_stop()
        sources = [Source(object_key(record), record.object_bytes or 0) for record in records]
        composed = ArchiveObject(
            records[0].sequence,
            records[-1].sequence,
            sum(source.size_bytes for source in sources),
            tape.store_epoch,
        )
        key = archive_key(tape.barcode, composed)
        if not self._is_there(key, composed.size_bytes, options.storage_class):
            context.store.compose(sources, key, options=options)
        with context.state.read() as db:
            last = last_stored(db, tape.barcode) or 0
        status = TapeStatus.ARCHIVED if composed.last_sequence == last else TapeStatus.ARCHIVING
        put = put_manifest(context, tape.barcode, RecoveryPoint(status=status, composed=composed))
        with context.state.write() as db:
            archive_objects.insert(db, tape.barcode, [composed])
            tapes.update(
                db,
                tape.barcode,
                manifest_number=put.number,
                archived_through_sequence=composed.last_sequence,
                progress=100.0 * composed.last_sequence / max(last, 1),
            )
            note_manifest(db, tape.barcode, put)
        delete_objects(context, [source.key for source in sources])

    def _is_there(self, key: str, size_bytes: int, storage_class: StorageClass) -> bool:
        """Whether an object was made before the process that made it could say so."""
        try:
            info = self._context.store.head(key)
        except ObjectNotFoundError:
            return False
        return (info.size_bytes, info.storage_class) == (size_bytes, storage_class)

    def _tidy(self, tape: TapeRecord) -> None:
        """Delete what a process that died, or an earlier owner, has left of segments that are
        archived elsewhere."""
        context = self._context
        left = [info.key for info in context.store.list(segments_prefix(tape.barcode))]
        archived = [info.key for info in context.store.list(archive_prefix(tape.barcode))]
        with context.state.read() as db:
            known = {place.key for _, place in locate_all(db, tape.barcode)}
        # Of a later owner, should the tape have gone to one since the manifest was put, nothing may
        # be deleted.
        delete_objects(context, [key for key in left if epoch_of(key) <= tape.store_epoch])
        for key in archived:
            if key not in known and epoch_of(key) <= tape.store_epoch:
                try:
                    context.store.delete(key)
                except ObjectLockedError as error:
                    _log.warning("of no use, and cannot be deleted yet: %s", error.message)

    def _leave(self, tape: TapeRecord) -> None:
        """Make the tape ARCHIVED and drop what the cache has of it."""
        context = self._context
        local = LocalDisks.read(context)
        self._poll_at_ms.pop(tape.barcode, None)
        self._looked_at.discard(tape.barcode)
        with context.state.write() as db:
            cached = cached_of_tape(db, tape.barcode)
            forget_cached(db, tape.barcode)
            tapes.transition(
                db,
                tape.barcode,
                TapeStatus.ARCHIVED,
                context.stamp(),
                restore_until_ms=None,
                archive_pending=0,
            )
        for place in cached:
            remove(local.file(place.disk_id, place.barcode, place.sequence, SEALED))
        remove_empty_folders(local, tape.barcode)
