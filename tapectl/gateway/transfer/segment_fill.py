"""One cold segment on its way into the cache: a sparse file, and which chunks of it are there."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tapectl.disks.disk_directory import sync_folder
from tapectl.gateway.transfer.local_files import FILLING, SEALED
from tapectl.gateway.transfer.stored_segment import ObjectPlace, StoredSegment
from tapectl.medium.sealing import TapeSeal
from tapectl.medium.segment_object import CHUNK_BYTES, StoredChunk, chunk_numbers
from tapectl.medium.summary import SegmentSummary
from tapectl.store.interface import ObjectStore

# Chunks of one request: 8 MiB of a segment, few enough that the first bytes come soon.
_RUN_CHUNKS = 8


@dataclass(frozen=True, slots=True)
class FillSource:
    """Where a cold segment is and where it goes; `seal` opens it, where its tape is encrypted."""

    barcode: str
    summary: SegmentSummary
    place: ObjectPlace
    disk_id: str
    folder: Path
    seal: TapeSeal | None = None


class SegmentFill:
    """Fetches chunks by range; any thread may call it. What is in the file has been checked."""

    def __init__(self, source: FillSource, store: ObjectStore, serial: int) -> None:
        """`serial` makes the name of the file the fill's own: a finished one keeps its name for a
        while, and its file has the sealed name as well, so that no other may write to it."""
        self.source = source
        name = f"{source.summary.sequence:08d}"
        self.path = source.folder / f"{name}.{serial}{FILLING}"
        self.sealed_path = source.folder / f"{name}{SEALED}"
        self._stored = StoredSegment(store, source.place, source.summary, source.seal)
        self._chunks: Sequence[StoredChunk] = ()
        self._missing: set[int] = set()
        self._in_flight: set[int] = set()
        self._wanted = 0
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    @property
    def opened(self) -> bool:
        return self._descriptor is not None

    @property
    def complete(self) -> bool:
        """Whether every byte is in the file."""
        with self._lock:
            return self.opened and not self._missing

    def open(self) -> None:
        """Read the chunk table and make the file; one request, and another for a huge table.

        Raises StoreError, MediumFormatError, OSError.
        """
        chunks = self._stored.read_table()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.ftruncate(descriptor, self.source.summary.file_bytes)
        except OSError:
            # Begun anew under the same name.
            os.close(descriptor)
            self.path.unlink(missing_ok=True)
            raise
        with self._lock:
            self._chunks = chunks
            self._missing = set(range(len(chunks)))
            self._descriptor = descriptor

    def want(self, offset: int) -> None:
        """Say where the next reader waits: fetching goes on from there."""
        with self._lock:
            self._wanted = offset // CHUNK_BYTES

    def has(self, offset: int, size_bytes: int) -> bool:
        """Whether a range of the segment is in the file."""
        numbers = chunk_numbers(offset, size_bytes, self.source.summary.file_bytes)
        with self._lock:
            return self.opened and self._missing.isdisjoint(numbers)

    def take(self) -> Sequence[int]:
        """Reserve a run of missing chunks for the caller to `fetch`; none if all are taken."""
        with self._lock:
            free = self._missing - self._in_flight
            if not free:
                return ()
            start = min((one for one in free if one >= self._wanted), default=min(free))
            run = [start]
            while len(run) < _RUN_CHUNKS and run[-1] + 1 in free:
                run.append(run[-1] + 1)
            self._in_flight.update(run)
            return run

    def fetch(self, run: Sequence[int]) -> None:
        """Fetch a reserved run with one request, check it and write it into the file.

        Raises StoreError, MediumFormatError, OSError; the run is then free again.
        """
        try:
            chunks = [self._chunks[number] for number in run]
            for number, (chunk, raw) in zip(run, self._stored.read_run(chunks), strict=True):
                self._write(raw, chunk.raw_offset)
                with self._lock:
                    self._missing.discard(number)
        finally:
            with self._lock:
                self._in_flight.difference_update(run)

    def seal(self) -> None:
        """Give the complete file its sealed name too, durably.

        The old name stays, for a reader who has just been told it. May be done again.
        """
        assert self._descriptor is not None
        os.fsync(self._descriptor)
        self.sealed_path.unlink(missing_ok=True)
        os.link(self.path, self.sealed_path)
        # The tape's folder may be new, too: it goes when the tape leaves the library.
        sync_folder(self.path.parent)
        sync_folder(self.path.parent.parent)

    def close(self) -> None:
        """Let go of the file; no fetch may be under way."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def discard(self) -> None:
        """Close, and remove the unfinished file."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _write(self, raw: bytes | memoryview, offset: int) -> None:
        assert self._descriptor is not None
        view = memoryview(raw)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view = view[written:]
            offset += written
