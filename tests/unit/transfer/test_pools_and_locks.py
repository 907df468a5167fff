"""Archived tapes under retention, in another pool, encrypted and tagged, over a store in memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapectl.gateway.pool_assignment import PoolOneWayError, assign_pool
from tapectl.gateway.resource_tags import add_tags
from tapectl.gateway.retention import DAY_MS, TapeLockedError
from tapectl.gateway.shelf import delete_archive
from tapectl.gateway.transfer.bucket_layout import archive_prefix, manifest_key, segments_prefix
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.medium.manifest import ManifestHead, decode_manifest
from tapectl.state import pools, tapes
from tapectl.state.pools import PoolRecord
from tapectl.state.tape_status import TapeStatus
from tapectl.store.interface import (
    PLAIN,
    Encryption,
    ObjectInfo,
    ObjectLockedError,
    PutOptions,
    Retention,
    RetentionMode,
    SSEAlgorithm,
    StorageClass,
    StoreDeniedError,
    StoreError,
)
from tapectl.store.memory import MemoryStore
from tests.support.failing_store import FailNth
from tests.support.transfer_gateway import TransferGateway, archive, run_until_idle

TAPE = "LOCK01L5"
DAYS = 30


@pytest.fixture
def gateway(tmp_path: Path) -> TransferGateway:
    return gateway_with_pools(tmp_path)


def gateway_with_pools(root: Path) -> TransferGateway:
    """Return a gateway with a pool of each lock."""
    made = TransferGateway(root)
    with made.state.write() as db:
        for name, storage_class, mode in (
            ("governance", "GLACIER", RetentionMode.GOVERNANCE),
            ("compliance", "GLACIER", RetentionMode.COMPLIANCE),
            ("deep", "DEEP_ARCHIVE", RetentionMode.COMPLIANCE),
        ):
            pools.insert(
                db,
                PoolRecord(
                    id=f"pool-{name.upper()}",
                    name=name,
                    storage_class=storage_class,
                    created_at_ms=1,
                    retention_lock_type=mode,
                    retention_lock_days=DAYS,
                ),
            )
    return made


@pytest.fixture
def store(gateway: TransferGateway) -> MemoryStore:
    return MemoryStore(retrieval_delay_s=60, now_ms=lambda: gateway.ms)


@pytest.fixture
def engine(gateway: TransferGateway, store: MemoryStore) -> Iterator[TransferEngine]:
    engine = gateway.engine(store, archive_object_bytes=1)  # each segment an object of its own
    yield engine
    engine.close()


def written(gateway: TransferGateway, engine: TransferEngine, pool: str, **columns: str) -> None:
    gateway.create_tape(TAPE, pool=pool)
    with gateway.state.write() as db:
        for name, value in columns.items():
            db.execute(f"UPDATE tape SET {name} = ?", (value,))
    for _ in range(3):
        gateway.write_segment(TAPE, [os.urandom(5000)])
    run_until_idle(engine)


def archived(store: MemoryStore) -> list[ObjectInfo]:
    return [store.head(info.key) for info in store.list(archive_prefix(TAPE))]


def latest(gateway: TransferGateway, store: MemoryStore) -> ManifestHead:
    number = gateway.tape(TAPE).manifest_number
    return decode_manifest(store.get(manifest_key(TAPE, number))).head


@pytest.mark.parametrize("mode", list(RetentionMode))
def test_what_is_archived_in_a_locking_pool_is_locked(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine, mode: RetentionMode
) -> None:
    written(gateway, engine, f"pool-{mode}")
    archive(gateway, engine, TAPE)
    tape = gateway.tape(TAPE)
    until_ms = gateway.ms + DAYS * DAY_MS
    assert (tape.retention_start_at_ms, tape.retained_until_ms) == (gateway.ms, until_ms)
    assert [info.retention for info in archived(store)] == [Retention(mode, until_ms)] * 3
    named = store.head(manifest_key(TAPE, tape.manifest_number))
    assert named.retention == Retention(mode, until_ms)
    head = latest(gateway, store)
    assert (head.retention_mode, head.retained_until_ms) == (mode, until_ms)
    assert list(store.list(segments_prefix(TAPE))) == []

    with pytest.raises(TapeLockedError, match="locked until"):
        delete_archive(gateway.state, TAPE, now_ms=lambda: gateway.ms)
    if mode is RetentionMode.COMPLIANCE:
        with pytest.raises(TapeLockedError):
            delete_archive(gateway.state, TAPE, bypass_governance=True, now_ms=lambda: gateway.ms)
        gateway.ms += DAYS * DAY_MS
        delete_archive(gateway.state, TAPE, now_ms=lambda: gateway.ms)
    else:
        delete_archive(gateway.state, TAPE, bypass_governance=True, now_ms=lambda: gateway.ms)
    run_until_idle(engine)
    assert gateway.tape(TAPE).status is TapeStatus.DELETED
    assert list(store.list(f"tapes/{TAPE}/")) == []


def test_a_retrieval_and_another_eject_leave_the_lock_as_it_was(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    written(gateway, engine, "pool-COMPLIANCE")
    archive(gateway, engine, TAPE)
    until_ms = gateway.tape(TAPE).retained_until_ms
    gateway.ms += DAY_MS
    gateway.change_status(TAPE, TapeStatus.RETRIEVING, retrieval_tier="Bulk")
    run_until_idle(engine)
    gateway.ms += 61_000
    run_until_idle(engine)
    assert gateway.tape(TAPE).status is TapeStatus.RETRIEVED
    archive(gateway, engine, TAPE)
    assert gateway.tape(TAPE).retained_until_ms == until_ms
    assert [info.retention.until_ms for info in archived(store) if info.retention] == [until_ms] * 3


def test_a_lock_that_only_the_store_knows_of_keeps_all_data(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    written(gateway, engine, "pool-COMPLIANCE")
    archive(gateway, engine, TAPE)
    before = archived(store)
    # As a state would be that was put back from an old copy.
    with gateway.state.write() as db:
        tapes.update(db, TAPE, retention_mode=None, retained_until_ms=None)
    delete_archive(gateway.state, TAPE, now_ms=lambda: gateway.ms)
    run_until_idle(engine)
    tape = gateway.tape(TAPE)
    assert tape.status is TapeStatus.DELETING
    assert "locked until" in (tape.status_detail or "")
    assert archived(store) == before
    assert latest(gateway, store).barcode == TAPE
    gateway.ms += DAYS * DAY_MS
    run_until_idle(engine)
    assert gateway.tape(TAPE).status is TapeStatus.DELETED


def test_an_archived_tape_follows_into_deep_archive(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    written(gateway, engine, "GLACIER")
    archive(gateway, engine, TAPE)
    tape = assign_pool(gateway.state, TAPE, "DEEP_ARCHIVE", now_ms=lambda: gateway.ms)
    assert (tape.pool_id, tape.archive_pending) == ("DEEP_ARCHIVE", True)
    report = run_until_idle(engine)
    # Asked for, and not there yet.
    assert report.next_due_ms == gateway.ms + 10_000
    assert {info.storage_class for info in archived(store)} == {StorageClass.GLACIER}
    gateway.ms += 61_000
    run_until_idle(engine)
    assert {info.storage_class for info in archived(store)} == {StorageClass.DEEP_ARCHIVE}
    found = gateway.tape(TAPE)
    assert (found.status, found.archive_pending, found.progress) == (
        TapeStatus.ARCHIVED,
        False,
        None,
    )
    assert latest(gateway, store).pool == "DEEP_ARCHIVE"
    with pytest.raises(PoolOneWayError):
        assign_pool(gateway.state, TAPE, "GLACIER", now_ms=lambda: gateway.ms)


def test_a_retrieved_tape_may_go_back_and_changes_when_it_is_archived(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    written(gateway, engine, "DEEP_ARCHIVE")
    archive(gateway, engine, TAPE)
    gateway.change_status(TAPE, TapeStatus.RETRIEVING, retrieval_tier="Bulk")
    run_until_idle(engine)
    gateway.ms += 61_000
    run_until_idle(engine)
    assign_pool(gateway.state, TAPE, "pool-GOVERNANCE", now_ms=lambda: gateway.ms)
    run_until_idle(engine)
    assert {info.storage_class for info in archived(store)} == {StorageClass.DEEP_ARCHIVE}
    assert gateway.tape(TAPE).retained_until_ms is None
    archive(gateway, engine, TAPE)
    assert {info.storage_class for info in archived(store)} == {StorageClass.GLACIER}
    assert all(info.retention is not None for info in archived(store))


def test_a_move_into_a_locking_pool_locks_at_once_and_out_of_one_is_refused(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    written(gateway, engine, "GLACIER")
    archive(gateway, engine, TAPE)
    assign_pool(gateway.state, TAPE, "governance", now_ms=lambda: gateway.ms)
    with pytest.raises(TapeLockedError):
        delete_archive(gateway.state, TAPE, now_ms=lambda: gateway.ms)
    run_until_idle(engine)
    assert all(info.retention is not None for info in archived(store))
    with pytest.raises(TapeLockedError, match="assigned"):
        assign_pool(gateway.state, TAPE, "DEEP_ARCHIVE", now_ms=lambda: gateway.ms)
    assign_pool(
        gateway.state, TAPE, "DEEP_ARCHIVE", bypass_governance=True, now_ms=lambda: gateway.ms
    )
    run_until_idle(engine)
    gateway.ms += 61_000
    run_until_idle(engine)
    assert [info.retention for info in archived(store)] == [None] * 3
    assert {info.storage_class for info in archived(store)} == {StorageClass.DEEP_ARCHIVE}
    # What was locked of old recovery points goes with it, too.
    delete_archive(gateway.state, TAPE, now_ms=lambda: gateway.ms)
    run_until_idle(engine)
    assert gateway.tape(TAPE).status is TapeStatus.DELETED


def test_a_tape_assigned_before_it_is_archived_goes_there(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    written(gateway, engine, "GLACIER")
    tape = assign_pool(gateway.state, TAPE, "pool-COMPLIANCE", now_ms=lambda: gateway.ms)
    assert (tape.archive_pending, tape.pool_entered_at_ms) == (False, gateway.ms)
    run_until_idle(engine)
    assert latest(gateway, store).pool == "pool-COMPLIANCE"
    assert latest(gateway, store).retention_mode is None
    archive(gateway, engine, TAPE)
    assert all(info.retention is not None for info in archived(store))


def test_cut_off_anywhere_it_ends_the_same(tmp_path: Path) -> None:
    """The n-th call of the store fails, in archiving and moving; another pass makes it good."""
    for n in range(1, 200):
        gateway = gateway_with_pools(tmp_path / f"n{n}")
        store = MemoryStore(now_ms=lambda now=gateway: now.ms)  # type: ignore[misc]
        written(gateway, gateway.engine(store), "GLACIER")
        failing = FailNth(store, n, after=n % 2 == 0)
        engine = gateway.engine(failing, archive_object_bytes=1)
        gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
        keep_trying(gateway, engine)
        assign_pool(gateway.state, TAPE, "deep", now_ms=lambda now=gateway: now.ms)  # type: ignore[misc]
        keep_trying(gateway, engine)
        engine.close()
        tape = gateway.tape(TAPE)
        assert (tape.status, tape.archive_pending) == (TapeStatus.ARCHIVED, False)
        infos = archived(store)
        assert len(infos) == 3
        assert {info.storage_class for info in infos} == {StorageClass.DEEP_ARCHIVE}
        assert all(info.retention is not None for info in infos)
        if failing.calls < n:
            assert n > 20
            return
    raise AssertionError("the calls never came to an end")


def keep_trying(gateway: TransferGateway, engine: TransferEngine) -> None:
    """Run passes until one fails no more and nothing is left to do."""
    for _ in range(3):
        with contextlib.suppress(StoreError):
            run_until_idle(engine)
        gateway.ms += 61_000


def test_every_object_of_a_tape_is_encrypted_as_it_says(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    written(gateway, engine, "GLACIER", encryption="aws:kms", kms_key="alias/tapes")
    wanted = Encryption(SSEAlgorithm.AWS_KMS, "alias/tapes")
    keys = [f"owners/{TAPE}.json", *(info.key for info in store.list(f"tapes/{TAPE}/"))]
    assert len(keys) > 4
    assert {store.head(key).encryption for key in keys} == {wanted}
    archive(gateway, engine, TAPE)
    assign_pool(gateway.state, TAPE, "DEEP_ARCHIVE", now_ms=lambda: gateway.ms)
    run_until_idle(engine)
    gateway.ms += 61_000
    run_until_idle(engine)
    keys = [info.key for info in store.list(f"tapes/{TAPE}/")]
    assert {store.head(key).encryption for key in keys} == {wanted}
    assert latest(gateway, store).kms_key == "alias/tapes"


class WithoutKeys(MemoryStore):
    """A store whose key management is not there."""

    def put_if_absent(self, key: str, body: bytes, *, options: PutOptions = PLAIN) -> ObjectInfo:
        if options.encryption is not None:
            raise StoreDeniedError("not allowed to use the key")
        return super().put_if_absent(key, body, options=options)


def test_a_key_that_cannot_be_used_stops_its_tape_alone(gateway: TransferGateway) -> None:
    store = WithoutKeys(now_ms=lambda: gateway.ms)
    gateway.create_tape(TAPE)
    with gateway.state.write() as db:
        db.execute("UPDATE tape SET encryption = 'aws:kms'")
    gateway.create_tape("PLAIN1L5")
    run_until_idle(gateway.engine(store, archive_object_bytes=1))
    assert gateway.tape("PLAIN1L5").status is TapeStatus.AVAILABLE
    waits = gateway.tape(TAPE)
    assert waits.status is TapeStatus.CREATING
    assert "the key" in (waits.status_detail or "")


def test_a_tag_is_in_the_next_recovery_point_also_of_an_archived_tape(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    written(gateway, engine, "pool-COMPLIANCE")
    archive(gateway, engine, TAPE)
    before = gateway.tape(TAPE).manifest_number
    add_tags(gateway.state, TAPE, {"owner": "finance"}, open_store=lambda: store)
    run_until_idle(engine)
    head = latest(gateway, store)
    assert (head.number, head.tags) == (before + 1, {"owner": "finance"})
    assert head.status == TapeStatus.ARCHIVED
    run_until_idle(engine)
    assert gateway.tape(TAPE).manifest_number == before + 1
    with pytest.raises(ObjectLockedError):
        store.delete(archived(store)[0].key)
