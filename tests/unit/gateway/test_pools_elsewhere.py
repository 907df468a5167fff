"""Pools, locks and tags on another machine: the bucket says all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tapectl.gateway.adoption import disable_gateway
from tapectl.gateway.pool_assignment import assign_pool
from tapectl.gateway.pools import PoolCreation, create_pool, describe_pool
from tapectl.gateway.resource_tags import add_tags, list_tags
from tapectl.gateway.retention import TapeLockedError
from tapectl.gateway.shelf import delete_archive
from tapectl.gateway.transfer.bucket_layout import archive_prefix, inventory_key
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.gateway.transfer.volume_changes import VolumeChanges
from tapectl.state.tape_status import TapeStatus
from tapectl.store.interface import Encryption, SSEAlgorithm, StorageClass
from tapectl.store.memory import MemoryStore
from tests.support.adopted_gateway import adopt_on
from tests.support.transfer_gateway import GATEWAY, TransferGateway, run_until_idle
from tests.support.two_gateways import block, other_gateway, restore_point, write

TAPE = "LOCK01L5"
KEY = Encryption(SSEAlgorithm.AWS_KMS, "alias/tapes")
LEDGER = PoolCreation(
    name="ledger",
    storage_class="DEEP_ARCHIVE",
    retention_lock_type="COMPLIANCE",
    retention_lock_days=3650,
)


@pytest.fixture
def gateway(tmp_path: Path) -> TransferGateway:
    return TransferGateway(tmp_path / "one")


@pytest.fixture
def store(gateway: TransferGateway) -> MemoryStore:
    return MemoryStore(now_ms=lambda: gateway.ms)


@pytest.fixture
def engine(gateway: TransferGateway, store: MemoryStore) -> Iterator[TransferEngine]:
    engine = gateway.engine(store, drives_run=False)
    yield engine
    engine.close()


@pytest.fixture
def pool_id(gateway: TransferGateway, store: MemoryStore, engine: TransferEngine) -> str:
    """The pool of an archived, locked, tagged, encrypted tape."""
    engine.run_pass()
    pool = create_pool(gateway.state, store, LEDGER, now_ms=lambda: gateway.ms).record
    gateway.create_tape(TAPE, pool=pool.id)
    with gateway.state.write() as db:
        db.execute("UPDATE tape SET encryption = 'aws:kms', kms_key = 'alias/tapes'")
    add_tags(gateway.state, TAPE, {"owner": "audit"}, open_store=lambda: store)
    add_tags(gateway.state, "gateway", {"site": "Frankfurt"}, open_store=lambda: store)
    run_until_idle(engine)
    write(gateway, TAPE, [block(1)])
    run_until_idle(engine)
    gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
    run_until_idle(engine)
    add_tags(gateway.state, "ledger", {"for": "years"}, open_store=lambda: store)
    run_until_idle(engine)
    return pool.id


@pytest.mark.parametrize("inventory", [True, False])
def test_a_machine_that_adopts_the_gateway_keeps_every_promise(
    gateway: TransferGateway, store: MemoryStore, pool_id: str, tmp_path: Path, inventory: bool
) -> None:
    if not inventory:
        store.delete(inventory_key(GATEWAY.id))
    until_ms = gateway.tape(TAPE).retained_until_ms
    _, machine = adopt_on(gateway, store, tmp_path / "two")
    pool = describe_pool(machine.state, "ledger").record
    assert (pool.id, pool.retention_lock_type, pool.retention_lock_days) == (
        pool_id,
        "COMPLIANCE",
        3650,
    )
    assert list_tags(machine.state, "ledger").tags == {"for": "years"}
    assert list_tags(machine.state, "gateway").tags == {"site": "Frankfurt"}
    assert list_tags(machine.state, TAPE).tags == {"owner": "audit"}
    tape = machine.tape(TAPE)
    assert (tape.pool_id, tape.retained_until_ms, tape.retention_mode) == (
        pool_id,
        until_ms,
        "COMPLIANCE",
    )
    assert (tape.encryption, tape.kms_key) == ("aws:kms", "alias/tapes")
    with pytest.raises(TapeLockedError):
        delete_archive(machine.state, TAPE, bypass_governance=True, now_ms=lambda: machine.ms)
    engine = machine.engine(store, drives_run=False)
    run_until_idle(engine)
    engine.close()
    assert not machine.tape(TAPE).archive_pending
    assert {store.head(info.key).encryption for info in store.list(f"tapes/{TAPE}/")} == {KEY}


def test_another_gateway_learns_the_pool_of_a_tape_it_takes_over(
    gateway: TransferGateway, store: MemoryStore, pool_id: str, tmp_path: Path
) -> None:
    until_ms = gateway.tape(TAPE).retained_until_ms
    other = other_gateway(tmp_path / "two")
    other.ms = gateway.ms
    engine = other.engine(store, drives_run=False)
    engine.run_pass()
    disable_gateway(store, GATEWAY.id, by="test")
    restore_point(other, store, TAPE)
    tape = other.tape(TAPE)
    assert (tape.status, tape.pool_id) == (TapeStatus.ARCHIVED, pool_id)
    assert (tape.retained_until_ms, tape.retention_mode) == (until_ms, "COMPLIANCE")
    assert describe_pool(other.state, pool_id).record.name == "ledger"
    assert list_tags(other.state, TAPE).tags == {"owner": "audit"}
    run_until_idle(engine)
    engine.close()
    infos = [store.head(info.key) for info in store.list(archive_prefix(TAPE))]
    assert {info.storage_class for info in infos} == {StorageClass.DEEP_ARCHIVE}


def test_a_change_of_pool_is_finished_by_the_machine_that_comes_after(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine, tmp_path: Path
) -> None:
    engine.run_pass()
    create_pool(gateway.state, store, LEDGER, now_ms=lambda: gateway.ms)
    gateway.create_tape(TAPE)
    run_until_idle(engine)
    write(gateway, TAPE, [block(1)])
    run_until_idle(engine)
    gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
    run_until_idle(engine)
    assign_pool(gateway.state, TAPE, "ledger", now_ms=lambda: gateway.ms)
    # It says the new pool, and dies.
    next(step for step in engine._steps if isinstance(step, VolumeChanges)).run()
    (key,) = (info.key for info in store.list(archive_prefix(TAPE)))
    assert store.head(key).storage_class is StorageClass.GLACIER
    _, machine = adopt_on(gateway, store, tmp_path / "two")
    assert machine.tape(TAPE).archive_pending
    after = machine.engine(store, drives_run=False)
    run_until_idle(after)
    after.close()
    assert not machine.tape(TAPE).archive_pending
    info = store.head(key)
    assert (info.storage_class, info.retention is None) == (StorageClass.DEEP_ARCHIVE, False)
