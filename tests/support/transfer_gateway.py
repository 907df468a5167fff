"""A gateway without devices, for tests of the transfer engine: state, disks, sealed segments."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from tapectl.disks.cartridge import SegmentedCartridge
from tapectl.disks.disk_directory import DiskMarker, prepare
from tapectl.disks.interface import SegmentFetcher
from tapectl.disks.tape_files import TapeDescription
from tapectl.disks.tape_loading import LoadProgress
from tapectl.gateway.journal import StateJournal
from tapectl.gateway.settings import Settings
from tapectl.gateway.transfer.bucket_layout import archive_key
from tapectl.gateway.transfer.context import PassReport
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.medium.frame import FrameEncoder, FrameKind
from tapectl.medium.run_index import RunIndex
from tapectl.medium.segment import (
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    encode_tail,
    summarize,
)
from tapectl.medium.summary import Totals
from tapectl.scsi.cartridge import CartridgeError
from tapectl.state import archive_objects, disks, gateways, segments, tapes
from tapectl.state.database import State
from tapectl.state.disks import DiskRecord, DiskRole
from tapectl.state.gateways import GatewayRecord
from tapectl.state.segments import SegmentRecord
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import Stamp, TapeRecord
from tapectl.store.interface import ObjectStore
from tests.support.closing import closed_at_end

START_MS = 1_800_000_000_000
FIRST_SLOT = 1000
_NOTHING = Totals(0, 0)
CACHE, BUFFER = "disk-0000000c", "disk-0000000b"
SETTINGS = Settings.load({}, Path(os.devnull), hold_s=0, retrieval_poll_s=10)
GATEWAY = GatewayRecord(
    id="sgw-0A1B2C3D",
    name="test",
    timezone="GMT",
    region=None,
    store_url="file:///nowhere",
    endpoint_url=None,
    profile=None,
    changer_type="AWS-Gateway-VTL",
    drive_type="IBM-ULT3580-TD5",
    drive_count=2,
    slot_count=10,
    import_export_count=10,
    iqn_prefix="iqn.2026-11.io.tapectl",
    device_serial_base="0A1B2C3D",
    created_at_ms=START_MS,
)


@dataclass
class TransferGateway:
    """State and disks below `root`; `ms` is the time, which only the test moves.

    What is there already is opened as it is.
    """

    root: Path
    gateway: GatewayRecord = GATEWAY
    cache_bytes: int = 1 << 30
    ms: int = START_MS
    state: State = field(init=False)

    def __post_init__(self) -> None:
        self.root.mkdir(exist_ok=True)
        if (self.root / "tapectl.db").exists():
            self.state = closed_at_end(State.open(self.root / "tapectl.db"))
            return
        self.state = closed_at_end(
            State.create(self.root / "tapectl.db", lambda db: gateways.insert(db, self.gateway))
        )
        with self.state.write() as db:
            for disk_id, role, path in (
                (CACHE, DiskRole.CACHE_STORAGE, self.cache),
                (BUFFER, DiskRole.UPLOAD_BUFFER, self.buffer),
            ):
                path.mkdir()
                prepare(path, DiskMarker(disk_id, self.gateway.id, role.value))
                disk = DiskRecord(
                    id=disk_id,
                    role=role,
                    path=path,
                    device_node=None,
                    size_bytes=self.cache_bytes,
                    created_at_ms=self.ms,
                )
                disks.insert(db, disk)

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def buffer(self) -> Path:
        return self.root / "buffer"

    @property
    def stamp(self) -> Stamp:
        return Stamp("test", self.ms)

    @cached_property
    def journal(self) -> StateJournal:
        """The journal of all tapes that are loaded here."""
        return StateJournal(self.state, SETTINGS, now_ms=lambda: self.ms)

    def engine(
        self, store: ObjectStore, *, drives_run: bool = True, **settings: object
    ) -> TransferEngine:
        """Return an engine as a new process would make it."""
        return closed_at_end(
            TransferEngine(
                self.state,
                store,
                replace(SETTINGS, **settings),  # type: ignore[arg-type]
                now_ms=lambda: self.ms,
                # Waits are over soon, and doubts too.
                monotonic_s=lambda: 100 * time.monotonic(),
                drives_run=drives_run,
            )
        )

    def load(
        self,
        barcode: str,
        *,
        fetcher: SegmentFetcher | None = None,
        segment_bytes: int = 1 << 20,
        progress: LoadProgress | None = None,
    ) -> SegmentedCartridge:
        """Return the cartridge as a drive loads it; it seals in the thread that writes. Give
        `progress` to try again."""
        tape = self.tape(barcode)
        cartridge = SegmentedCartridge.open(
            TapeDescription(barcode, tape.tape_uuid, tape.size_bytes, tape.write_protected),
            journal=self.journal,
            fetcher=fetcher,
            segment_bytes=segment_bytes,
            sealer=lambda job: job(),
            progress=progress or LoadProgress(),
        )
        return closed_at_end(cartridge, CartridgeError)

    def create_tape(self, barcode: str, *, pool: str = "GLACIER") -> TapeRecord:
        """Enter a CREATING tape that waits for its claim, in a slot of the library."""
        with self.state.write() as db:
            tape = TapeRecord(
                barcode=barcode,
                tape_uuid=uuid.uuid5(uuid.NAMESPACE_OID, f"{self.gateway.id}/{barcode}").hex,
                size_bytes=100 << 30,
                pool_id=pool,
                element_address=FIRST_SLOT + len(tapes.occupied_elements(db)),
                created_at_ms=self.ms,
                status_at_ms=self.ms,
            )
            tapes.insert(db, tape, self.stamp)
        return tape

    def write_segment(self, barcode: str, blocks: Sequence[bytes]) -> bytes:
        """Append a sealed segment with these blocks and a filemark, in cache and buffer, as a
        drive does; return the content of its file."""
        with self.state.read() as db:
            tape = tapes.get(db, barcode)
            before = segments.of_tape(db, barcode)
        last = before[-1].summary if before else None
        content = sealed_segment(
            tape,
            sequence=last.sequence + 1 if last else 1,
            first_object=last.first_object + last.object_count if last else 0,
            blocks=blocks,
            before=Totals(
                sum(one.summary.filemark_count for one in before),
                sum(one.summary.data_bytes for one in before),
            ),
        )
        header = SegmentHeader.decode(content[:SEGMENT_HEADER_BYTES])
        summary = summarize(header, _index(blocks), erases=False)
        name = f"tapes/{barcode}/{summary.sequence:08d}.seg"
        for disk in (self.cache, self.buffer):
            (disk / name).parent.mkdir(parents=True, exist_ok=True)
            (disk / name).write_bytes(content)
        self.ms += 1
        with self.state.write() as db:
            segments.insert(
                db,
                SegmentRecord(
                    barcode=barcode,
                    summary=summary,
                    sealed_at_ms=self.ms,
                    cache_disk_id=CACHE,
                    buffer_disk_id=BUFFER,
                ),
            )
        return content

    def tape(self, barcode: str) -> TapeRecord:
        with self.state.read() as db:
            found = tapes.find(db, barcode)
        assert found is not None
        return found

    def segments(self, barcode: str) -> Sequence[SegmentRecord]:
        with self.state.read() as db:
            return segments.of_tape(db, barcode)

    def archive_keys(self, barcode: str) -> set[str]:
        """Return the keys of the composed objects that the state has of a tape."""
        with self.state.read() as db:
            found = archive_objects.of_tape(db, barcode)
        return {archive_key(barcode, one) for one in found}

    def change_status(self, barcode: str, to: TapeStatus, **changes: str | int | None) -> None:
        """Do what a command or an initiator does to a tape."""
        with self.state.write() as db:
            tapes.transition(db, barcode, to, self.stamp, **changes)

    def drop_cache(self) -> None:
        """Lose what the cache holds of segments that are in the store."""
        with self.state.write() as db:
            for record in segments.evictable(db, CACHE):
                segments.set_cache_disk(db, record.barcode, record.sequence, None)
                (self.cache / f"tapes/{record.barcode}/{record.sequence:08d}.seg").unlink()

    def local_files(self) -> list[str]:
        """Return the names of all files of tapes on both disks."""
        return sorted(
            str(path.relative_to(self.root))
            for path in self.root.glob("*/tapes/*/*")
            if path.is_file()
        )


def run_until_idle(engine: TransferEngine, passes_max: int = 50) -> PassReport:
    """Run passes until one does nothing."""
    for _ in range(passes_max):
        report = engine.run_pass()
        if not report.done:
            return report
    raise AssertionError("the engine never came to rest")


def archive(gateway: TransferGateway, engine: TransferEngine, barcode: str) -> None:
    """Eject a tape and have it archived."""
    gateway.change_status(barcode, TapeStatus.IN_TRANSIT_TO_VTS)
    run_until_idle(engine)
    assert gateway.tape(barcode).status is TapeStatus.ARCHIVED


def retrieve(gateway: TransferGateway, engine: TransferEngine, barcode: str) -> None:
    """Ask for a tape of the shelf, and let the minute pass that a store of tests takes."""
    gateway.change_status(barcode, TapeStatus.RETRIEVING, retrieval_tier="Bulk")
    run_until_idle(engine)
    gateway.ms += 61_000
    run_until_idle(engine)
    assert gateway.tape(barcode).status is TapeStatus.RETRIEVED


def sealed_segment(
    tape: TapeRecord,
    *,
    sequence: int,
    first_object: int,
    blocks: Sequence[bytes],
    before: Totals = _NOTHING,
) -> bytes:
    """Return a sealed segment file with `blocks` and a filemark."""
    header = _header(tape, sequence, first_object, before)
    encoder = FrameEncoder(sequence)
    content = bytearray(header.encode())
    index = _index(blocks)
    for number, block in enumerate(blocks, first_object):
        content += bytes(encoder.block(number, memoryview(block))) + block
    content += encoder.marks(FrameKind.FILEMARK, first_object + len(blocks))
    return bytes(content) + encode_tail(summarize(header, index, erases=False), index)


def _header(tape: TapeRecord, sequence: int, first_object: int, before: Totals) -> SegmentHeader:
    return SegmentHeader(
        tape_uuid=uuid.UUID(tape.tape_uuid),
        barcode=tape.barcode,
        sequence=sequence,
        first_object=first_object,
        file_number=before.file_number,
        data_bytes_before=before.data_bytes,
        created_ms=START_MS,
    )


def _index(blocks: Sequence[bytes]) -> RunIndex:
    index = RunIndex(SEGMENT_HEADER_BYTES)
    for block in blocks:
        index.append(FrameKind.BLOCK, len(block))
    index.append(FrameKind.FILEMARK, 0)
    return index
