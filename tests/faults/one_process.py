"""A gateway in one process: a drive with a tape, state, two disks, the transfer engine, a store.

Everything is the product's own but for the sockets: commands go to the device server as CDBs,
segments to files, moves and statuses to the state, objects to a directory store. It is opened on
what is there, so that it can be led up to a fault and opened again after it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import struct
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tapectl.disks import following_copy, segment_files
from tapectl.disks.cartridge import SegmentedCartridge
from tapectl.disks.interface import Placement
from tapectl.disks.tape_files import TapeDescription
from tapectl.disks.tape_loading import LoadProgress
from tapectl.gateway.check.findings import Code, Finding, Severity
from tapectl.gateway.check.run import CheckRequest, check_gateway
from tapectl.gateway.check.view import Serving
from tapectl.gateway.elements import ElementMap
from tapectl.gateway.journal import FULL_RETRY_S, StateJournal
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.scsi.cartridge import CartridgeBusyError, CartridgeError, CartridgeReadError
from tapectl.scsi.library import ElementType
from tapectl.scsi.logical_unit import Reply, Status
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.ssc.drive import TapeDrive
from tapectl.state import tapes
from tapectl.state.device_memory import DeviceMemory
from tapectl.store.directory import DirectoryStore
from tapectl.store.interface import ObjectStore, StoreError
from tests.support.encryption import DISABLE, ENCRYPT, MIXED, set_page, spout_cdb
from tests.support.scsi_initiator import Initiator, ReceivedSense
from tests.support.transfer_gateway import SETTINGS, TransferGateway

SEGMENT_BYTES = 1 << 16
BLOCK_BYTES_MAX = 1 << 15
TAPE = "FAULT1L5"
LABEL = 0x0803  # USER MEDIUM TEXT LABEL (SPC-5 7.4.2.3)
_LABEL_BYTES = 160
_PASSES_MAX = 60
_BUSY_MAX = 2000
# The transfer process looks by itself too: what waits for data may wait for room for it.
_TRIES_A_PASS = 100
# Segments are small here: what is written behind answers, or past the page cache, is as small
# beside these as elsewhere.
segment_files.PIECE_BYTES = following_copy.DIRECT_BYTES_MIN = 1 << 12
# A test's directories are on one file system, in no fstab, on a machine that may be full or busy.
OF_THE_HOST = frozenset(
    (
        Code.OPEN_FILES_LIMIT,
        Code.CLOCK_BEHIND,
        Code.STATE_SPACE,
        Code.DISKS_SHARED,
        Code.DISK_FULL,
        Code.DISK_TOO_LARGE,
        Code.DISK_SIZE,
        Code.DISK_NOT_IN_FSTAB,
        Code.DISK_FAILING,
    )
)
# A put-off tape is looked at again after a minute.
_PASS_MS = 61_000

Objects = tuple[bytes | None, ...]
T = TypeVar("T")


class RefusedError(Exception):
    """A command ended with CHECK CONDITION."""

    def __init__(self, sense: ReceivedSense) -> None:
        super().__init__(str(sense))
        self.sense = sense


class _Journal(StateJournal):
    """Two files where the disks are on one file system, as they would be on two."""

    def place(self, barcode: str, size_bytes: int, *, avoid: Collection[Path] = ()) -> Placement:
        return dataclasses.replace(super().place(barcode, size_bytes, avoid=avoid), shared=False)


class _Fetcher:
    """What a worker asks the transfer process for, without the socket between."""

    def __init__(self, engine: Callable[[], TransferEngine]) -> None:
        self._engine = engine

    def ensure(self, barcode: str, sequence: int, offset: int, size_bytes: int) -> Path:
        service = self._engine().fetch_service
        path, ready = service.ensure(barcode, sequence, offset, size_bytes)
        if not ready:
            raise CartridgeBusyError(f"segment {sequence} of {barcode} is on its way", 0.002)
        return path

    def discard(self, barcode: str, sequence: int) -> None:
        self._engine().fetch_service.discard(barcode, sequence)

    def count_missed(self, size_bytes: int) -> None:
        pass


class OneProcess:
    """The gateway at `root`, opened as it is, or made. Call `close`, or `abandon` as a crash does.

    With `sealing_delays` segments are sealed in a thread that waits so many seconds before each,
    by turns; without in the thread that writes. `wrap` may put something before the store. Disks
    that are made have `disk_bytes`; while they are full, the transfer engine makes room.
    """

    def __init__(
        self,
        root: Path,
        *,
        shared: bool,
        sealing_delays: Sequence[float] = (),
        disk_bytes: int = 1 << 30,
        wrap: Callable[[ObjectStore], ObjectStore] = lambda store: store,
    ) -> None:
        self.gateway = TransferGateway(root, cache_bytes=disk_bytes)
        (root / "store").mkdir(exist_ok=True)
        self._store = wrap(DirectoryStore(root / "store", now_ms=lambda: self.gateway.ms))
        settings = dataclasses.replace(
            SETTINGS, segment_bytes=SEGMENT_BYTES, state_path=self.gateway.state.path
        )
        kind = StateJournal if shared else _Journal
        self._journal = kind(self.gateway.state, settings, now_ms=lambda: self.gateway.ms)
        self._settings = settings
        self._delays = list(sealing_delays)
        self._sealing = ThreadPoolExecutor(1) if sealing_delays else None
        self._engine: TransferEngine | None = None
        self._drives_run = False
        self._random = random.Random(0)
        self.cartridge: SegmentedCartridge | None = None
        self._new_drive()

    def create_tape(self) -> None:
        """Enter the tape, in the first slot, to be claimed."""
        gateway = self.gateway
        gateway.create_tape(TAPE)
        elements = ElementMap.of(gateway.gateway)
        (slot, *_) = elements.first_free(ElementType.STORAGE, frozenset())
        with gateway.state.write() as db:
            tapes.update(db, TAPE, element_address=slot)

    # -- the drive ----------------------------------------------------------------------------
    def _new_drive(self) -> None:
        self.drive = TapeDrive(
            DRIVE_PERSONALITIES["IBM-ULT3580-TD5"],
            serial="TD00000001",
            memory=DeviceMemory(self.gateway.state, "TD00000001"),
            random=self._random.randbytes,
            now_ms=lambda: self.gateway.ms,
        )
        self._initiator = Initiator(self.drive)

    def load(self) -> None:
        """Load the tape into the drive; raise CartridgeError, StateError."""
        if not self._drives_run:
            self.restart_engine()
            self._drives_run = True
        tape = self.gateway.tape(TAPE)
        description = TapeDescription(
            TAPE, tape.tape_uuid, tape.size_bytes, write_protected=tape.write_protected
        )
        progress = LoadProgress()
        self.cartridge = self._when_not_busy(
            lambda: SegmentedCartridge.open(
                description,
                journal=self._journal,
                fetcher=_Fetcher(self.engine),
                segment_bytes=SEGMENT_BYTES,
                sealer=self._seal,
                progress=progress,
            )
        )
        self._when_not_busy(lambda: self.drive.load(self._loaded))

    @property
    def _loaded(self) -> SegmentedCartridge:
        assert self.cartridge is not None, "no tape is loaded"
        return self.cartridge

    def unload(self) -> None:
        """Unload it as the robot does; raise CartridgeError if it could not be sealed."""
        cartridge, self.cartridge = self._loaded, None
        self.drive.unload()
        cartridge.close()

    def _seal(self, job: Callable[[], None]) -> None:
        if self._sealing is None:
            job()
            return
        delay_s = self._delays[0]
        self._delays.append(self._delays.pop(0))

        def later() -> None:
            time.sleep(delay_s)
            job()

        self._sealing.submit(later)

    def command(self, cdb: str | bytes, data: bytes = b"") -> Reply:
        """Run a command to its end, past unit attentions and waits."""
        while True:
            reply = self._when_not_busy(lambda: self._initiator.send(cdb, data))
            if reply.status is Status.GOOD:
                return reply
            assert reply.status is Status.CHECK_CONDITION, reply.status
            sense = ReceivedSense.decode(reply.sense)
            if sense.key != 6:
                raise RefusedError(sense)

    def _when_not_busy(self, action: Callable[[], T]) -> T:
        """Run what may have to wait, again and again, as the connection loop does."""
        for attempt in range(1, _BUSY_MAX + 1):
            try:
                return action()
            except CartridgeBusyError as busy:
                if busy.retry_after_s >= FULL_RETRY_S or attempt % _TRIES_A_PASS == 0:
                    with contextlib.suppress(StoreError):
                        self.engine().run_pass()
                time.sleep(min(busy.retry_after_s, 0.003))
        raise CartridgeReadError("busy for good")

    def write(self, block: bytes) -> None:
        self.command(b"\x0a\0" + len(block).to_bytes(3, "big"), block)

    def write_filemarks(self, count: int, *, immediate: bool = False) -> None:
        self.command(bytes((0x10, immediate)) + count.to_bytes(3, "big"))

    def locate(self, position: int) -> None:
        self.command(struct.pack(">BBBBQ", 0x92, 0, 0, 0, position))

    def erase(self) -> None:
        self.command("19 01")

    def format(self) -> None:
        self.command("01")
        self.command("04")

    def set_label(self, text: bytes) -> None:
        """WRITE ATTRIBUTE."""
        row = struct.pack(">HBH", LABEL, 2, _LABEL_BYTES) + text.ljust(_LABEL_BYTES)
        data = struct.pack(">I", len(row)) + row
        self.command(b"\x8d" + bytes(9) + struct.pack(">I", len(data)), data)

    def label(self) -> bytes:
        stored = self._loaded.attribute(0, LABEL)
        return stored.value.rstrip() if stored else b""

    def encrypt(self, on: bool) -> None:
        """Encrypt what is written from now on, or do not; what is read is decrypted either way."""
        page = set_page(ENCRYPT if on else DISABLE, MIXED)
        self.command(spout_cdb(page), page)

    def read_all(self) -> Objects:
        """Read the loaded tape from its beginning to the end of data."""
        self.encrypt(False)
        self.command("01")
        found: list[bytes | None] = []
        while True:
            try:
                reply = self.command(Initiator.read_cdb(BLOCK_BYTES_MAX, sili=True))
            except RefusedError as refused:
                if refused.sense.filemark:
                    found.append(None)
                elif refused.sense.key == 8:  # BLANK CHECK
                    return tuple(found)
                else:
                    raise
            else:
                found.append(bytes(reply.data_in))

    # -- the transfer engine ------------------------------------------------------------------
    def engine(self) -> TransferEngine:
        if self._engine is None:
            self._engine = TransferEngine(
                self.gateway.state,
                self._store,
                dataclasses.replace(
                    self._settings, upload_workers=1, retrieval_poll_s=1, keep_overwritten_days=0
                ),
                now_ms=lambda: self.gateway.ms,
                drives_run=self._drives_run,
            )
        return self._engine

    def restart_engine(self) -> None:
        """Begin another transfer process; without a tape in the drive it knows that none runs."""
        self._drives_run = self.cartridge is not None
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def transfer(self, done: Callable[[], bool]) -> None:
        """Run passes until one has nothing to do and `done`; what fails once is done again."""
        for _ in range(_PASSES_MAX):
            with contextlib.suppress(StoreError):
                report = self.engine().run_pass()
                if not report.done and done():
                    return
            self.gateway.ms += _PASS_MS
        raise AssertionError(f"did not come to its end: {self.gateway.tape(TAPE)}")

    def all_uploaded(self) -> bool:
        return all(one.uploaded_at_ms for one in self.gateway.segments(TAPE))

    def check(self) -> Sequence[Finding]:
        """Return what `tapectl check --deep` finds that somebody should see to."""
        request = CheckRequest(deep=True)
        report = check_gateway(
            self.gateway.state,
            self._settings,
            request,
            serving=Serving(),
            now_ms=lambda: self.gateway.ms,
            store=self._store,
        )
        return [
            one
            for one in report.findings
            if one.severity is not Severity.INFO and one.code not in OF_THE_HOST
        ]

    # -- the end ------------------------------------------------------------------------------
    def close(self) -> None:
        """Unload and leave, in order."""
        if self.cartridge is not None:
            self.unload()
        self.abandon()

    def abandon(self) -> None:
        """Let go of everything as it is. What a crash leaves is left."""
        if self._sealing is not None:
            self._sealing.shutdown(wait=True)
        if self.cartridge is not None:
            with contextlib.suppress(CartridgeError):
                _forget(self.cartridge)
        self.restart_engine()
        self.gateway.state.close()


def _forget(cartridge: SegmentedCartridge) -> None:
    """Close the files of a cartridge without sealing anything."""
    written = cartridge._written_map()
    if written is not None and written.writer is not None:
        written.writer.files.close()
    cartridge._readers.close()
