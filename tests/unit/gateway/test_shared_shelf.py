"""A tape on the shelf is retrieved to any gateway of the bucket, while its own one lives."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapectl.errors import TapectlError, UsageError
from tapectl.gateway.check.bucket import store_findings
from tapectl.gateway.check.view import Serving, look
from tapectl.gateway.gateway_document import GatewayStateError
from tapectl.gateway.pool_assignment import assign_pool
from tapectl.gateway.pools import PoolCreation, create_pool
from tapectl.gateway.resource_tags import add_tags
from tapectl.gateway.restoration import NotRestorableError
from tapectl.gateway.retention import TapeLockedError
from tapectl.gateway.shared_shelf import list_shelves, retrieve_from_any_shelf
from tapectl.gateway.shelf import cancel_retrieve, delete_archive, list_archive
from tapectl.gateway.tape_creation import TapeCreation, TapeExistsError, create_tapes
from tapectl.gateway.tape_info import TapeInfo
from tapectl.gateway.tapes import describe_tape
from tapectl.gateway.transfer.bucket_layout import archive_prefix
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.gateway.transfer.ownership import read_ownership
from tapectl.state import events
from tapectl.state.errors import TapeMovedError, TapeNotFoundError, TapeStatusError
from tapectl.state.events import EventFilter
from tapectl.state.tape_status import TapeStatus
from tapectl.store.interface import StorageClass, StoreError
from tapectl.store.memory import MemoryStore
from tests.support.failing_store import FailNth
from tests.support.transfer_gateway import (
    GATEWAY,
    SETTINGS,
    TransferGateway,
    archive,
    run_until_idle,
)
from tests.support.two_gateways import (
    OTHER_ID,
    block,
    other_gateway,
    read,
    restore_point,
    write,
)

TAPE = "SHELF1L5"
LOOK_MS = 300_000
WRITTEN = [block(1), block(2), None]


class Clock:
    """One time for both gateways and the store."""

    def __init__(self, *gateways: TransferGateway) -> None:
        self.gateways = gateways

    def now_ms(self) -> int:
        return max(gateway.ms for gateway in self.gateways)

    def forward(self, ms: int) -> None:
        now_ms = self.now_ms() + ms
        for gateway in self.gateways:
            gateway.ms = now_ms


@pytest.fixture
def gateway(tmp_path: Path) -> TransferGateway:
    return TransferGateway(tmp_path / "one")


@pytest.fixture
def other(tmp_path: Path) -> TransferGateway:
    return other_gateway(tmp_path / "two")


@pytest.fixture
def clock(gateway: TransferGateway, other: TransferGateway) -> Clock:
    return Clock(gateway, other)


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(retrieval_delay_s=60, now_ms=clock.now_ms)


@pytest.fixture
def engine(gateway: TransferGateway, store: MemoryStore) -> Iterator[TransferEngine]:
    engine = gateway.engine(store)
    run_until_idle(engine)
    yield engine
    engine.close()


@pytest.fixture
def other_engine(other: TransferGateway, store: MemoryStore) -> Iterator[TransferEngine]:
    engine = other.engine(store)
    run_until_idle(engine)
    yield engine
    engine.close()


@pytest.fixture
def shelved(
    gateway: TransferGateway, engine: TransferEngine, other: TransferGateway, store: MemoryStore
) -> None:
    """A tape that is written, and archived, in a store that knows both gateways."""
    run_until_idle(other.engine(store))
    gateway.create_tape(TAPE)
    run_until_idle(engine)
    write(gateway, TAPE, [block(1), block(2)])
    run_until_idle(engine)
    archive(gateway, engine, TAPE)


def retrieve(
    gateway: TransferGateway, store: MemoryStore, barcode: str = TAPE, tier: str = "Bulk"
) -> TapeInfo:
    return retrieve_from_any_shelf(
        gateway.state,
        barcode,
        tier,
        open_store=lambda: store,
        actor="test",
        now_ms=lambda: gateway.ms,
    )


def bring(gateway: TransferGateway, store: MemoryStore, engine: TransferEngine, at: Clock) -> None:
    """Retrieve the tape to a gateway, to the end."""
    assert retrieve(gateway, store).status is TapeStatus.RETRIEVING
    run_until_idle(engine)
    at.forward(61_000)
    run_until_idle(engine)
    assert gateway.tape(TAPE).status is TapeStatus.RETRIEVED


def told(gateway: TransferGateway, event_type: str) -> list[object]:
    with gateway.state.read() as db:
        found = events.select(db, EventFilter(subject_id=TAPE, type=event_type))
    return [dict(event.detail) for event in found]


@pytest.mark.usefixtures("shelved")
def test_it_goes_to_another_gateway_and_comes_back(
    gateway: TransferGateway,
    other: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
    other_engine: TransferEngine,
    clock: Clock,
) -> None:
    own = gateway.tape(TAPE)
    for machine in (gateway, other):
        (found,) = list_shelves(machine.state, store, pool_id="GLACIER", barcode="SHELF*")
        assert (found.tape.barcode, found.gateway_id) == (TAPE, GATEWAY.id)
        assert (found.tape.used_bytes, found.tape.location) == (own.used_bytes, "shelf")
    assert list_shelves(other.state, store, barcode="X*") == []

    bring(other, store, other_engine, clock)
    assert other.tape(TAPE).write_protected
    assert read(other, TAPE, other_engine) == WRITTEN
    assert told(other, "TapeMovedFromGateway") == [{"from_gateway": GATEWAY.id}]

    # Its old gateway finds out by itself, and nobody has to look after anything.
    clock.forward(LOOK_MS)
    run_until_idle(engine)
    assert list_archive(gateway.state) == []
    assert told(gateway, "TapeMovedToGateway") == [{"to_gateway": OTHER_ID}]
    assert gateway.tape(TAPE).status is TapeStatus.DELETED
    with gateway.state.read() as db:
        assert not any(events.tells_of_trouble(one) for one in events.select(db, EventFilter()))
    with pytest.raises(TapeMovedError, match=OTHER_ID):
        describe_tape(gateway.state, TAPE)
    with pytest.raises(GatewayStateError, match=f"{OTHER_ID}.* not on its shelf"):
        retrieve(gateway, store)
    with pytest.raises(TapeExistsError, match=OTHER_ID):
        create_tapes(gateway.state, TapeCreation(size_bytes=100 << 30, barcode=TAPE))

    archive(other, other_engine, TAPE)
    bring(gateway, store, engine, clock)
    assert read(gateway, TAPE, engine) == WRITTEN
    assert told(gateway, "TapeMovedFromGateway") == [{"from_gateway": OTHER_ID}]
    archive(gateway, engine, TAPE)
    clock.forward(LOOK_MS)
    run_until_idle(other_engine)
    assert told(other, "TapeMovedToGateway") == [{"to_gateway": GATEWAY.id}]
    assert list_archive(other.state) == []


@pytest.mark.usefixtures("shelved")
def test_one_that_is_not_on_the_shelf_is_refused(
    gateway: TransferGateway,
    other: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
    clock: Clock,
) -> None:
    def refused(*errors: type[TapectlError]) -> None:
        for ask in (retrieve, restore_point):
            with pytest.raises(errors) as caught:
                ask(other, store, TAPE)
            assert caught.value.hint
        assert list_shelves(other.state, store) == []

    bring(gateway, store, engine, clock)
    refused(GatewayStateError)
    # Its latest manifest says ARCHIVED, and the tape is in a drive.
    refused(GatewayStateError)
    gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
    refused(GatewayStateError)
    run_until_idle(engine)
    assert [one.tape.barcode for one in list_shelves(other.state, store)] == [TAPE]
    gateway.change_status(TAPE, TapeStatus.DELETING)
    run_until_idle(engine)
    refused(TapeNotFoundError)


@pytest.mark.usefixtures("shelved")
def test_nothing_is_taken_where_the_retrieval_would_be_refused(
    other: TransferGateway, gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    assign_pool(gateway.state, TAPE, "DEEP_ARCHIVE", now_ms=lambda: gateway.ms)
    for _ in range(3):
        run_until_idle(engine)
        gateway.ms += 61_000
    with pytest.raises(UsageError, match="Deep Archive"):
        retrieve(other, store, tier="Expedited")
    with pytest.raises(UsageError, match="tier"):
        retrieve(other, store, tier="Soon")
    assert read_ownership(store, TAPE).ownership.gateway_id == GATEWAY.id
    assert retrieve(other, store).status is TapeStatus.RETRIEVING


@pytest.mark.usefixtures("shelved")
def test_it_comes_to_the_shelf_too_but_only_as_it_is(
    other: TransferGateway, store: MemoryStore, other_engine: TransferEngine, clock: Clock
) -> None:
    with pytest.raises(NotRestorableError, match="as it is"):
        restore_point(other, store, TAPE, 1)
    assert restore_point(other, store, TAPE).status is TapeStatus.ARCHIVED
    run_until_idle(other_engine)
    bring(other, store, other_engine, clock)
    assert read(other, TAPE, other_engine) == WRITTEN


def test_a_blank_tape_goes_too(
    gateway: TransferGateway,
    other: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
    other_engine: TransferEngine,
    clock: Clock,
) -> None:
    gateway.create_tape(TAPE)
    run_until_idle(engine)
    archive(gateway, engine, TAPE)
    bring(other, store, other_engine, clock)
    assert read(other, TAPE, other_engine) == []
    archive(other, other_engine, TAPE)


def test_its_lock_pool_and_tags_come_with_it(
    gateway: TransferGateway,
    other: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
    other_engine: TransferEngine,
    clock: Clock,
) -> None:
    ledger = PoolCreation(
        name="ledger",
        storage_class="DEEP_ARCHIVE",
        retention_lock_type="COMPLIANCE",
        retention_lock_days=3650,
    )
    pool = create_pool(gateway.state, store, ledger, now_ms=lambda: gateway.ms).record
    gateway.create_tape(TAPE, pool=pool.id)
    run_until_idle(engine)
    add_tags(gateway.state, TAPE, {"owner": "audit"}, open_store=lambda: store)
    write(gateway, TAPE, [block(1), block(2)])
    run_until_idle(engine)
    archive(gateway, engine, TAPE)
    until_ms = gateway.tape(TAPE).retained_until_ms
    assert until_ms is not None

    bring(other, store, other_engine, clock)
    archive(other, other_engine, TAPE)
    tape = other.tape(TAPE)
    assert (tape.pool_id, tape.retained_until_ms) == (pool.id, until_ms)
    assert tape.tags == gateway.tape(TAPE).tags
    with pytest.raises(TapeLockedError):
        delete_archive(other.state, TAPE, now_ms=lambda: other.ms)
    for info in store.list(archive_prefix(TAPE)):
        head = store.head(info.key)
        assert head.storage_class is StorageClass.DEEP_ARCHIVE
        assert head.retention is not None
        assert head.retention.until_ms == until_ms


@pytest.mark.usefixtures("shelved")
def test_a_retrieval_here_finds_that_it_has_gone(
    gateway: TransferGateway,
    other: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
    other_engine: TransferEngine,
    clock: Clock,
) -> None:
    """Before its old gateway has looked; to `check` that is nothing wrong."""
    retrieve(other, store)
    view = look(gateway.state, SETTINGS, serving=Serving(), store=store, now_ms=0, deep=False)
    assert list(store_findings(view, store)) == []
    assert retrieve(gateway, store).status is TapeStatus.RETRIEVING
    run_until_idle(engine)
    assert told(gateway, "TapeMovedToGateway") == [{"to_gateway": OTHER_ID}]
    run_until_idle(other_engine)
    clock.forward(61_000)
    run_until_idle(other_engine)
    assert read(other, TAPE, other_engine) == WRITTEN


@pytest.mark.usefixtures("shelved")
def test_a_deletion_here_finds_that_it_has_gone(
    gateway: TransferGateway,
    other: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
    other_engine: TransferEngine,
    clock: Clock,
) -> None:
    retrieve(other, store)
    delete_archive(gateway.state, TAPE, now_ms=lambda: gateway.ms)
    run_until_idle(engine)
    assert told(gateway, "TapeMovedToGateway") == [{"to_gateway": OTHER_ID}]
    run_until_idle(other_engine)
    clock.forward(61_000)
    run_until_idle(other_engine)
    assert read(other, TAPE, other_engine) == WRITTEN


@pytest.mark.usefixtures("shelved")
def test_a_retrieval_that_is_cancelled_puts_it_on_the_shelf_again(
    gateway: TransferGateway, other: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    retrieve(gateway, store)
    run_until_idle(engine)
    with pytest.raises(GatewayStateError):
        retrieve(other, store)
    cancel_retrieve(gateway.state, TAPE, now_ms=lambda: gateway.ms)
    run_until_idle(engine)
    assert retrieve(other, store).status is TapeStatus.RETRIEVING


@pytest.mark.usefixtures("shelved")
def test_a_tape_that_the_other_gateway_has_deleted_is_gone_here_too(
    gateway: TransferGateway,
    other: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
    other_engine: TransferEngine,
    clock: Clock,
) -> None:
    restore_point(other, store, TAPE)
    run_until_idle(other_engine)
    delete_archive(other.state, TAPE, now_ms=lambda: other.ms)
    run_until_idle(other_engine)
    clock.forward(LOOK_MS)
    run_until_idle(engine)
    assert told(gateway, "TapeMovedToGateway") == [{"to_gateway": OTHER_ID}]
    with pytest.raises(TapeNotFoundError):
        retrieve(gateway, store)


@pytest.mark.usefixtures("shelved")
def test_a_tape_archived_by_an_earlier_version_gets_its_mark(
    gateway: TransferGateway, other: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    with gateway.state.write() as db:
        db.execute("UPDATE tape SET on_shelf = NULL")
    gateway.ms += 1000
    run_until_idle(engine)
    assert retrieve(other, store).status is TapeStatus.RETRIEVING


@pytest.mark.usefixtures("shelved")
@pytest.mark.parametrize("after", [False, True])
def test_a_gateway_that_is_cut_off_anywhere_knows_its_tape_again(
    gateway: TransferGateway, store: MemoryStore, *, after: bool
) -> None:
    """Or gets no answer from the store: what it has put is its own all the same."""
    for n in itertools.count(1):
        failing = FailNth(store, n, after=after)
        # A retrieval is cancelled.
        for status in (TapeStatus.RETRIEVING, TapeStatus.ARCHIVED):
            gateway.change_status(TAPE, status)
            _cut_off(gateway, failing)
        found = gateway.tape(TAPE)
        ownership = read_ownership(store, TAPE)
        assert (found.status, found.on_shelf) == (TapeStatus.ARCHIVED, True), n
        assert (ownership.ownership.on_shelf, ownership.etag) == (True, found.store_etag), n
        if failing.calls < n:
            assert n > 15
            return


def _cut_off(gateway: TransferGateway, store: FailNth) -> None:
    """Run a process that ends at the first failure, and another one to its end."""
    for _ in range(2):
        engine = gateway.engine(store)  # type: ignore[arg-type]
        try:
            while engine.run_pass().done:
                pass
        except StoreError:
            continue
        finally:
            engine.close()
        return


@pytest.mark.usefixtures("shelved")
def test_a_tape_in_the_library_of_its_gateway_is_no_archived_one(
    gateway: TransferGateway, store: MemoryStore
) -> None:
    gateway.create_tape("OTHER1L5")
    with pytest.raises(TapeStatusError):
        retrieve(gateway, store, "OTHER1L5")
    with pytest.raises(TapeNotFoundError):
        retrieve(gateway, store, "NONE01L5")
