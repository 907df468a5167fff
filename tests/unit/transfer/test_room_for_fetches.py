"""A small cache: what is fetched finds room one after the other, and nobody waits for good."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from tapectl.disks.cartridge import SegmentedCartridge
from tapectl.disks.tape_loading import LoadProgress
from tapectl.gateway.adoption import disable_gateway
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.scsi.cartridge import CartridgeBusyError
from tapectl.store.memory import MemoryStore
from tests.support.tape_disks import write
from tests.support.transfer_gateway import CACHE, GATEWAY, TransferGateway, run_until_idle
from tests.support.two_gateways import Fetcher, other_gateway, read, restore_point

TAPE = "TEST01L5"
BLOCK_BYTES = 100_000
WAIT_S = 30.0


def test_more_readers_than_the_cache_has_room_for_are_served_in_turn(tmp_path: Path) -> None:
    gateway = TransferGateway(tmp_path, cache_bytes=5 * BLOCK_BYTES // 2)
    engine = gateway.engine(MemoryStore())
    waiting = {}
    for number in range(6):
        barcode = f"TEST{number:02d}L5"
        gateway.create_tape(barcode)
        waiting[barcode] = gateway.write_segment(barcode, [os.urandom(BLOCK_BYTES)])
    run_until_idle(engine)
    gateway.drop_cache()
    deadline = time.monotonic() + WAIT_S
    while waiting:
        assert time.monotonic() < deadline, f"nothing comes of {sorted(waiting)}"
        for barcode, content in list(waiting.items()):
            path, ready = engine.fetch_service.ensure(barcode, 1, 0, len(content), wait_s=0.005)
            if ready:
                # It may have gone again, as a worker may find.
                with contextlib.suppress(FileNotFoundError):
                    assert path.read_bytes() == content
                    del waiting[barcode]
    engine.close()


def test_a_tape_is_loaded_though_the_cache_cannot_hold_what_its_load_reads(tmp_path: Path) -> None:
    """Each overwrite leaves a segment that counts in part, whose index says what still does, where
    the one that wrote over the rest was entered by a program that did not say it."""
    gateway = TransferGateway(tmp_path)
    engine = gateway.engine(MemoryStore())
    tape = _overwrite_in_part(gateway)
    run_until_idle(engine)
    gateway.drop_cache()
    with gateway.state.write() as db:
        db.execute("UPDATE segment SET filemarks_before = NULL, data_bytes_before = NULL")
        # Room for one of the five.
        db.execute("UPDATE disk SET size_bytes = ? WHERE id = ?", (3 * BLOCK_BYTES, CACHE))
    loaded = _load(gateway, engine)
    assert loaded.end_of_data == len(tape)
    assert loaded.used_bytes == len(tape) * BLOCK_BYTES
    engine.close()


def test_a_tape_that_was_overwritten_in_part_is_loaded_without_the_store(tmp_path: Path) -> None:
    """Here, and where another gateway has it from the bucket alone."""
    gateway, store = TransferGateway(tmp_path / "one"), CountingStore()
    engine = gateway.engine(store)
    tape = _overwrite_in_part(gateway)
    run_until_idle(engine)
    gateway.drop_cache()
    store.got_bytes = 0
    loaded = _load(gateway, engine)
    assert (loaded.end_of_data, loaded.used_bytes) == (len(tape), len(tape) * BLOCK_BYTES)
    assert store.got_bytes == 0
    loaded.close()
    engine.close()

    disable_gateway(store, GATEWAY.id, by="test")
    other = other_gateway(tmp_path / "two")
    engine = other.engine(store)
    run_until_idle(engine)
    restore_point(other, store, TAPE)
    store.got_bytes = 0
    loaded = _load(other, engine)
    assert (loaded.end_of_data, loaded.used_bytes) == (len(tape), len(tape) * BLOCK_BYTES)
    assert store.got_bytes == 0
    loaded.close()
    assert read(other, TAPE, engine) == tape
    engine.close()


class CountingStore(MemoryStore):
    """Counts the bytes that are read from it."""

    got_bytes = 0

    def get(self, key: str, *, offset: int = 0, size_bytes: int | None = None) -> bytes:
        found = super().get(key, offset=offset, size_bytes=size_bytes)
        self.got_bytes += len(found)
        return found


def _overwrite_in_part(gateway: TransferGateway) -> list[bytes]:
    """Make a tape of five segments of which the first four count in part; return its blocks."""
    gateway.create_tape(TAPE)
    cartridge = gateway.load(TAPE)
    tape: list[bytes] = []
    for _ in range(5):
        cartridge.locate(max(0, len(tape) - 1))
        tape[-1:] = [os.urandom(BLOCK_BYTES) for _ in range(2)]
        write(cartridge, *tape[-2:])
        cartridge.seal_open_segment()
    cartridge.close()
    return tape


def _load(gateway: TransferGateway, engine: TransferEngine) -> SegmentedCartridge:
    fetcher, progress = Fetcher(engine), LoadProgress()
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return gateway.load(TAPE, fetcher=fetcher, progress=progress)
        except CartridgeBusyError as busy:
            assert time.monotonic() < deadline, "it is never loaded"
            time.sleep(busy.retry_after_s)
