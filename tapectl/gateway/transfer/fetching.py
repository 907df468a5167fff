"""Cold reads: brings segments back into the cache, first the range somebody waits for.

`FetchService.ensure` answers at once, "not there yet" being an answer; threads of its own
do the work: the wanted range, the rest of its segment, the segment after it.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tapectl.disks.tape_files import SEALED
from tapectl.gateway.keyring import TapeKeyError
from tapectl.gateway.tape_keys import seal_of
from tapectl.gateway.transfer.context import TransferContext
from tapectl.gateway.transfer.eviction import Eviction
from tapectl.gateway.transfer.local_files import LocalDisks, remove, tape_folder
from tapectl.gateway.transfer.segment_fill import FillSource, SegmentFill
from tapectl.gateway.transfer.stored_segment import locate
from tapectl.medium.errors import MediumFormatError
from tapectl.scsi.cartridge import CartridgeKeyError, CartridgeReadError
from tapectl.state import disks, segments, tapes
from tapectl.state.disks import DiskRole
from tapectl.state.errors import StateError
from tapectl.state.segments import SegmentRecord
from tapectl.state.tape_status import LOADABLE, TapeStatus
from tapectl.state.transfer_queries import next_sequence
from tapectl.store.interface import OF_ONE_OBJECT, ObjectArchivedError, StoreError

_log = logging.getLogger(__name__)

# Requests at the same time; each is up to 8 MiB.
_THREADS = 6
# Segments on their way at the same time; further ones that nobody waits for any more are dropped.
_FILLS_MAX = 16
# A fill that met a store that is down, or a full cache, goes on after this.
_RETRY_S = 1.0
# That an object is gone, or its bytes are not what they were, is believed when it has been found
# for so long: some stores do not show at once what they have, and a wire may damage data.
_DOUBT_S = 30.0
# A disk that has refused a fill is not asked again before, where there is another one.
_REFUSED_S = 60.0
# A reader may have been told the name of an unfinished file just before it was finished, and not
# have opened it yet: the names of so many finished ones are kept.
_RETIRED_NAMES = 2

# A tape in any other status has no use for a segment in the cache.
_KEEPING = LOADABLE | {TapeStatus.IN_TRANSIT_TO_VTS}

Place = tuple[str, int]


@dataclass(slots=True)
class _Fill:
    """A fill and what the service knows of it; guarded by the service's lock.

    An `abandoned` one is not among the service's fills any more, and ends with its last user.
    """

    fill: SegmentFill
    demanded: bool
    # Room on its disk: it has that, and was refused it. One that waits keeps none from others.
    has_room: bool = False
    lacks_room: bool = False
    # Being opened or sealed, by one thread; `users` are those that fetch chunks.
    busy: bool = False
    users: int = 0
    retry_at_s: float = 0.0
    # Since when the object is in doubt, without a fetch that was right in between.
    doubted_since_s: float | None = None
    failure: str | None = None
    abandoned: bool = False

    @property
    def place(self) -> Place:
        return self.fill.source.barcode, self.fill.source.summary.sequence

    @property
    def idle(self) -> bool:
        return not self.users and not self.busy


class FetchService:
    """Thread-safe. `monotonic_s` is used for retries only."""

    def __init__(self, context: TransferContext, *, monotonic_s: Callable[[], float]) -> None:
        self._context = context
        self._monotonic_s = monotonic_s
        self._eviction = Eviction(context, self.filling_bytes)
        # In order of demand, the latest first.
        self._fills: OrderedDict[Place, _Fill] = OrderedDict()
        self._retired: deque[Path] = deque()
        # The segment of each tape that was asked for last.
        self._readers_at: dict[str, int] = {}
        # Disks that have refused a fill, by id: others go first until then.
        self._refused_until_s: dict[str, float] = {}
        self._serials = itertools.count()
        self._work = threading.Condition()
        # One fill asks for room at a time: two that both counted could refuse it to each other.
        self._making_room = threading.Lock()
        self._threads: list[threading.Thread] = []

    def ensure(
        self, barcode: str, sequence: int, offset: int, size_bytes: int, *, wait_s: float = 0.0
    ) -> tuple[Path, bool]:
        """Return the file that holds, or will hold, a range of a segment, and whether it does.

        Waits for the store no longer than `wait_s`. The file is sparse where it has not been filled
        yet.
        Raises CartridgeReadError if the range can never be had, or not as things are,
        CartridgeKeyError if it is encrypted and the key is not here.
        """
        local = LocalDisks.read(self._context)
        with self._work:
            # Read under the lock: a fill that ends is entered in the state before it leaves
            # `_fills`, so that a segment is found here or there.
            with self._context.state.read() as db:
                record = segments.find(db, barcode, sequence)
            if record is None:
                raise CartridgeReadError(f"tape {barcode} has no segment {sequence}")
            for path in local.sealed_files(record):
                if os.path.exists(path):
                    self._read_ahead_of_reader(barcode, sequence, local)
                    return path, True
            if record.uploaded_at_ms is None:
                raise CartridgeReadError(f"no copy of segment {sequence} of {barcode} can be read")
            entry = self._enter(record, local, demanded=True)
            if entry.failure is not None:
                # Told once; the next one to ask begins anew.
                self._abandon(entry)
                raise CartridgeReadError(entry.failure)
            self._fills.move_to_end((barcode, sequence), last=False)
            entry.fill.want(offset)
            self._start_threads()
            self._work.notify_all()
            ready = self._work.wait_for(
                lambda: entry.fill.has(offset, size_bytes) or entry.abandoned, wait_s
            )
            if ready or entry.fill.opened:  # it may have come while this waited
                self._read_ahead_of_reader(barcode, sequence, local)
        return entry.fill.path, ready and not entry.abandoned

    def discard(self, barcode: str, sequence: int) -> None:
        """A worker found the cache's copy of a segment damaged: let go of it, if the store has it.

        Whoever has the file open goes on reading what is not damaged.
        """
        local = LocalDisks.read(self._context)
        with self._context.state.write() as db:
            record = segments.find(db, barcode, sequence)
            if record is None or record.uploaded_at_ms is None or record.cache_disk_id is None:
                return
            segments.set_cache_disk(db, barcode, sequence, None)
        _log.error("segment %d of %s: the cache's copy is damaged and let go", sequence, barcode)
        remove(local.file(record.cache_disk_id, barcode, sequence, SEALED))

    def filling_bytes(self) -> Mapping[str, int]:
        """Return what unfinished fills will take on each disk."""
        found: dict[str, int] = {}
        with self._work:
            for entry in self._fills.values():
                source = entry.fill.source
                found[source.disk_id] = found.get(source.disk_id, 0) + source.summary.file_bytes
        return found

    def stop(self) -> None:
        """Let the threads come to an end after the request in hand."""
        self._context.stopping.set()
        with self._work:
            self._work.notify_all()
        for thread in self._threads:
            thread.join(timeout=5.0)

    def close(self) -> None:
        """Stop, and let go of the files of unfinished fills; the next process removes them."""
        self.stop()
        # A store that does not answer: a thread goes on with what it is at.
        at_work = any(thread.is_alive() for thread in self._threads)
        with self._work:
            for entry in self._fills.values():
                if entry.idle or not at_work:
                    entry.fill.close()

    def _enter(self, record: SegmentRecord, local: LocalDisks, *, demanded: bool) -> _Fill:
        """Return the fill of a segment, a new one if there is none; the lock is held."""
        place = (record.barcode, record.sequence)
        entry = self._fills.get(place)
        if entry is None:
            self._drop_forgotten()
            fill = SegmentFill(
                self._source(record, local), self._context.store, next(self._serials)
            )
            entry = _Fill(fill, demanded)
            self._fills[place] = entry
        entry.demanded |= demanded
        return entry

    def _drop_forgotten(self) -> None:
        for place in reversed(list(self._fills)):
            if len(self._fills) < _FILLS_MAX:
                return
            entry = self._fills[place]
            if entry.idle:
                self._abandon(entry)

    def _abandon(self, entry: _Fill) -> None:
        """Forget a fill, whoever may still be at work on it; the lock is held."""
        if self._fills.get(entry.place) is entry:
            del self._fills[entry.place]
        entry.abandoned = True
        self._end_abandoned(entry)

    def _end_abandoned(self, entry: _Fill) -> None:
        """Remove the file of an abandoned fill after its last user; the lock is held."""
        if entry.abandoned and entry.idle:
            entry.fill.discard()

    def _source(self, record: SegmentRecord, local: LocalDisks) -> FillSource:
        used = self._eviction.used_bytes()
        usable = self._usable(local)
        if not usable:
            raise CartridgeReadError("no cache disk takes segments")
        disk_id = max(usable, key=lambda one: local.sizes[one] - used[one])
        with self._context.state.read() as db:
            tape, place = tapes.get(db, record.barcode), locate(db, record)
        try:
            seal = seal_of(self._context.state.path, tape, record.store_epoch or 0)
        except TapeKeyError as error:
            raise CartridgeKeyError(error.message) from error
        return FillSource(
            barcode=record.barcode,
            summary=record.summary,
            place=place,
            disk_id=disk_id,
            folder=tape_folder(local.paths[disk_id], record.barcode),
            seal=seal,
        )

    def _usable(self, local: LocalDisks) -> Sequence[str]:
        """Return the cache disks that take fills, of them those that have not refused one lately,
        if there are any."""
        there = [
            disk_id
            for disk_id, role in local.roles.items()
            if role is DiskRole.CACHE_STORAGE
            and disk_id not in local.draining
            and os.access(local.paths[disk_id], os.W_OK)
        ]
        now_s = self._monotonic_s()
        return [one for one in there if self._refused_until_s.get(one, now_s) <= now_s] or there

    def _start_threads(self) -> None:
        while len(self._threads) < _THREADS:
            name = f"fetch-{len(self._threads) + 1}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self) -> None:
        while True:
            with self._work:
                # Under the lock: who stops wakes those that wait, and none is to begin after that.
                if self._context.stopping.is_set():
                    return
                job = self._next_job()
                if job is None:
                    self._work.wait(_RETRY_S if self._fills else None)
                    continue
            try:
                job()
            except Exception:
                # A bug in one fetch must not end the reads of all tapes for good.
                _log.exception("a fetch failed; this is a bug")
                self._context.stopping.wait(_RETRY_S)

    def _next_job(self) -> Callable[[], None] | None:
        """Return the most urgent thing to do, reserved for the caller; the lock is held."""
        now_s = self._monotonic_s()
        for entry in self._fills.values():
            if entry.failure is not None or entry.busy or entry.retry_at_s > now_s:
                continue
            if not entry.fill.opened:
                entry.busy = True
                return lambda found=entry: self._open(found)  # type: ignore[misc]
            if run := entry.fill.take():
                entry.users += 1
                return lambda found=entry, run=run: self._fetch(found, run)  # type: ignore[misc]
            if entry.fill.complete and entry.idle:  # sealing it has failed before
                entry.busy = True
                return lambda found=entry: self._seal(found)  # type: ignore[misc]
        return None

    def _open(self, entry: _Fill) -> None:
        try:
            if not self._take_room(entry):
                return
            entry.fill.open()
        except (StoreError, MediumFormatError, OSError, StateError) as error:
            self._fail(entry, error)
        else:
            if entry.demanded:
                self._read_ahead(*entry.place)
            if entry.fill.complete:  # a segment of no bytes
                self._finish(entry)
        finally:
            with self._work:
                entry.busy = False
                entry.has_room = entry.fill.opened
                self._end_abandoned(entry)
                self._work.notify_all()

    def _take_room(self, entry: _Fill) -> bool:
        """Make room for a fill; where there is none, it is put off if somebody waits for it."""
        source = entry.fill.source
        with self._making_room:
            with self._work:
                held_bytes = sum(
                    one.fill.source.summary.file_bytes
                    for one in self._fills.values()
                    if one.has_room and one.fill.source.disk_id == source.disk_id
                )
            wanted_bytes = held_bytes + source.summary.file_bytes
            entry.has_room = self._eviction.make_room(source.disk_id, wanted_bytes)
        if entry.has_room:
            return True
        with self._work:
            entry.lacks_room = True
            if not entry.demanded:
                self._abandon(entry)
                return False
        self._postpone(entry, "the cache is full of what is on its way, or is not uploaded yet")
        return False

    def _fetch(self, entry: _Fill, run: Sequence[int]) -> None:
        try:
            entry.fill.fetch(run)
        except (StoreError, MediumFormatError, OSError) as error:
            self._fail(entry, error)
        else:
            entry.doubted_since_s = None
        finally:
            with self._work:
                entry.users -= 1
                sealing = entry.fill.complete and entry.idle
                entry.busy |= sealing
                self._end_abandoned(entry)
                self._work.notify_all()
        if sealing:
            self._seal(entry)

    def _seal(self, entry: _Fill) -> None:
        try:
            self._finish(entry)
        except (OSError, StateError) as error:
            self._fail(entry, error)
        finally:
            with self._work:
                entry.busy = False

    def _finish(self, entry: _Fill) -> None:
        """Enter the complete file in the state, unless the tape has left the library meanwhile, or
        the disk is to go."""
        source, place = entry.fill.source, entry.place
        entry.fill.seal()
        with self._context.state.write() as db:
            tape = tapes.find(db, source.barcode)
            record = segments.find(db, *place)
            disk = disks.find(db, source.disk_id)
            kept = tape is not None and tape.status in _KEEPING and record is not None
            wanted = kept and disk is not None and not disk.draining
            if wanted:
                segments.set_cache_disk(db, *place, source.disk_id)
                segments.touch(
                    db, source.barcode, [source.summary.sequence], now_ms=self._context.now_ms()
                )
        if not wanted:
            entry.fill.sealed_path.unlink(missing_ok=True)
        with self._work:
            self._fills.pop(place, None)
            for waiting in self._fills.values():
                if waiting.lacks_room:
                    # What has just become whole can be evicted.
                    waiting.lacks_room, waiting.retry_at_s = False, 0.0
            self._retired.append(entry.fill.path)
            gone = self._retired.popleft() if len(self._retired) > _RETIRED_NAMES else None
        # Not before: what is above may fail, and is then done again.
        entry.fill.close()
        remove(gone)
        if entry.demanded and wanted:
            self._read_ahead(*place)

    def _read_ahead(self, barcode: str, sequence: int) -> None:
        """Put the segment after this one at the end of the queue, if it is cold."""
        local = LocalDisks.read(self._context)
        with self._work:
            self._enter_following(barcode, sequence, local)

    def _read_ahead_of_reader(self, barcode: str, sequence: int, local: LocalDisks) -> None:
        """As `_read_ahead`, when a reader has come to a segment that was read ahead itself; the
        lock is held."""
        came_from, self._readers_at[barcode] = self._readers_at.get(barcode), sequence
        if came_from == sequence - 1:
            self._enter_following(barcode, sequence, local)

    def _enter_following(self, barcode: str, sequence: int, local: LocalDisks) -> None:
        with self._context.state.read() as db:
            following = next_sequence(db, barcode, sequence)
            record = None if following is None else segments.find(db, barcode, following)
        if record is None or record.uploaded_at_ms is None or record.cache_disk_id is not None:
            return
        # Whoever asks for it is told why it cannot be had.
        with contextlib.suppress(CartridgeReadError, CartridgeKeyError):
            self._enter(record, local, demanded=False)
            self._work.notify_all()

    def _fail(self, entry: _Fill, error: Exception) -> None:
        """Put the fill off, or give it up if the object is lost or cannot be read as it is."""
        source = entry.fill.source
        reason = f"segment {source.summary.sequence} of {source.barcode}: {error}"
        if not isinstance(error, (*OF_ONE_OBJECT, MediumFormatError)):
            # The store, a disk or the state cannot be used now, and so nothing is known.
            entry.doubted_since_s = None
            self._postpone(entry, reason)
            if isinstance(error, OSError):
                # A state that cannot be read now knows of no other disk.
                with contextlib.suppress(StateError):
                    self._begin_elsewhere(entry)
            return
        with self._work:
            now_s = self._monotonic_s()
            if entry.doubted_since_s is None:
                entry.doubted_since_s = now_s
            believed = now_s - entry.doubted_since_s >= _DOUBT_S
        if not believed and not isinstance(error, ObjectArchivedError):
            self._postpone(entry, reason)
            return
        _log.error("%s", reason)
        with self._work:
            entry.failure = reason
            if not entry.demanded:
                # Nobody waits for it, and whoever asks later is to see for himself.
                self._abandon(entry)

    def _postpone(self, entry: _Fill, reason: str) -> None:
        _log.warning("waiting: %s", reason)
        with self._work:
            entry.retry_at_s = self._monotonic_s() + _RETRY_S

    def _begin_elsewhere(self, entry: _Fill) -> None:
        """The disk of a fill has refused: where there is another, who asks again begins anew."""
        refused = entry.fill.source.disk_id
        local = LocalDisks.read(self._context)
        with self._work:
            self._refused_until_s[refused] = self._monotonic_s() + _REFUSED_S
            if refused not in self._usable(local) and not entry.fill.complete:
                self._abandon(entry)
