"""What the cache gives up: what was not read for the longest time, whenever it came."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapectl.disks.cartridge import SegmentedCartridge
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.gateway.warming import keep_cached
from tapectl.state import segments
from tapectl.state.errors import StateBusyError
from tapectl.store.memory import MemoryStore
from tests.support.gateway import wait_until
from tests.support.transfer_gateway import CACHE, TransferGateway, run_until_idle
from tests.support.two_gateways import Fetcher, block, patiently, write

OFTEN, ONCE = "OFTEN1L5", "ONCE01L5"
BLOCK_BYTES = 100_000
WAIT_S = 10.0


def with_two_tapes(root: Path) -> tuple[TransferGateway, TransferEngine]:
    """Return a gateway and its engine, which has made both tapes."""
    gateway = TransferGateway(root)
    engine = gateway.engine(MemoryStore())
    for barcode in (OFTEN, ONCE):
        gateway.create_tape(barcode)
    run_until_idle(engine)
    return gateway, engine


def test_what_is_read_again_and_again_stays_in_the_cache(tmp_path: Path) -> None:
    gateway, engine = with_two_tapes(tmp_path)
    for barcode in (OFTEN, ONCE):
        write(gateway, barcode, [block(1, BLOCK_BYTES)])
    run_until_idle(engine)
    gateway.drop_cache()

    def read(cartridge: SegmentedCartridge) -> None:
        gateway.ms += 1000
        buffer = memoryview(bytearray(BLOCK_BYTES))
        cartridge.locate(0)
        assert patiently(lambda: cartridge.read_block(buffer)) == BLOCK_BYTES
        gateway.journal.record_reads()

    often, once = (gateway.load(one, fetcher=Fetcher(engine)) for one in (OFTEN, ONCE))

    def cached() -> list[str]:
        return [one for one in (OFTEN, ONCE) if gateway.segments(one)[0].cache_disk_id]

    read(often)
    wait_until(lambda: cached() == [OFTEN], "it is in the cache", WAIT_S)
    read(once)
    wait_until(lambda: cached() == [OFTEN, ONCE], "it is in the cache", WAIT_S)
    read(often)
    with gateway.state.write() as db:
        db.execute("UPDATE disk SET size_bytes = ? WHERE id = ?", (2 * BLOCK_BYTES, CACHE))
    run_until_idle(engine)
    assert cached() == [OFTEN]
    for cartridge in (often, once):
        cartridge.close()
    engine.close()


def test_a_tape_that_is_warmed_makes_room_elsewhere(tmp_path: Path) -> None:
    gateway, engine = with_two_tapes(tmp_path)
    for barcode in (OFTEN, OFTEN, ONCE):
        write(gateway, barcode, [block(1, BLOCK_BYTES)], at=None)
    run_until_idle(engine)
    second = gateway.segments(OFTEN)[1]
    with gateway.state.write() as db:
        segments.set_cache_disk(db, OFTEN, second.sequence, None)
        db.execute("UPDATE disk SET size_bytes = ? WHERE id = ?", (5 * BLOCK_BYTES // 2, CACHE))
    keep_cached(gateway.state, OFTEN, now_ms=lambda: gateway.ms)
    fetch = Fetcher(engine).ensure
    patiently(lambda: fetch(OFTEN, second.sequence, 0, second.summary.file_bytes))
    wait_until(
        lambda: all(one.cache_disk_id for one in gateway.segments(OFTEN)), "all is there", WAIT_S
    )
    assert gateway.segments(ONCE)[0].cache_disk_id is None
    engine.close()


def test_reads_that_cannot_be_entered_end_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = TransferGateway(tmp_path)
    gateway.create_tape(OFTEN)
    write(gateway, OFTEN, [block(1, BLOCK_BYTES)])
    cartridge = gateway.load(OFTEN)
    cartridge.read_block(memoryview(bytearray(BLOCK_BYTES)))

    def refuse() -> None:
        raise StateBusyError(gateway.state.path, 30.0)

    monkeypatch.setattr(gateway.state, "write", refuse)
    gateway.journal.record_reads()
    monkeypatch.undo()
    cartridge.close()
