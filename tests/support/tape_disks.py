"""Two directories as disks, a journal in memory: what a SegmentedCartridge needs, for tests."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tapectl.disks import disk_directory
from tapectl.disks.cartridge import SegmentedCartridge
from tapectl.disks.disk_directory import BUFFER_ROLE, CACHE_ROLE, DiskMarker
from tapectl.disks.interface import DiskPlace, Placement, SegmentFetcher, StoredSegment
from tapectl.disks.tape_files import SEALED, TapeDescription, segment_name, tape_folder
from tapectl.disks.tape_loading import LoadProgress
from tapectl.medium.summary import SegmentSummary
from tapectl.medium.volume import VolumeRecord
from tapectl.scsi.cartridge import (
    CartridgeBusyError,
    CartridgeError,
    CartridgeWriteError,
    EncryptedBlock,
    Mark,
)
from tests.support.closing import closed_at_end
from tests.support.memory_cartridge import LogicalObject

TAPE = TapeDescription("TAP001L5", "6a1c1b1e-5f0e-4b39-9c3c-3c4d5e6f7a8b", 1 << 30)


def run_now(job: Callable[[], None]) -> None:
    """A sealer without a thread."""
    job()


class LateSealer:
    """Takes segments to seal, and does not come to it before `run`; a process that dies never
    does. When the test ends it does, so that the cartridge can be closed."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], None]] = []
        self._closed = False

    def __call__(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)
        if self._closed:
            self.run()

    def run(self) -> None:
        """Seal what has been taken."""
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            job()

    def close(self) -> None:
        self._closed = True
        self.run()


@dataclass
class TapeDisks:
    """A cache disk and an upload-buffer disk under `root`, and the journal of their segments.

    `shared` gives one file for both roles. `full` makes `place` find no room.
    """

    root: Path
    shared: bool = False
    full: bool = False
    records: dict[int, StoredSegment] = field(default_factory=dict)
    volume_document: dict[str, object] | None = None
    failures: list[tuple[Path, str]] = field(default_factory=list)
    read_sequences: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        for path, role in ((self.cache, CACHE_ROLE), (self.buffer, BUFFER_ROLE)):
            path.mkdir(parents=True, exist_ok=True)
            disk_directory.prepare(path, DiskMarker(f"disk-{path.name}", "gw-1", role))

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def buffer(self) -> Path:
        return self.root / "buffer"

    def segments(self, barcode: str) -> Sequence[StoredSegment]:
        assert barcode == TAPE.barcode
        return [self.records[sequence] for sequence in sorted(self.records)]

    def sequences(self, barcode: str) -> Sequence[int]:
        assert barcode == TAPE.barcode
        return sorted(self.records)

    def record_sealed(
        self,
        barcode: str,
        summary: SegmentSummary,
        *,
        cache_disk_id: str | None,
        buffer_disk_id: str | None,
    ) -> None:
        name = segment_name(summary.sequence, SEALED)
        self.records[summary.sequence] = StoredSegment(
            summary,
            cache_disk_id and tape_folder(self.cache, barcode) / name,
            buffer_disk_id and tape_folder(self.buffer, barcode) / name,
            uploaded=False,
        )

    def volume(self, barcode: str) -> VolumeRecord:
        assert barcode == TAPE.barcode
        document = self.volume_document
        return VolumeRecord.from_document(document) if document else VolumeRecord()

    def record_volume(self, barcode: str, volume: VolumeRecord) -> None:
        assert barcode == TAPE.barcode
        self.volume_document = volume.to_document()

    def place(self, barcode: str, size_bytes: int, *, avoid: Collection[Path] = ()) -> Placement:
        if self.full:
            raise CartridgeBusyError(f"no room for {size_bytes} bytes of {barcode}")
        if {self.cache, self.buffer} - set(self.disk_paths()) | set(avoid):
            raise CartridgeWriteError(f"no disk for {barcode}")
        return Placement("disk-cache", self.cache, "disk-buffer", self.buffer, self.shared)

    def place_copy(
        self, role: str, size_bytes: int, *, avoid: Collection[Path] = ()
    ) -> DiskPlace | None:
        if self.full:
            raise CartridgeBusyError(f"no room for {size_bytes} bytes")
        path = self.cache if role == CACHE_ROLE else self.buffer
        if path in avoid or path not in self.disk_paths():
            return None
        return DiskPlace(f"disk-{path.name}", path)

    def release(self, barcode: str, sequences: Collection[int]) -> Sequence[Path]:
        assert barcode == TAPE.barcode
        released = []
        for sequence in sorted(set(sequences) & set(self.records)):
            record = self.records[sequence]
            if record.uploaded and record.cache_path and not record.buffer_path:
                self.records[sequence] = dataclasses.replace(record, cache_path=None)
                released.append(record.cache_path)
        return released

    def reads(self, barcode: str) -> set[int]:
        assert barcode == TAPE.barcode
        return self.read_sequences

    def note_failure(self, disk: Path, reason: str) -> None:
        self.failures.append((disk, reason))

    def disk_paths(self) -> Sequence[Path]:
        return [path for path in (self.cache, self.buffer) if (path / "tapes").is_dir()]

    def lacks_disks(self) -> bool:
        return len(self.disk_paths()) < 2

    def staging_path(self, tape_uuid: uuid.UUID) -> Path:
        return self.root / f"staging-{tape_uuid}"

    def load(
        self,
        tape: TapeDescription = TAPE,
        *,
        segment_bytes: int = 4096,
        fetcher: SegmentFetcher | None = None,
        sealer: Callable[[Callable[[], None]], None] = run_now,
    ) -> SegmentedCartridge:
        """Load the tape."""
        cartridge = SegmentedCartridge.open(
            tape,
            journal=self,
            fetcher=fetcher,
            segment_bytes=segment_bytes,
            sealer=sealer,
            progress=LoadProgress(),
        )
        closed_at_end(cartridge, CartridgeError)
        if isinstance(sealer, LateSealer):
            closed_at_end(sealer)  # before the cartridge
        return cartridge

    def upload(self) -> None:
        """Have the store take all sealed segments, and the upload buffer let go of them."""
        for sequence, record in self.records.items():
            if record.buffer_path is not None:
                record.buffer_path.unlink()
            self.records[sequence] = dataclasses.replace(record, buffer_path=None, uploaded=True)

    def files(self, suffix: str = "") -> list[Path]:
        """Return the segment files on both disks."""
        return sorted(self.root.glob(f"*/tapes/*/*{suffix}"))


def write(cartridge: SegmentedCartridge, *blocks: bytes) -> None:
    """Write blocks one by one."""
    for block in blocks:
        cartridge.write_blocks(memoryview(block), len(block))


def read_all(cartridge: SegmentedCartridge, first: int = 0) -> list[LogicalObject]:
    """Return all objects from `first` on, None for a filemark."""
    cartridge.locate(first)
    buffer = memoryview(bytearray(4 << 20))
    found: list[LogicalObject] = []
    while (read := cartridge.read_block(buffer)) is not Mark.END_OF_DATA:
        if isinstance(read, EncryptedBlock):
            found.append(read)
        else:
            found.append(None if isinstance(read, Mark) else bytes(buffer[:read]))
    return found
