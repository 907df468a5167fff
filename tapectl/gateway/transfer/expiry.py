"""What was overwritten is kept for some days, for recovery points of before, and then let go of.

A manifest says so before anything goes: whoever takes the tape over reads it first, or is faster
and has its number, and then nothing is deleted. Earlier recovery points are refused from then on.
Cut off anywhere, the objects that may be left are looked for again.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tapectl.gateway.retention import lock_of
from tapectl.gateway.transfer.bucket_layout import (
    archive_prefix,
    archived_sequences_of,
    epoch_of,
    segments_prefix,
    sequence_of,
)
from tapectl.gateway.transfer.context import StepReport, TransferContext, combine
from tapectl.gateway.transfer.local_files import SEALED, LocalDisks, remove
from tapectl.gateway.transfer.manifests import RecoveryPoint, note_manifest, put_manifest
from tapectl.gateway.transfer.object_removal import delete_objects
from tapectl.gateway.transfer.overwritten import mark_overwritten
from tapectl.gateway.transfer.ownership import require_ownership
from tapectl.gateway.transfer.tape_errors import TapeErrors
from tapectl.medium.manifest import ArchiveObject
from tapectl.medium.sequences import SequenceRanges
from tapectl.state import archive_objects, events, overwritten, segments, tapes
from tapectl.state.overwritten import OverwrittenSegment
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeRecord
from tapectl.state.transfer_queries import count_stored, last_stored

_log = logging.getLogger(__name__)

OVERWRITTEN_DATA_EXPIRED = "OverwrittenDataExpired"
# Elsewhere the tape is not ours to name in the store, or its objects are on their way.
_STATUSES = frozenset(
    (TapeStatus.AVAILABLE, TapeStatus.ARCHIVED, TapeStatus.RETRIEVED, TapeStatus.RECOVERED)
)
_DAY_MS = 86_400_000
# A tape that is written all the time is looked at so often, or each hundredth of what it is kept.
_LOOK_MS_MIN, _LOOK_MS_MAX = 10_000, 600_000
# Tapes that a pass looks at, and objects that it deletes, so that the other steps get their turn.
_LOOKS_A_PASS = 64
_OBJECTS_A_PASS = 256
# Segments of a tape that expire at once: a drive that seals a segment waits for the state no longer
# than it takes to enter them.
_SEGMENTS_AT_ONCE = 4000

# Segments that go together, and the archived object that holds them if there is one.
_Unit = tuple[list[OverwrittenSegment], ArchiveObject | None]


class Expiry:
    """The step; remembers between passes when it looked at which tape, and which objects are left
    of what a manifest of this process says has expired."""

    def __init__(self, context: TransferContext, errors: TapeErrors) -> None:
        self._context = context
        self._errors = errors
        self._keep_ms = round(context.settings.keep_overwritten_days * _DAY_MS)
        self._look_ms = min(max(self._keep_ms // 100, _LOOK_MS_MIN), _LOOK_MS_MAX)
        self._looked_at_ms: dict[str, int] = {}
        self._left: dict[str, list[str]] = {}
        self._objects_left = 0

    def run(self) -> StepReport:
        now_ms = self._context.now_ms()
        self._objects_left = _OBJECTS_A_PASS
        looked = self._look(now_ms)
        with self._context.state.read() as db:
            barcodes = overwritten.tapes_due(db, now_ms - self._keep_ms)
            due = [tapes.get(db, barcode) for barcode in barcodes]
            next_ms = overwritten.next_at_ms(db, now_ms - self._keep_ms)
        self._errors.each([tape for tape in due if tape.status in _STATUSES], self._expire)
        with self._context.state.read() as db:
            pending = tapes.with_expiry_pending(db)
        removed = self._errors.each(
            [tape for tape in pending if tape.status in _STATUSES], self._remove
        )
        next_due_ms = None if next_ms is None else next_ms + self._keep_ms
        return combine([looked, StepReport(next_due_ms=next_due_ms), removed])

    def _look(self, now_ms: int) -> StepReport:
        with self._context.state.read() as db:
            changed = tapes.unseen_since_manifest(db, _STATUSES)
        due_ms = {barcode: self._due_ms(barcode) for barcode in changed}
        ready = [barcode for barcode in changed if due_ms[barcode] <= now_ms]
        for barcode in ready[:_LOOKS_A_PASS]:
            self._context.check_stop()
            self._looked_at_ms[barcode] = now_ms
            mark_overwritten(self._context, barcode)
        later = [due for due in due_ms.values() if due > now_ms]
        later += [now_ms] if len(ready) > _LOOKS_A_PASS else []
        return StepReport(next_due_ms=min(later, default=None))

    def _due_ms(self, barcode: str) -> int:
        looked_at_ms = self._looked_at_ms.get(barcode)
        return 0 if looked_at_ms is None else looked_at_ms + self._look_ms

    def _expire(self, known: TapeRecord) -> StepReport:
        """Enter what no recovery point of the last days needs: from here on it goes."""
        context = self._context
        before_ms = context.now_ms() - self._keep_ms
        with context.state.write() as db:
            tape = tapes.get(db, known.barcode)
            if tape.status not in _STATUSES or tape.expiry_pending:
                return StepReport()
            going = _expirable(
                db,
                tape,
                overwritten.due_of_tape(db, tape.barcode, before_ms),
                locked=lock_of(tape, context.now_ms()) is not None,
            )
            if not going.segments:
                return StepReport()
            overwritten.expire(db, tape.barcode, [one.sequence for one in going.segments])
            archive_objects.delete(db, tape.barcode, going.objects)
            through = tape.archived_through_sequence
            if through is not None:
                through = last_stored(db, tape.barcode, through=through)
                tapes.update(db, tape.barcode, archived_through_sequence=through)
            detail = {
                "segments": len(going.segments),
                "object_bytes": sum(one.object_bytes for one in going.segments),
                "oldest_point": tapes.get(db, tape.barcode).oldest_point,
            }
            told = tapes.event_of(tape.barcode, context.stamp(), OVERWRITTEN_DATA_EXPIRED, detail)
            events.append(db, told)
        _log.info("tape %s: what was overwritten goes: %s", tape.barcode, detail)
        return StepReport(done=1)

    def _remove(self, tape: TapeRecord) -> StepReport:
        """Say in a manifest what has expired, then delete its objects and copies, as many as a pass
        may."""
        context, barcode = self._context, tape.barcode
        require_ownership(context.store, barcode, tape.store_etag)
        if barcode not in self._left:
            put = put_manifest(context, barcode, RecoveryPoint())
            with context.state.write() as db:
                tapes.update(db, barcode, manifest_number=put.number)
                note_manifest(db, barcode, put)
            self._left[barcode] = self._objects(tape)
        left = self._left[barcode]
        going, left[:] = left[: self._objects_left], left[self._objects_left :]
        self._objects_left -= len(going)
        try:
            delete_objects(context, going)
        except BaseException:
            # What has gone of them is not known.
            del self._left[barcode]
            raise
        if left:
            return StepReport(done=len(going), waiting=1)
        del self._left[barcode]
        self._remove_copies(barcode)
        return StepReport(done=1)

    def _remove_copies(self, barcode: str) -> None:
        """Drop what the cache has of expired segments: all of them are gone then."""
        local = LocalDisks.read(self._context)
        with self._context.state.write() as db:
            copies = overwritten.expired_on_disks(db, barcode)
            for record in copies:
                segments.set_cache_disk(db, barcode, record.sequence, None)
            tapes.update(db, barcode, expiry_pending=0)
        for record in copies:
            remove(local.file(record.cache_disk_id, barcode, record.sequence, SEALED))

    def _objects(self, tape: TapeRecord) -> list[str]:
        """Return the keys of a tape's objects that hold expired segments and nothing else, but for
        those of a later owner."""
        expired = SequenceRanges(overwritten.decode_ranges(tape.expired))
        store, barcode = self._context.store, tape.barcode
        keys = [
            info.key
            for info in store.list(segments_prefix(barcode))
            if expired.hold(sequence_of(info.key), sequence_of(info.key))
        ]
        keys += [
            info.key
            for info in store.list(archive_prefix(barcode))
            if expired.hold(*archived_sequences_of(info.key))
        ]
        return [key for key in keys if epoch_of(key) <= tape.store_epoch]


class _Going(NamedTuple):
    """Segments that expire, by ascending sequence, and the archived objects that hold some of
    them."""

    segments: list[OverwrittenSegment]
    objects: list[ArchiveObject]


def _expirable(
    db: sqlite3.Connection, tape: TapeRecord, due: Sequence[OverwrittenSegment], *, locked: bool
) -> _Going:
    """Return the first that can go of what is due; with a lock, nothing of what is archived."""
    through = -1 if tape.archived_through_sequence is None else tape.archived_through_sequence
    units: list[_Unit] = [([one], None) for one in due if one.sequence > through]
    if not locked:
        units += _archived_units(db, tape, [one for one in due if one.sequence <= through])
    going = _Going([], [])
    for members, composed in sorted(units, key=lambda unit: unit[0][0].sequence):
        if len(going.segments) >= _SEGMENTS_AT_ONCE:
            break
        going.segments.extend(members)
        if composed is not None:
            going.objects.append(composed)
    return going


def _archived_units(
    db: sqlite3.Connection, tape: TapeRecord, due: Sequence[OverwrittenSegment]
) -> Iterator[_Unit]:
    """Yield what is due of a tape's archived segments, by object: one goes as a whole only."""
    left = {one.sequence: one for one in due}
    for composed in archive_objects.of_tape(db, tape.barcode):
        span = range(composed.first_sequence, composed.last_sequence + 1)
        held = [left.pop(sequence) for sequence in span if sequence in left]
        if held and len(held) == count_stored(db, tape.barcode, span[0], span[-1]):
            yield held, composed
    # What is in none of them is an object of its own.
    for one in left.values():
        yield [one], None
