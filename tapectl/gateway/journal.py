"""The record of sealed segments and of room on the local disks: disks.SegmentJournal."""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tapectl.disks.disk_directory import read_marker
from tapectl.disks.interface import DiskPlace, Placement, StoredSegment
from tapectl.disks.staging import STAGING_FOLDER
from tapectl.disks.tape_files import SEALED, segment_name, tape_folder
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.open_segments import OpenSegments
from tapectl.gateway.settings import Settings
from tapectl.medium.summary import SegmentSummary
from tapectl.medium.volume import VolumeRecord
from tapectl.scsi.cartridge import CartridgeBusyError, CartridgeWriteError
from tapectl.state import disks, segments, volumes
from tapectl.state.database import State
from tapectl.state.disks import DiskRecord, DiskRole
from tapectl.state.errors import StateError
from tapectl.state.segments import SegmentRecord

_log = logging.getLogger(__name__)

_ROWS_AT_ONCE = 2048

FULL_RETRY_S = 0.25
"""How soon a writer asks for room again: an upload of one segment makes some."""


@dataclass(frozen=True, slots=True)
class _Room:
    """A present disk with what it can still take."""

    disk: DiskRecord
    device: int  # st_dev: disks on one file system share it
    free_bytes: int


class StateJournal:
    """disks.SegmentJournal over the state. One for each process; threads may share it."""

    def __init__(
        self, state: State, settings: Settings, *, now_ms: Callable[[], int] = clock_now_ms
    ) -> None:
        self._state = state
        self._segment_bytes = settings.segment_bytes
        self._staging_path = settings.state_path.with_name(STAGING_FOLDER)
        self._now_ms = now_ms
        self._open_segments = OpenSegments()
        self._reads: defaultdict[str, set[int]] = defaultdict(set)

    def segments(self, barcode: str) -> Iterator[StoredSegment]:
        """See SegmentJournal."""
        with self._state.read() as db:
            all_disks = disks.all_disks(db)
        # A disk that is not there holds no copy.
        paths = {disk.id: disk.path for disk in _present(all_disks)}
        after = -1
        while True:
            # A few at a time: nothing but the drive that reads them adds any meanwhile.
            with self._state.read() as db:
                records = segments.of_tape_after(db, barcode, after, limit=_ROWS_AT_ONCE)
            if not records:
                return
            after = records[-1].sequence
            for record in records:
                yield StoredSegment(
                    summary=record.summary,
                    cache_path=_segment_path(paths, record.cache_disk_id, record),
                    buffer_path=_segment_path(paths, record.buffer_disk_id, record),
                    uploaded=record.uploaded_at_ms is not None,
                )

    def sequences(self, barcode: str) -> Iterator[int]:
        """See SegmentJournal."""
        with self._state.read() as db:
            yield from segments.sequences(db, barcode)

    def record_sealed(
        self,
        barcode: str,
        summary: SegmentSummary,
        *,
        cache_disk_id: str | None,
        buffer_disk_id: str | None,
    ) -> None:
        """Enter a sealed segment, whose files are fsynced; idempotent by sequence.

        Disks that it was sealed on are well.
        """
        record = SegmentRecord(
            barcode=barcode,
            summary=summary,
            sealed_at_ms=self._now_ms(),
            cache_disk_id=cache_disk_id,
            buffer_disk_id=buffer_disk_id,
        )
        with self._state.write() as db:
            segments.insert(db, record)
            for disk_id in (cache_disk_id, buffer_disk_id):
                if disk_id is not None:
                    disks.forget_failure(db, disk_id)

    def volume(self, barcode: str) -> VolumeRecord:
        """Return what was last recorded of a tape's partitions and auxiliary memory."""
        with self._state.read() as db:
            row = volumes.get(db, barcode)
        return VolumeRecord.from_document(row.document) if row else VolumeRecord()

    def record_volume(self, barcode: str, volume: VolumeRecord) -> None:
        """Record it, durably; raise CartridgeWriteError where that fails."""
        try:
            with self._state.write() as db:
                volumes.put(db, barcode, volume.to_document())
        except StateError as exc:
            raise CartridgeWriteError(f"tape {barcode}: {exc}") from exc

    def place(self, barcode: str, size_bytes: int, *, avoid: Collection[Path] = ()) -> Placement:
        """Choose the cache disk and the upload-buffer disk with the most room.

        One that has failed is taken only where there is no other. Two file systems are better than
        one, where a second copy protects nothing: a shared pair is chosen only when no other has
        room. Raises CartridgeBusyError when a role has no room, CartridgeWriteError when it has no
        disk at all.
        """
        rooms = self._rooms()
        fitting: dict[DiskRole, Sequence[_Room]] = {}
        for role, present in rooms.items():
            allowed = [room for room in present if room.disk.path not in avoid]
            if not allowed:
                raise CartridgeWriteError(f"tape {barcode}: no {role} disk takes segments")
            fitting[role] = _with_room(allowed, size_bytes)
        cache, buffer = max(
            (
                (cache, buffer)
                for cache in fitting[DiskRole.CACHE_STORAGE]
                for buffer in fitting[DiskRole.UPLOAD_BUFFER]
            ),
            key=lambda pair: (
                pair[0].device != pair[1].device,
                min(pair[0].free_bytes, pair[1].free_bytes),
            ),
        )
        return Placement(
            cache_disk_id=cache.disk.id,
            cache_path=cache.disk.path,
            buffer_disk_id=buffer.disk.id,
            buffer_path=buffer.disk.path,
            shared=cache.device == buffer.device,
        )

    def place_copy(
        self, role: str, size_bytes: int, *, avoid: Collection[Path] = ()
    ) -> DiskPlace | None:
        """See disks.SegmentJournal.place_copy."""
        allowed = [room for room in self._rooms()[DiskRole(role)] if room.disk.path not in avoid]
        if not allowed:
            return None
        disk = max(_with_room(allowed, size_bytes), key=lambda room: room.free_bytes).disk
        return DiskPlace(disk.id, disk.path)

    def release(self, barcode: str, sequences: Collection[int]) -> Sequence[Path]:
        """See disks.SegmentJournal.release."""
        if not sequences:
            return ()
        try:
            with self._state.write() as db:
                present = _present(disks.all_disks(db))
                paths = {disk.id: disk.path for disk in present if not disk.draining}
                released = [
                    (record, path)
                    for record in segments.evictable_of_tape(db, barcode, sequences)
                    if (path := _segment_path(paths, record.cache_disk_id, record)) is not None
                ]
                for record, _ in released:
                    segments.set_cache_disk(db, barcode, record.sequence, None)
        except StateError as exc:
            # They stay in the cache.
            _log.warning("tape %s: segments that are written over: %s", barcode, exc)
            return ()
        return [path for _, path in released]

    def reads(self, barcode: str) -> set[int]:
        """See disks.SegmentJournal.reads."""
        return self._reads[barcode]

    def record_reads(self) -> None:
        """Enter which segments were read since this was last called. Raises nothing.

        The way of a block only adds to a set: this is for a thread beside it.
        """
        # One by one, each of which is whole: what is read meanwhile is in the set afterwards.
        taken = {barcode: _drained(reads) for barcode, reads in list(self._reads.items())}
        if not any(taken.values()):
            return
        try:
            with self._state.write() as db:
                for barcode, sequences in taken.items():
                    segments.touch(db, barcode, sequences, now_ms=self._now_ms())
        except StateError as exc:
            # They are evicted a little earlier.
            _log.warning("what was read is not noted: %s", exc)

    def note_failure(self, disk: Path, reason: str) -> None:
        """See disks.SegmentJournal.note_failure."""
        try:
            with self._state.write() as db:
                for record in disks.all_disks(db):
                    if record.path == disk:
                        disks.note_failure(db, record.id, self._now_ms(), reason)
        except StateError as exc:
            # The command fails by its own error; this is only for who looks later.
            _log.warning("%s: its failure is not noted: %s", disk, exc)

    def full_roles(self) -> Sequence[DiskRole]:
        """Return the roles of which disks are there, and not one with room for another segment."""
        return [
            role
            for role, present in self._rooms().items()
            if present and max(room.free_bytes for room in present) < self._segment_bytes
        ]

    def disk_paths(self) -> Sequence[Path]:
        """Return the directories of all present cache and upload-buffer disks."""
        with self._state.read() as db:
            all_disks = disks.all_disks(db)
        return [disk.path for disk in _present(all_disks)]

    def allocated_paths(self) -> tuple[frozenset[Path], frozenset[Path]]:
        """Return the directories of all disks, there or not: those in use, and those that are to
        go."""
        with self._state.read() as db:
            all_disks = disks.all_disks(db)
        to_go = frozenset(disk.path for disk in all_disks if disk.draining)
        return frozenset(disk.path for disk in all_disks) - to_go, to_go

    def lacks_disks(self) -> bool:
        """Whether a disk that is allocated is not there."""
        with self._state.read() as db:
            all_disks = disks.all_disks(db)
        return len(_present(all_disks)) < len(all_disks)

    def staging_path(self, tape_uuid: uuid.UUID) -> Path:
        """Return the file for frames on their way to the disks; it is on none of them by intent."""
        return self._staging_path / str(tape_uuid)

    def _rooms(self) -> Mapping[DiskRole, Sequence[_Room]]:
        """Return, by role, the disks that take segments."""
        with self._state.read() as db:
            all_disks = disks.all_disks(db)
            used = segments.bytes_by_disk(db)
        rooms: dict[DiskRole, list[_Room]] = {role: [] for role in DiskRole}
        for disk in all_disks:
            room = None if disk.draining else self._room(disk, used.get(disk.id, 0))
            if room is not None:
                rooms[disk.role].append(room)
        return rooms

    def _room(self, disk: DiskRecord, sealed_bytes: int) -> _Room | None:
        """Return what the disk can take, None if it is not there or takes nothing.

        Segments that are open, in any process, are in no table yet: each keeps a whole segment
        reserved. So two writers that ask at once may go over by one segment, and no more.
        """
        tapes_path = disk.path / "tapes"
        try:
            open_segments = self._open_segments.count(tapes_path)
            status = os.statvfs(tapes_path)
            device = tapes_path.stat().st_dev
        except OSError:
            return None
        if status.f_flag & os.ST_RDONLY or not is_present(disk):
            return None
        reserved_bytes = open_segments * self._segment_bytes
        file_system_bytes = status.f_bavail * status.f_frsize
        free_bytes = min(disk.size_bytes - sealed_bytes - reserved_bytes, file_system_bytes)
        return _Room(disk, device, free_bytes)


def _with_room(rooms: Sequence[_Room], size_bytes: int) -> Sequence[_Room]:
    """Return those with room, of them the ones that have not failed, if there are any.

    Raises CartridgeBusyError if all are full.
    """
    fitting = [room for room in rooms if room.free_bytes >= size_bytes]
    if not fitting:
        raise CartridgeBusyError(f"every {rooms[0].disk.role} disk is full", FULL_RETRY_S)
    return [room for room in fitting if not room.disk.failed] or fitting


def _drained(reads: set[int]) -> Sequence[int]:
    taken = []
    with contextlib.suppress(KeyError):
        while True:
            taken.append(reads.pop())
    return taken


def is_present(disk: DiskRecord) -> bool:
    """Whether the directory of a disk is there, and is that disk."""
    marker = read_marker(disk.path)
    return marker is not None and marker.disk_id == disk.id


def _present(records: Sequence[DiskRecord]) -> Sequence[DiskRecord]:
    return [disk for disk in records if is_present(disk)]


def _segment_path(
    paths: Mapping[str, Path], disk_id: str | None, record: SegmentRecord
) -> Path | None:
    path = paths.get(disk_id or "")
    if path is None:
        return None
    return tape_folder(path, record.barcode) / segment_name(record.sequence, SEALED)
