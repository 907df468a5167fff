"""Copies of segments that wait for their upload, made anew on another disk of the role."""

from __future__ import annotations

import uuid
from pathlib import Path

from tapectl.disks.segment_copies import fault_of_copy, make_copy
from tapectl.gateway.journal import StateJournal
from tapectl.gateway.transfer.context import TransferContext
from tapectl.gateway.transfer.local_files import SEALED, LocalDisks, remove
from tapectl.medium.errors import MediumFormatError
from tapectl.scsi.cartridge import CartridgeBusyError
from tapectl.state import segments, tapes
from tapectl.state.disks import DiskRole
from tapectl.state.segments import SegmentRecord


class NotCopiedError(Exception):
    """Why a copy was not made; nothing has changed."""


class NoPlaceError(NotCopiedError):
    """No disk of the role takes it, now or at all."""


class SegmentCopier:
    """Safe beside everything else that moves segments: what has changed meanwhile stays so."""

    def __init__(self, context: TransferContext) -> None:
        self._context = context
        self._journal = StateJournal(context.state, context.settings, now_ms=context.now_ms)

    def copy(self, record: SegmentRecord, role: DiskRole) -> None:
        """Give a segment its copy of a role on a disk that takes segments, in the place of the one
        that it has, if it has any. Raises NotCopiedError."""
        try:
            place = self._journal.place_copy(role, record.summary.file_bytes)
        except CartridgeBusyError as exc:
            raise NoPlaceError(str(exc)) from exc
        if place is None:
            raise NoPlaceError(f"no {role} disk takes segments")
        source = self._sound_copy(record)
        if source is None:
            raise NotCopiedError("no copy of it can be read")
        local = LocalDisks.read(self._context)
        target = local.file(place.disk_id, record.barcode, record.sequence, SEALED)
        if target is None:
            raise NoPlaceError("the disk has been removed")
        try:
            make_copy(source, target, self._uuid(record.barcode), record.summary)
        except (OSError, MediumFormatError) as exc:
            raise NotCopiedError(str(exc)) from exc
        replaced = _disk_of(record, role)
        self._enter(record, role, place.disk_id, target)
        if replaced != place.disk_id:
            remove(local.file(replaced, record.barcode, record.sequence, SEALED))

    def _sound_copy(self, record: SegmentRecord) -> Path | None:
        """Return a copy that is whole, those that the row names first."""
        local = LocalDisks.read(self._context)
        tape_uuid = self._uuid(record.barcode)
        named = (record.buffer_disk_id, record.cache_disk_id)
        for disk_id in sorted(local.paths, key=lambda one: one not in named):
            path = local.file(disk_id, record.barcode, record.sequence, SEALED)
            try:
                if path and fault_of_copy(path, tape_uuid, record.summary, whole=True) is None:
                    return path
            except FileNotFoundError:
                continue
        return None

    def _enter(self, before: SegmentRecord, role: DiskRole, disk_id: str, target: Path) -> None:
        """Enter the new copy, unless the segment has been uploaded or moved meanwhile."""
        set_disk = (
            segments.set_cache_disk if role is DiskRole.CACHE_STORAGE else segments.set_buffer_disk
        )
        with self._context.state.write() as db:
            now = segments.find(db, before.barcode, before.sequence)
            if now == before:
                set_disk(db, before.barcode, before.sequence, disk_id)
        if now != before:
            # Whoever moved it may have chosen the same disk.
            if now is None or disk_id != _disk_of(now, role):
                remove(target)
            raise NotCopiedError("it was moved meanwhile")

    def _uuid(self, barcode: str) -> uuid.UUID:
        with self._context.state.read() as db:
            return uuid.UUID(tapes.get(db, barcode).tape_uuid)


def _disk_of(record: SegmentRecord, role: DiskRole) -> str | None:
    if role is DiskRole.CACHE_STORAGE:
        return record.cache_disk_id
    return record.buffer_disk_id
