"""Two machines over one store, and tapes written and read the way a drive does."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from tapectl.disks.tape_loading import LoadProgress
from tapectl.gateway.recovery import restore
from tapectl.gateway.recovery_points import WhichPoint
from tapectl.gateway.restoration import Restoration, RestoreRequest
from tapectl.gateway.tapes import record_used_bytes
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.scsi.cartridge import CartridgeBusyError, EncryptedBlock, Mark
from tapectl.store.interface import ObjectStore
from tests.support.transfer_gateway import GATEWAY, TransferGateway

OTHER_ID = "sgw-0E1F2A3B"
FETCH_WAIT_S = 10.0

Result = TypeVar("Result")


def block(seed: int, size_bytes: int = 3000) -> bytes:
    """Bytes that no compression makes shorter, the same in every run."""
    return hashlib.shake_128(b"%d" % seed).digest(size_bytes)


def other_gateway(root: Path) -> TransferGateway:
    """Return a second gateway, on a machine of its own."""
    return TransferGateway(root, gateway=replace(GATEWAY, id=OTHER_ID, name="other"))


def write(
    gateway: TransferGateway,
    barcode: str,
    blocks: Sequence[bytes],
    at: int | None = 0,
    engine: TransferEngine | None = None,
) -> None:
    """Write blocks from object `at` on, None for end of data, and a filemark, and unload."""
    fetcher = Fetcher(engine) if engine is not None else None
    progress = LoadProgress()
    cartridge = patiently(lambda: gateway.load(barcode, fetcher=fetcher, progress=progress))
    cartridge.locate(cartridge.end_of_data if at is None else at)
    for one in blocks:
        cartridge.write_blocks(memoryview(one), len(one))
    cartridge.write_filemarks(1)
    cartridge.close()
    record_used_bytes(gateway.state, barcode, cartridge.volume_used_bytes)
    gateway.ms += 1000


def read(gateway: TransferGateway, barcode: str, engine: TransferEngine) -> list[bytes | None]:
    """Return every block of the tape, None for a filemark, from wherever they are."""
    fetcher, progress = Fetcher(engine), LoadProgress()
    cartridge = patiently(lambda: gateway.load(barcode, fetcher=fetcher, progress=progress))
    buffer = memoryview(bytearray(1 << 20))
    found: list[bytes | None] = []
    while True:
        got = patiently(lambda: cartridge.read_block(buffer))
        assert not isinstance(got, EncryptedBlock)
        if got is Mark.END_OF_DATA:
            break
        found.append(None if isinstance(got, Mark) else bytes(buffer[:got]))
    cartridge.close()
    return found


def restore_point(
    gateway: TransferGateway, store: ObjectStore, barcode: str, number: int | None = None
) -> Restoration:
    """Bring a tape to a recovery point, the latest unless one is named."""
    request = RestoreRequest(barcode=barcode, point=WhichPoint(number=number))
    return restore(gateway.state, store, request, actor="test", now_ms=lambda: gateway.ms)


class Fetcher:
    """What a worker asks the transfer process, without the socket between them."""

    def __init__(self, engine: TransferEngine) -> None:
        self._engine = engine

    def ensure(self, barcode: str, sequence: int, offset: int, size_bytes: int) -> Path:
        path, ready = self._engine.fetch_service.ensure(barcode, sequence, offset, size_bytes)
        if not ready:
            raise CartridgeBusyError("not there yet", 0.002)
        return path

    def discard(self, barcode: str, sequence: int) -> None:
        self._engine.fetch_service.discard(barcode, sequence)

    def count_missed(self, size_bytes: int) -> None:
        pass


def patiently(call: Callable[[], Result]) -> Result:
    """Call again until it has what it waits for."""
    deadline = time.monotonic() + FETCH_WAIT_S
    while True:
        with contextlib.suppress(CartridgeBusyError):
            return call()
        if time.monotonic() > deadline:
            raise AssertionError("the data never came")
        time.sleep(0.002)
