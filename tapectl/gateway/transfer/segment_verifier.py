"""All copies of one segment, read and checked; damaged ones are made anew from one that is not."""

from __future__ import annotations

import contextlib
import enum
import logging
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tapectl.disks.segment_copies import fault_of_copy, make_copy
from tapectl.gateway.keyring import TapeKeyError
from tapectl.gateway.tape_keys import seal_of
from tapectl.gateway.transfer.context import TransferContext
from tapectl.gateway.transfer.local_files import SEALED, LocalDisks, remove
from tapectl.gateway.transfer.object_options import segment_options
from tapectl.gateway.transfer.ownership import FencedError, require_ownership
from tapectl.gateway.transfer.segment_files import SegmentBuffers, object_header, verify
from tapectl.gateway.transfer.stored_segment import StoredSegment, locate
from tapectl.medium.errors import MediumFormatError
from tapectl.state import segments
from tapectl.state.errors import TapeNotFoundError
from tapectl.state.segments import SegmentRecord
from tapectl.state.tapes import TapeRecord
from tapectl.store.interface import (
    ObjectArchivedError,
    ObjectNotFoundError,
    StoreDataError,
)

_log = logging.getLogger(__name__)

# Chunks of one request: 8 MiB of a segment.
_RUN_CHUNKS = 8
# At an object that seems damaged.
_LOOKS = 3
# Why a copy may not be made anew.
_NOT_MADE = (OSError, MediumFormatError, FencedError, ObjectNotFoundError, TapeKeyError)


class Copy(enum.StrEnum):
    """Where a segment can be."""

    UPLOAD_BUFFER = "upload buffer"
    CACHE = "cache"
    STORE = "store"


class CopyState(enum.Enum):
    """What was found of a copy."""

    RIGHT = enum.auto()
    DAMAGED = enum.auto()
    # Archived, encrypted with a key that is not here, or on a disk that is not there: no word about
    # its bytes.
    UNREAD = enum.auto()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of a segment's copies, and which damaged ones have been made anew."""

    found: dict[Copy, CopyState]
    healed: frozenset[Copy]
    checked_bytes: int

    @property
    def damaged(self) -> Sequence[Copy]:
        """Copies that stay damaged."""
        return [copy for copy in self._in(CopyState.DAMAGED) if copy not in self.healed]

    @property
    def unread(self) -> bool:
        return bool(self._in(CopyState.UNREAD))

    @property
    def lost(self) -> bool:
        """Whether no copy is right, as far as they could be read."""
        return not self._in(CopyState.RIGHT) and not self.unread

    def _in(self, state: CopyState) -> Sequence[Copy]:
        return [copy for copy, found in self.found.items() if found is state]


class SegmentVerifier:
    """Looks at one segment after the other."""

    def __init__(self, context: TransferContext) -> None:
        self._context = context

    def verify(
        self, tape: TapeRecord, record: SegmentRecord, *, local_only: bool
    ) -> Verdict | None:
        """Look at the copies of a segment, the store's only where that is asked for or needed.

        None if they have been moved meanwhile, or deleted with the tape: look again. Raises
        StoreError of a store that cannot be used, StoppedError.
        """
        try:
            return self._verify(tape, record, local_only=local_only)
        except TapeNotFoundError:
            return None

    def _verify(
        self, tape: TapeRecord, record: SegmentRecord, *, local_only: bool
    ) -> Verdict | None:
        local = LocalDisks.read(self._context)
        paths = {
            copy: path
            for copy, disk_id in (
                (Copy.UPLOAD_BUFFER, record.buffer_disk_id),
                (Copy.CACHE, record.cache_disk_id),
            )
            if (path := local.file(disk_id, record.barcode, record.sequence, SEALED)) is not None
        }
        found = {copy: self._look_at_file(tape, record, path) for copy, path in paths.items()}
        in_store = record.uploaded_at_ms is not None
        if in_store and (not local_only or CopyState.DAMAGED in found.values()):
            found[Copy.STORE] = self._look_at_object(tape, record)
        damaged = [copy for copy, state in found.items() if state is CopyState.DAMAGED]
        if damaged and self._moved(record):
            return None
        healed = self._heal(tape, record, found, paths) if damaged else frozenset()
        right = sum(state is CopyState.RIGHT for state in found.values())
        return Verdict(found, frozenset(healed), right * record.summary.file_bytes)

    def _look_at_file(self, tape: TapeRecord, record: SegmentRecord, path: Path) -> CopyState:
        self._context.check_stop()
        try:
            fault = fault_of_copy(path, uuid.UUID(tape.tape_uuid), record.summary, whole=True)
        except FileNotFoundError:
            # Of a disk that is not there nothing is known.
            if not path.parent.parent.is_dir():
                return CopyState.UNREAD
            fault = "is gone"
        if fault is None:
            return CopyState.RIGHT
        _log.error("%s %s", path, fault)
        return CopyState.DAMAGED

    def _look_at_object(self, tape: TapeRecord, record: SegmentRecord) -> CopyState:
        """Look again where it seems damaged: it may have been so on its way."""
        for _ in range(_LOOKS):
            state = self._read_object(tape, record)
            if state is not CopyState.DAMAGED:
                break
        return state

    def _read_object(self, tape: TapeRecord, record: SegmentRecord) -> CopyState:
        with self._context.state.read() as db:
            place = locate(db, record)
        try:
            seal = seal_of(self._context.state.path, tape, record.store_epoch or 0)
        except TapeKeyError as error:
            _log.warning("%s", error.message)
            return CopyState.UNREAD
        stored = StoredSegment(self._context.store, place, record.summary, seal)
        header = object_header(tape.tape_uuid, tape.barcode, record.summary)
        try:
            chunks = stored.read_table()
            content = SegmentBuffers().room(record.summary.file_bytes)
            for start in range(0, len(chunks), _RUN_CHUNKS):
                self._context.check_stop()
                for chunk, raw in stored.read_run(chunks[start : start + _RUN_CHUNKS]):
                    content[chunk.raw_offset : chunk.raw_offset + chunk.raw_bytes] = raw
            verify(content, header, record.summary)
        except ObjectArchivedError:
            return CopyState.UNREAD
        except (ObjectNotFoundError, StoreDataError, MediumFormatError) as error:
            _log.error("segment %d of %s in the store: %s", record.sequence, tape.barcode, error)
            return CopyState.DAMAGED
        return CopyState.RIGHT

    def _moved(self, before: SegmentRecord) -> bool:
        """Whether the copies are not where they were: uploaded, evicted, archived, deleted."""
        with self._context.state.read() as db:
            now = segments.find(db, before.barcode, before.sequence)
            return (
                now is None
                or _places(now) != _places(before)
                or (now.uploaded_at_ms is not None and locate(db, now) != locate(db, before))
            )

    def _heal(
        self,
        tape: TapeRecord,
        record: SegmentRecord,
        found: dict[Copy, CopyState],
        paths: dict[Copy, Path],
    ) -> Collection[Copy]:
        """Make damaged copies anew from one that is right; return those that were."""
        right = [path for copy, path in paths.items() if found[copy] is CopyState.RIGHT]
        in_store = found.get(Copy.STORE) is CopyState.RIGHT
        healed = set()
        for copy, state in found.items():
            if state is not CopyState.DAMAGED:
                continue
            # Without its owner's object nothing of a tape is put.
            with contextlib.suppress(*_NOT_MADE):
                if copy is Copy.STORE:
                    done = bool(right) and self._put_again(tape, record, right)
                elif in_store:
                    # The store's copy comes back into the cache when somebody reads it.
                    done = self._let_go(record, copy, paths[copy])
                else:
                    done = bool(right)
                    if done:
                        tape_uuid = uuid.UUID(tape.tape_uuid)
                        make_copy(right[0], paths[copy], tape_uuid, record.summary)
                if done:
                    healed.add(copy)
        return healed

    def _let_go(self, record: SegmentRecord, copy: Copy, path: Path) -> bool:
        with self._context.state.write() as db:
            if copy is Copy.CACHE:
                segments.set_cache_disk(db, record.barcode, record.sequence, None)
            else:
                segments.clear_buffer_disk(db, record.barcode, record.sequence)
        remove(path)
        return True

    def _put_again(self, tape: TapeRecord, record: SegmentRecord, right: Sequence[Path]) -> bool:
        """Put the same object once more; manifests give its length, so it must have that."""
        with self._context.state.read() as db:
            place = locate(db, record)
        if place.archived:
            return False
        header = object_header(tape.tape_uuid, tape.barcode, record.summary)
        require_ownership(self._context.store, tape.barcode, tape.store_etag)
        # As it was put, whatever the setting is now.
        seal = seal_of(self._context.state.path, tape, record.store_epoch or 0)
        buffers = SegmentBuffers()
        content = buffers.read_verified(right, header, record.summary)
        for compression in (True, False):
            body = buffers.encode(content, header, compression=compression, seal=seal)
            if len(body) == place.size_bytes:
                self._context.store.put(place.key, body, options=segment_options(tape))
                return True
        return False


def _places(record: SegmentRecord) -> tuple[object, ...]:
    return record.cache_disk_id, record.buffer_disk_id, record.uploaded_at_ms
