"""Draining: a disk gives up all that it holds, and nothing is lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from tapectl.disks.disk_directory import DiskMarker, prepare
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.state import disks, segments
from tapectl.state.disks import DiskRecord, DiskRole
from tapectl.store.interface import ObjectStore, StoreError
from tapectl.store.memory import MemoryStore
from tests.support.failing_store import FailNth
from tests.support.transfer_gateway import BUFFER, CACHE, TransferGateway, run_until_idle

TAPE = "TEST01L5"
ROLES = {CACHE: DiskRole.CACHE_STORAGE, BUFFER: DiskRole.UPLOAD_BUFFER}


@pytest.fixture
def gateway(tmp_path: Path) -> TransferGateway:
    gateway = TransferGateway(tmp_path)
    gateway.create_tape(TAPE)
    return gateway


@pytest.fixture
def store(gateway: TransferGateway) -> MemoryStore:
    store = MemoryStore(now_ms=lambda: gateway.ms)
    run_until_idle(gateway.engine(store))
    return store


@pytest.fixture
def in_an_outage(gateway: TransferGateway, store: MemoryStore) -> TransferEngine:
    return gateway.engine(cast("ObjectStore", FailNth(store, 1, forever=True)))


def add_disk(gateway: TransferGateway, role: DiskRole) -> str:
    disk_id = f"disk-{role.value[:3].lower()}"
    path = gateway.root / disk_id
    path.mkdir()
    prepare(path, DiskMarker(disk_id, gateway.gateway.id, role.value))
    record = DiskRecord(
        id=disk_id, role=role, path=path, device_node=None, size_bytes=1 << 30, created_at_ms=9
    )
    with gateway.state.write() as db:
        disks.insert(db, record)
    return disk_id


def drain(gateway: TransferGateway, disk_id: str) -> None:
    with gateway.state.write() as db:
        disks.set_draining(db, disk_id, gateway.ms)


def passes(engine: TransferEngine, count: int = 5) -> None:
    for _ in range(count):
        try:
            engine.run_pass()
        except StoreError:
            continue


def on_disk(gateway: TransferGateway, disk_id: str) -> int:
    with gateway.state.read() as db:
        return segments.totals_on_disk(db, disk_id).segments


def files_below(gateway: TransferGateway, folder: str) -> list[str]:
    return [name for name in gateway.local_files() if name.startswith(f"{folder}/")]


def test_what_is_in_the_store_leaves_a_cache_that_is_drained(
    gateway: TransferGateway, store: MemoryStore
) -> None:
    gateway.write_segment(TAPE, [b"x" * 1000])
    engine = gateway.engine(store)
    run_until_idle(engine)
    assert on_disk(gateway, CACHE) == 1
    drain(gateway, CACHE)
    run_until_idle(engine)
    assert on_disk(gateway, CACHE) == 0
    assert gateway.local_files() == []


@pytest.mark.parametrize("disk_id", [CACHE, BUFFER])
def test_what_is_in_no_store_moves_to_another_disk_of_the_role(
    gateway: TransferGateway, in_an_outage: TransferEngine, disk_id: str
) -> None:
    contents = [gateway.write_segment(TAPE, [bytes([n]) * 1000]) for n in range(20)]
    new = add_disk(gateway, ROLES[disk_id])
    drain(gateway, disk_id)
    passes(in_an_outage)
    assert on_disk(gateway, disk_id) == 0
    assert on_disk(gateway, new) == len(contents)
    old = "cache" if disk_id == CACHE else "buffer"
    assert files_below(gateway, old) == []
    moved = [(gateway.root / name).read_bytes() for name in files_below(gateway, new)]
    assert moved == contents


def lose(path: Path) -> None:
    path.rename(path.with_name("away"))


def damage(path: Path) -> None:
    for file in path.glob("tapes/*/*.seg"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.unlink()
        file.write_bytes(content)


@pytest.mark.parametrize("harm", [lose, damage])
def test_what_the_drained_disk_cannot_give_comes_from_the_other_role(
    gateway: TransferGateway, in_an_outage: TransferEngine, harm: Callable[[Path], None]
) -> None:
    content = gateway.write_segment(TAPE, [b"x" * 1000])
    new = add_disk(gateway, DiskRole.CACHE_STORAGE)
    harm(gateway.cache)
    drain(gateway, CACHE)
    passes(in_an_outage)
    assert on_disk(gateway, CACHE) == 0
    (name,) = files_below(gateway, new)
    assert (gateway.root / name).read_bytes() == content


def test_without_another_disk_it_waits_for_the_upload(
    gateway: TransferGateway, store: MemoryStore, in_an_outage: TransferEngine
) -> None:
    gateway.write_segment(TAPE, [b"x" * 1000])
    drain(gateway, BUFFER)
    passes(in_an_outage)
    assert on_disk(gateway, BUFFER) == 1
    run_until_idle(gateway.engine(store))
    assert on_disk(gateway, BUFFER) == 0


def test_a_segment_of_which_no_copy_can_be_read_stays_and_stops_no_other(
    gateway: TransferGateway, in_an_outage: TransferEngine
) -> None:
    gateway.write_segment(TAPE, [b"x" * 1000])
    damage(gateway.cache)
    damage(gateway.buffer)
    gateway.write_segment(TAPE, [b"y" * 1000])
    add_disk(gateway, DiskRole.CACHE_STORAGE)
    drain(gateway, CACHE)
    passes(in_an_outage)
    with gateway.state.read() as db:
        assert [one.sequence for one in segments.waiting_on_disk(db, CACHE)] == [1]
