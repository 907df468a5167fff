"""What was overwritten: kept for some days, then let go of, and nothing that anybody can read."""

from __future__ import annotations

import contextlib
import itertools
import time
from pathlib import Path

import pytest

from tapectl.gateway.check.bucket import store_findings
from tapectl.gateway.check.view import Serving, look
from tapectl.gateway.recovery import list_points
from tapectl.gateway.recovery_points import RecoveryPointNotFoundError
from tapectl.gateway.transfer import expiry
from tapectl.gateway.transfer.bucket_layout import (
    archive_prefix,
    archived_sequences_of,
    segments_prefix,
    sequence_of,
)
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.gateway.verification import describe_verification, request_verification
from tapectl.gateway.warming import warmth
from tapectl.state import events, tapes
from tapectl.store.interface import ObjectStore, StoreError
from tapectl.store.memory import MemoryStore
from tests.support.adopted_gateway import adopt_on
from tests.support.failing_store import FailNth
from tests.support.transfer_gateway import (
    SETTINGS,
    TransferGateway,
    archive,
    retrieve,
    run_until_idle,
)
from tests.support.two_gateways import block, read, restore_point, write

TAPE = "AGAIN1L5"
DAY_MS = 86_400_000
KEEP_DAYS = 7
OLD = [block(seed) for seed in range(3)]
NEW = [block(seed) for seed in range(10, 12)]


@pytest.fixture
def gateway(tmp_path: Path) -> TransferGateway:
    return TransferGateway(tmp_path / "gateway")


@pytest.fixture
def store(gateway: TransferGateway) -> MemoryStore:
    return MemoryStore(retrieval_delay_s=60, now_ms=lambda: gateway.ms)


def engine_on(gateway: TransferGateway, store: ObjectStore, **settings: object) -> TransferEngine:
    wanted: dict[str, object] = {
        "keep_overwritten_days": KEEP_DAYS,
        "upload_workers": 1,
        # What is smaller than a 64th of it is kept: less than a segment here.
        "segment_bytes": 64_000,
    }
    return gateway.engine(store, **(wanted | settings))


@pytest.fixture
def engine(gateway: TransferGateway, store: MemoryStore) -> TransferEngine:
    return engine_on(gateway, store)


def written(gateway: TransferGateway, engine: TransferEngine, *blocks: bytes, at: int = 0) -> None:
    """Write a segment a block from object `at` on, and upload."""
    with gateway.state.read() as db:
        known = tapes.find(db, TAPE)
    if known is None:
        gateway.create_tape(TAPE)
        run_until_idle(engine)
    for number, one in enumerate(blocks):
        write(gateway, TAPE, [one], at if number == 0 else None, engine)
    run_until_idle(engine)


def days_pass(gateway: TransferGateway, engine: TransferEngine, days: int = KEEP_DAYS) -> None:
    """Let so many days pass, and the ten minutes that it takes to see what was overwritten."""
    gateway.ms += 11 * 60_000
    run_until_idle(engine)
    for _ in range(days):
        gateway.ms += DAY_MS
        run_until_idle(engine)


def in_store(store: ObjectStore) -> list[int]:
    """Return the sequence numbers of the segments whose objects the store has."""
    kept = [sequence_of(info.key) for info in store.list(segments_prefix(TAPE))]
    for info in store.list(archive_prefix(TAPE)):
        first, last = archived_sequences_of(info.key)
        kept += range(first, last + 1)
    return sorted(kept)


def contents(gateway: TransferGateway, engine: TransferEngine) -> list[bytes]:
    """Return the blocks of the tape as the store has them."""
    gateway.drop_cache()
    return [one for one in read(gateway, TAPE, engine) if one is not None]


def numbers(store: ObjectStore) -> list[int]:
    return [head.number for head in list_points(store, barcode=TAPE)]


def test_what_was_overwritten_goes_when_its_days_are_over(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    written(gateway, engine, *OLD)
    before = numbers(store)
    written(gateway, engine, *NEW)
    overwritten_at = numbers(store)[0]
    days_pass(gateway, engine, KEEP_DAYS - 1)
    assert in_store(store) == [1, 2, 3, 4, 5]
    assert set(before) < set(numbers(store))
    days_pass(gateway, engine, 1)
    assert in_store(store) == [4, 5]
    assert contents(gateway, engine) == NEW
    # Points that need what has gone are gone; the tape as it is now has been one all the time.
    assert min(numbers(store)) == overwritten_at
    assert restore_point(gateway, store, TAPE, overwritten_at).point.number == overwritten_at
    run_until_idle(engine)
    assert contents(gateway, engine) == NEW
    with pytest.raises(RecoveryPointNotFoundError):
        restore_point(gateway, store, TAPE, before[0])


def test_it_is_told(gateway: TransferGateway, engine: TransferEngine) -> None:
    written(gateway, engine, *OLD)
    written(gateway, engine, *NEW)
    days_pass(gateway, engine)
    with gateway.state.read() as db:
        wanted = events.EventFilter(subject_id=TAPE, type="OverwrittenDataExpired")
        (told,) = events.select(db, wanted)
    assert told.detail["segments"] == len(OLD)
    assert int(str(told.detail["object_bytes"])) > sum(map(len, OLD))


def test_nothing_is_found_wrong_with_what_is_left(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    written(gateway, engine, *OLD)
    written(gateway, engine, *NEW)
    days_pass(gateway, engine)
    gateway.drop_cache()
    assert warmth(gateway.state, TAPE).cold_bytes > 0
    assert len(warmth(gateway.state, TAPE).cold) == len(NEW)
    view = look(
        gateway.state, SETTINGS, serving=Serving(), store=store, now_ms=gateway.ms, deep=False
    )
    assert list(store_findings(view, store)) == []
    request_verification(gateway.state, [TAPE], now_ms=lambda: gateway.ms)
    for _ in range(200):
        engine.run_pass()
        gateway.ms += 1000
        found = describe_verification(gateway.state, TAPE)
        if found is not None and found.finished:
            break
        time.sleep(0.005)
    assert found is not None
    assert (found.record.status, found.record.segment_count) == ("SOUND", len(NEW))


def test_only_whole_segments_that_nobody_can_read_go(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    """Each of OLD is a block and a filemark: the overwrite begins within the second."""
    written(gateway, engine, *OLD)
    written(gateway, engine, *NEW, at=3)
    days_pass(gateway, engine)
    assert in_store(store) == [1, 2, 4, 5]
    assert contents(gateway, engine) == [*OLD[:2], *NEW]


def test_what_is_small_stays(gateway: TransferGateway, store: MemoryStore) -> None:
    """A filemark that each session overwrites must not end the recovery points of before."""
    engine = engine_on(gateway, store, segment_bytes=1 << 20)
    written(gateway, engine, *OLD)
    before = numbers(store)
    written(gateway, engine, *NEW)
    days_pass(gateway, engine)
    assert in_store(store) == [1, 2, 3, 4, 5]
    assert set(before) < set(numbers(store))


def test_an_undone_overwrite_counts_again_and_is_not_let_go_of(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    written(gateway, engine, *OLD)
    (before, *_) = numbers(store)
    written(gateway, engine, *NEW)
    days_pass(gateway, engine, KEEP_DAYS - 1)
    restore_point(gateway, store, TAPE, before)
    run_until_idle(engine)
    days_pass(gateway, engine, KEEP_DAYS - 1)
    assert in_store(store) == [1, 2, 3, 4, 5]
    days_pass(gateway, engine, 1)
    assert in_store(store) == [1, 2, 3]
    assert contents(gateway, engine) == OLD


def test_an_undone_undoing_begins_anew(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    written(gateway, engine, *OLD)
    (old, *_) = numbers(store)
    written(gateway, engine, *NEW)
    (new, *_) = numbers(store)
    days_pass(gateway, engine, KEEP_DAYS - 1)
    for point in (old, new):
        restore_point(gateway, store, TAPE, point)
        run_until_idle(engine)
    days_pass(gateway, engine, KEEP_DAYS - 1)
    assert in_store(store) == [1, 2, 3, 4, 5]
    days_pass(gateway, engine, 1)
    assert in_store(store) == [4, 5]
    assert contents(gateway, engine) == NEW


def test_a_tape_that_was_formatted_lets_go_of_all_and_goes_on(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    written(gateway, engine, *OLD)
    cartridge = gateway.load(TAPE)
    cartridge.format([100 << 30])
    cartridge.close()
    run_until_idle(engine)
    days_pass(gateway, engine)
    assert in_store(store) == []
    written(gateway, engine, *NEW)
    assert contents(gateway, engine) == NEW


def test_copies_on_disks_go_with_it(gateway: TransferGateway, engine: TransferEngine) -> None:
    written(gateway, engine, *OLD)
    written(gateway, engine, *NEW)
    days_pass(gateway, engine)
    assert gateway.local_files() == [
        f"cache/tapes/{TAPE}/{sequence:08d}.seg" for sequence in (4, 5)
    ]


def test_kept_for_no_days_it_goes_at_once(gateway: TransferGateway, store: MemoryStore) -> None:
    engine = engine_on(gateway, store, keep_overwritten_days=0)
    written(gateway, engine, *OLD)
    written(gateway, engine, *NEW)
    gateway.ms += 11_000
    run_until_idle(engine)
    assert in_store(store) == [4, 5]
    assert contents(gateway, engine) == NEW


@pytest.mark.parametrize("retrieved", [False, True])
def test_archived_it_goes_too(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine, retrieved: bool
) -> None:
    """It is in archived objects of its own, so that what counts need not be made anew."""
    written(gateway, engine, *OLD)
    written(gateway, engine, *NEW)
    archive(gateway, engine, TAPE)
    kept = [archived_sequences_of(info.key) for info in store.list(archive_prefix(TAPE))]
    assert kept == [(1, 3), (4, 5)]
    if retrieved:
        retrieve(gateway, engine, TAPE)
    days_pass(gateway, engine)
    assert in_store(store) == [4, 5]
    if not retrieved:
        retrieve(gateway, engine, TAPE)
    assert contents(gateway, engine) == NEW


def test_the_undoing_of_a_retrieved_tape_lets_go_of_its_last_objects(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    """Then what is archived ends before what the tape has had: it is retrieved all the same."""
    written(gateway, engine, *OLD)
    (old, *_) = numbers(store)
    written(gateway, engine, *NEW)
    archive(gateway, engine, TAPE)
    retrieve(gateway, engine, TAPE)
    restore_point(gateway, store, TAPE, old)
    run_until_idle(engine)
    days_pass(gateway, engine)
    assert in_store(store) == [1, 2, 3]
    archive(gateway, engine, TAPE)
    retrieve(gateway, engine, TAPE)
    assert contents(gateway, engine) == OLD


def test_what_has_gone_is_not_archived(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    written(gateway, engine, *OLD)
    written(gateway, engine, *NEW, at=2)
    days_pass(gateway, engine)
    archive(gateway, engine, TAPE)
    kept = [archived_sequences_of(info.key) for info in store.list(archive_prefix(TAPE))]
    assert kept == [(1, 1), (4, 5)]
    retrieve(gateway, engine, TAPE)
    assert contents(gateway, engine) == [OLD[0], *NEW]


@pytest.mark.parametrize("after", [False, True])
def test_cut_off_at_any_call_it_ends_the_same(tmp_path: Path, after: bool) -> None:
    for n in itertools.count(1):
        gateway = TransferGateway(tmp_path / f"{n}")
        inner = MemoryStore(now_ms=lambda gateway=gateway: gateway.ms)  # type: ignore[misc]
        engine = engine_on(gateway, inner)
        written(gateway, engine, *OLD)
        written(gateway, engine, *NEW)
        gateway.ms += 11 * 60_000
        run_until_idle(engine)
        engine.close()
        gateway.ms += KEEP_DAYS * DAY_MS
        failing = FailNth(inner, n, after=after)
        engine = engine_on(gateway, failing)  # type: ignore[arg-type]
        with contextlib.suppress(StoreError):
            run_until_idle(engine)
        engine.close()
        reached = failing.calls >= n
        # Another process, a while later.
        gateway.ms += 10 * 60_000
        engine = engine_on(gateway, inner)
        run_until_idle(engine)
        assert in_store(inner) == [4, 5], n
        assert contents(gateway, engine) == NEW, n
        engine.close()
        if not reached:
            assert n > 8
            return


def test_a_machine_that_takes_over_lets_go_of_what_is_left(tmp_path: Path) -> None:
    """The old one dies when the store knows what has expired, and has all of it still."""
    gateway = TransferGateway(tmp_path / "gateway")
    inner = MemoryStore(now_ms=lambda: gateway.ms)
    engine = engine_on(gateway, inner)
    written(gateway, engine, *OLD)
    written(gateway, engine, *NEW)
    gateway.ms += 11 * 60_000
    run_until_idle(engine)
    gateway.ms += KEEP_DAYS * DAY_MS
    inner.delete = _out_of_order  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreError):
        run_until_idle(engine)
    engine.close()
    del inner.delete
    assert in_store(inner) == [1, 2, 3, 4, 5]
    _, machine = adopt_on(gateway, inner, tmp_path / "next")
    engine = engine_on(machine, inner)
    run_until_idle(engine)
    assert in_store(inner) == [4, 5]
    assert contents(machine, engine) == NEW
    assert min(numbers(inner)) == gateway.tape(TAPE).oldest_point > 0


def _out_of_order(_key: str, **_options: object) -> None:
    raise StoreError("out of order")


def test_a_pass_deletes_so_many_objects_and_no_more(
    gateway: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that uploads and other tapes get their turn."""
    monkeypatch.setattr(expiry, "_OBJECTS_A_PASS", 2)
    written(gateway, engine, *OLD)
    written(gateway, engine, *NEW)
    gateway.ms += 11 * 60_000
    run_until_idle(engine)
    gateway.ms += KEEP_DAYS * DAY_MS
    engine.run_pass()
    assert len(in_store(store)) == 3
    run_until_idle(engine)
    assert in_store(store) == [4, 5]
    # That of the overwrite, and one that says what has gone.
    assert numbers(store) == [3, 2]
    assert contents(gateway, engine) == NEW


def test_numbers_of_what_has_gone_are_not_used_again(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    """Its last segments are undone and gone; what is written next must not be taken for them."""
    written(gateway, engine, *OLD)
    (old, *_) = numbers(store)
    written(gateway, engine, *NEW, at=6)
    restore_point(gateway, store, TAPE, old)
    run_until_idle(engine)
    days_pass(gateway, engine)
    assert in_store(store) == [1, 2, 3]
    written(gateway, engine, *NEW, at=6)
    assert in_store(store) == [1, 2, 3, 6, 7]
    assert contents(gateway, engine) == [*OLD, *NEW]


def test_a_drive_is_not_told_of_what_has_gone(
    gateway: TransferGateway, engine: TransferEngine
) -> None:
    """A tape that is written anew each week loads as quickly in the tenth year."""
    written(gateway, engine, *OLD)
    written(gateway, engine, *NEW)
    days_pass(gateway, engine)
    assert [one.summary.sequence for one in gateway.journal.segments(TAPE)] == [4, 5]
    assert list(gateway.journal.sequences(TAPE)) == [1, 2, 3, 4, 5]
    assert contents(gateway, engine) == NEW
