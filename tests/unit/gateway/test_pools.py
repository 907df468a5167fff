"""Pools as commands make and delete them, and who may go into which."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.gateway.activation import ActivationRequest, activate
from tapectl.gateway.pool_assignment import PoolOneWayError, assign_pool
from tapectl.gateway.pools import (
    PoolCreation,
    PoolExistsError,
    PoolInUseError,
    PoolNotFoundError,
    create_pool,
    delete_pool,
    describe_pool,
    list_pools,
)
from tapectl.gateway.tapes import delete_tape, describe_tape, list_tapes
from tapectl.gateway.transfer.bucket_layout import pool_key
from tapectl.state import pools, tapes
from tapectl.state.database import State
from tapectl.state.errors import TapeStatusError
from tapectl.state.tape_status import TapeStatus
from tapectl.store.interface import StoreDeniedError, StoreRefusedError
from tapectl.store.memory import MemoryStore
from tests.unit.gateway.conftest import Clock, Maker

LEDGER = PoolCreation(
    name="ledger",
    storage_class="DEEP_ARCHIVE",
    retention_lock_type="COMPLIANCE",
    retention_lock_days=3650,
    tags={"owner": "audit"},
)


class WithoutLocks(MemoryStore):
    """A store that cannot lock."""

    def check_locks(self) -> None:
        raise StoreRefusedError("bucket cannot lock objects")


class Unwritable(MemoryStore):
    """A store that takes no pool document."""

    def put_if_absent(self, key: str, *rest: object, **options: object) -> object:  # type: ignore[override]
        if key.startswith("pools/"):
            raise StoreDeniedError("no")
        return super().put_if_absent(key, *rest, **options)  # type: ignore[arg-type]


def test_a_pool_is_made_in_state_and_store(state: State, store: MemoryStore) -> None:
    made = create_pool(state, store, LEDGER)
    assert made.record.id.startswith("pool-")
    assert describe_pool(state, "ledger") == describe_pool(state, made.record.id) == made
    assert b'"COMPLIANCE"' in store.get(pool_key(made.record.id))
    assert [pool.record.id for pool in list_pools(state)] == [
        "DEEP_ARCHIVE",
        "GLACIER",
        made.record.id,
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a/b"},
        {"name": "x" * 101},
        {"name": "GLACIER"},
        {"name": "pool-1A2B3C4D"},
        {"storage_class": "STANDARD"},
        {"retention_lock_type": "FOREVER"},
        {"retention_lock_days": 0},
        {"retention_lock_days": 36_501},
        {"retention_lock_type": "NONE"},
        {"tags": {"aws:owner": "x"}},
    ],
    ids=str,
)
def test_pools_that_cannot_be(state: State, store: MemoryStore, wrong: dict[str, object]) -> None:
    fields = {name: getattr(LEDGER, name) for name in PoolCreation.__slots__}
    with pytest.raises(UsageError):
        create_pool(state, store, PoolCreation(**{**fields, **wrong}))
    assert list(store.list("pools/")) == []


def test_a_name_is_taken_once_and_the_same_again_is_no_error(
    state: State, store: MemoryStore
) -> None:
    made = create_pool(state, store, LEDGER)
    fields = {name: getattr(LEDGER, name) for name in PoolCreation.__slots__}
    again = PoolCreation(**{**fields, "if_not_exists": True})
    assert create_pool(state, store, again).record == made.record
    with pytest.raises(PoolExistsError):
        create_pool(state, store, LEDGER)
    with pytest.raises(PoolExistsError):
        create_pool(state, store, PoolCreation(**{**fields, "storage_class": "GLACIER"}))
    assert len(list(store.list("pools/"))) == 1


def test_no_lock_is_promised_where_the_store_cannot_keep_it(
    tmp_path: Path, activation: ActivationRequest
) -> None:
    store = WithoutLocks()
    activate(tmp_path / "db", activation, open_store=lambda _record: store)
    with State.open(tmp_path / "db") as state:
        with pytest.raises(StoreRefusedError):
            create_pool(state, store, LEDGER)
        assert len(list_pools(state)) == 2
        create_pool(state, store, PoolCreation(name="plain", storage_class="GLACIER"))


def test_a_pool_that_the_store_does_not_take_is_none(
    tmp_path: Path, activation: ActivationRequest
) -> None:
    store = Unwritable()
    activate(tmp_path / "db", activation, open_store=lambda _record: store)
    with State.open(tmp_path / "db") as state:
        with pytest.raises(StoreDeniedError):
            create_pool(state, store, LEDGER)
        assert len(list_pools(state)) == 2


def test_a_pool_goes_when_no_tape_is_in_it(
    state: State, store: MemoryStore, make: Maker, advance: Callable[..., None]
) -> None:
    made = create_pool(state, store, LEDGER)
    make("TAPE01L5", pool_id="ledger")
    with pytest.raises(PoolInUseError) as refused:
        delete_pool(state, store, "ledger")
    assert refused.value.exit_code is ExitCode.POOL
    delete_tape(state, "TAPE01L5")
    with pytest.raises(PoolInUseError):
        delete_pool(state, store, "ledger")
    advance("TAPE01L5", TapeStatus.DELETED)
    delete_pool(state, store, "ledger")
    assert list(store.list("pools/")) == []
    with pytest.raises(PoolNotFoundError):
        describe_pool(state, made.record.id)
    # A deleted tape is remembered for good, in the class that it was in.
    with state.read() as db:
        found = tapes.find(db, "TAPE01L5")
    assert found is not None
    assert found.pool_id == "DEEP_ARCHIVE"
    create_pool(state, store, LEDGER)


@pytest.mark.parametrize("name", ["GLACIER", "Deep Archive Pool"])
def test_built_in_pools_stay(state: State, store: MemoryStore, name: str) -> None:
    with pytest.raises(PoolInUseError):
        delete_pool(state, store, name)


def test_a_tape_is_made_and_listed_by_the_name_of_its_pool(
    state: State, store: MemoryStore, make: Maker, clock: Clock
) -> None:
    made = create_pool(state, store, LEDGER)
    make("TAPE01L5", pool_id="ledger")
    make("TAPE02L5")
    tape = describe_tape(state, "TAPE01L5")
    assert (tape.pool_id, tape.pool_name) == (made.record.id, "ledger")
    assert tape.pool_entered_at_ms == clock.now_ms
    assert describe_tape(state, "TAPE02L5").pool_entered_at_ms is None
    assert [one.barcode for one in list_tapes(state, pool_id="ledger")] == ["TAPE01L5"]
    with pytest.raises(PoolNotFoundError):
        list_tapes(state, pool_id="nosuch")


def test_in_the_library_any_pool_will_do(state: State, make: Maker) -> None:
    make("TAPE01L5")
    for pool in ("DEEP_ARCHIVE", "GLACIER", "GLACIER"):
        assert assign_pool(state, "TAPE01L5", pool).pool_id == pool
    with pytest.raises(PoolNotFoundError):
        assign_pool(state, "TAPE01L5", "nosuch")


@pytest.mark.parametrize(
    ("through", "error"),
    [
        ((TapeStatus.IN_TRANSIT_TO_VTS, TapeStatus.ARCHIVING), TapeStatusError),
        (
            (TapeStatus.IN_TRANSIT_TO_VTS, TapeStatus.ARCHIVING, TapeStatus.ARCHIVED),
            PoolOneWayError,
        ),
        ((TapeStatus.IRRECOVERABLE,), TapeStatusError),
        ((TapeStatus.DELETING,), TapeStatusError),
    ],
)
def test_where_a_tape_cannot_be_assigned(
    state: State,
    make: Maker,
    advance: Callable[..., None],
    through: tuple[TapeStatus, ...],
    error: type[TapectlError],
) -> None:
    make("TAPE01L5", pool_id="DEEP_ARCHIVE")
    advance("TAPE01L5", *through)
    with pytest.raises(error):
        assign_pool(state, "TAPE01L5", "GLACIER")
    assert describe_tape(state, "TAPE01L5").pool_id == "DEEP_ARCHIVE"


def test_the_state_lets_no_pool_go_that_a_tape_is_in(state: State, make: Maker) -> None:
    make("TAPE01L5")
    with state.read() as db:
        glacier = pools.find(db, "GLACIER")
    assert glacier is not None
    with pytest.raises(sqlite3.IntegrityError), state.write() as db:
        pools.delete(db, glacier)
