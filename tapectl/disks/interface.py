"""What the disks layer asks of those above it: a journal of segments, room, and cold data."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tapectl.medium.summary import SegmentSummary
from tapectl.medium.volume import VolumeRecord


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a new segment goes: one cache disk and one upload-buffer disk.

    Both are directories that hold `tapes/`. `shared` says that they are on one
    file system, so that one file with two names (a hard link) serves both roles.
    """

    cache_disk_id: str
    cache_path: Path
    buffer_disk_id: str
    buffer_path: Path
    shared: bool


@dataclass(frozen=True, slots=True)
class DiskPlace:
    """A disk that one copy goes to: a directory that holds `tapes/`."""

    disk_id: str
    path: Path


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """A sealed segment and where its copies are; a path is None where there is no copy."""

    summary: SegmentSummary
    cache_path: Path | None
    buffer_path: Path | None
    uploaded: bool


class SegmentJournal(Protocol):
    """The record of sealed segments and of room on the disks; kept in the state."""

    def segments(self, barcode: str) -> Iterable[StoredSegment]:
        """Yield the sealed segments of a tape by ascending sequence, voided ones included, but for
        those whose data is let go of: nothing needs them."""
        ...

    def sequences(self, barcode: str) -> Iterable[int]:
        """Yield the sequence numbers of all sealed segments there have been, ascending."""
        ...

    def record_sealed(
        self,
        barcode: str,
        summary: SegmentSummary,
        *,
        cache_disk_id: str | None,
        buffer_disk_id: str | None,
    ) -> None:
        """Enter a sealed segment, whose files are fsynced; idempotent by sequence.

        A disk id is None where the role has no disk that could take a copy.
        """
        ...

    def volume(self, barcode: str) -> VolumeRecord:
        """Return what was last recorded of a tape's partitions and auxiliary memory."""
        ...

    def record_volume(self, barcode: str, volume: VolumeRecord) -> None:
        """Record it, durably; raise scsi.cartridge.CartridgeWriteError where that fails."""
        ...

    def place(self, barcode: str, size_bytes: int, *, avoid: Collection[Path] = ()) -> Placement:
        """Choose disks with room for a segment of `size_bytes`, none of those in `avoid`.

        Raises scsi.cartridge.CartridgeBusyError while the upload buffer or the cache has no room,
        CartridgeWriteError if one of them has no disk.
        """
        ...

    def place_copy(
        self, role: str, size_bytes: int, *, avoid: Collection[Path] = ()
    ) -> DiskPlace | None:
        """Choose a disk of one role (CACHE_ROLE, BUFFER_ROLE) with room for a copy, none of those
        in `avoid`; None if the role has no such disk at all.

        Raises scsi.cartridge.CartridgeBusyError while all of them are full.
        """
        ...

    def release(self, barcode: str, sequences: Collection[int]) -> Sequence[Path]:
        """Leave to the store which of some segments it has, and the upload buffer no more; return
        their files in the cache, which the caller writes over or removes. Raises nothing."""
        ...

    def reads(self, barcode: str) -> set[int]:
        """Return the set to which whoever reads a segment of the tape adds its sequence number.

        It is emptied now and then, from any thread: what is in it was used, and stays in the cache
        for longer.
        """
        ...

    def note_failure(self, disk: Path, reason: str) -> None:
        """A disk has refused a write or a flush. Raises nothing."""
        ...

    def disk_paths(self) -> Sequence[Path]:
        """Return the directories of all present cache and upload-buffer disks."""
        ...

    def lacks_disks(self) -> bool:
        """Whether a disk that is allocated is not there."""
        ...

    def staging_path(self, tape_uuid: uuid.UUID) -> Path | None:
        """Return the file to map for frames on their way to the disks; None for none."""
        ...


class SegmentFetcher(Protocol):
    """Brings parts of a segment file that is not in the cache back from the store."""

    def ensure(self, barcode: str, sequence: int, offset: int, size_bytes: int) -> Path:
        """Return a local file that holds bytes [offset, offset + size_bytes) of the segment file
        at the same offsets (it may be sparse elsewhere).

        Raises scsi.cartridge.CartridgeBusyError until it does, CartridgeReadError if it never will.
        """
        ...

    def discard(self, barcode: str, sequence: int) -> None:
        """All copies on the disks are damaged: let go of them if the store has the segment, so that
        `ensure` brings it from there. May be lost; whoever meets the damage says it again."""
        ...

    def count_missed(self, size_bytes: int) -> None:
        """A block of so many bytes was read that was not here, or not with its whole segment."""
        ...
