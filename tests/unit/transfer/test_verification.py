"""Verifying: what is damaged is found, in whichever copy, and made anew from another."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from tapectl.gateway.transfer import segment_verifier
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.gateway.transfer.stored_segment import ObjectPlace, object_key
from tapectl.gateway.verification import describe_verification, request_verification
from tapectl.state import events, segments, verifications
from tapectl.state.errors import TapeNotFoundError
from tapectl.state.events import EventFilter
from tapectl.state.segments import SegmentRecord
from tapectl.state.tape_status import TapeStatus
from tapectl.state.verifications import VerificationRecord
from tapectl.store.interface import ObjectStore, StoreError
from tapectl.store.memory import MemoryStore
from tests.support.failing_store import FailNth
from tests.support.transfer_gateway import TransferGateway, run_until_idle

TAPE = "TEST01L5"
DAY_MS = 86_400_000
PATIENCE_S = 30.0


@pytest.fixture
def gateway(tmp_path: Path) -> TransferGateway:
    return TransferGateway(tmp_path)


@pytest.fixture
def store(gateway: TransferGateway) -> MemoryStore:
    return MemoryStore(retrieval_delay_s=60, now_ms=lambda: gateway.ms)


@pytest.fixture
def engine(gateway: TransferGateway, store: MemoryStore) -> Iterator[TransferEngine]:
    engine = gateway.engine(store)
    yield engine
    engine.close()


def write(gateway: TransferGateway, count: int) -> None:
    for number in range(count):
        gateway.write_segment(TAPE, [bytes([number]) * 100_000, b"x"])


def verified(
    gateway: TransferGateway, engine: TransferEngine, *, local_only: bool = False
) -> VerificationRecord:
    """Verify the tape and return what was found."""
    request_verification(gateway.state, [TAPE], local_only=local_only, now_ms=lambda: gateway.ms)
    return finish(gateway, engine)


def finish(gateway: TransferGateway, engine: TransferEngine) -> VerificationRecord:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(StoreError):
            engine.run_pass()
        gateway.ms += 1000
        found = describe_verification(gateway.state, TAPE)
        if found is not None and found.finished:
            return found.record
        time.sleep(0.001)
    raise AssertionError("the verification never came to an end")


def event_types(gateway: TransferGateway) -> list[str]:
    with gateway.state.read() as db:
        return [one.type for one in events.select(db, EventFilter(subject_id=TAPE))]


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_every_copy_of_every_segment_is_read(
    gateway: TransferGateway, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    write(gateway, 3)
    run_until_idle(engine)
    found = verified(gateway, engine)
    assert found.status == "SOUND"
    assert found.segment_count == 3
    # In the cache, and in the store.
    assert found.checked_bytes == 2 * sum(one.summary.file_bytes for one in gateway.segments(TAPE))
    assert "TapeVerified" in event_types(gateway)


def test_a_damaged_copy_in_the_cache_is_let_go_where_the_store_has_it(
    gateway: TransferGateway, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    write(gateway, 2)
    run_until_idle(engine)
    path = gateway.cache / "tapes" / TAPE / "00000001.seg"
    damage(path)
    found = verified(gateway, engine, local_only=True)
    assert (found.status, found.healed_count) == ("SOUND", 1)
    assert not path.exists()
    assert gateway.segments(TAPE)[0].cache_disk_id is None
    assert "SegmentHealed" in event_types(gateway)
    assert verified(gateway, engine).healed_count == 0


@pytest.mark.parametrize("folder", ["cache", "buffer"])
@pytest.mark.parametrize("harm", [damage, Path.unlink])
def test_before_the_upload_one_disk_heals_the_other(
    gateway: TransferGateway, store: MemoryStore, folder: str, harm: Callable[[Path], None]
) -> None:
    gateway.create_tape(TAPE)
    run_until_idle(gateway.engine(store))
    write(gateway, 1)
    paths = {
        name: gateway.root / name / "tapes" / TAPE / "00000001.seg" for name in ("cache", "buffer")
    }
    content = paths[folder].read_bytes()
    # Two disks of one file system are one file with two names.
    paths[folder].unlink()
    paths[folder].write_bytes(content)
    harm(paths[folder])
    # In an outage.
    found = verified(gateway, gateway.engine(cast("ObjectStore", FailNth(store, 1, forever=True))))
    assert (found.status, found.healed_count) == ("SOUND", 1)
    assert paths[folder].read_bytes() == content


def test_a_damaged_object_is_put_again_from_the_cache(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    write(gateway, 1)
    run_until_idle(engine)
    key = object_key(gateway.segments(TAPE)[0])
    body = store.get(key)
    store.put(key, body[:200] + bytes([body[200] ^ 1]) + body[201:])
    found = verified(gateway, engine)
    assert (found.status, found.healed_count) == ("SOUND", 1)
    assert store.get(key) == body


def test_what_no_copy_has_is_told_and_the_rest_is_looked_at(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    write(gateway, 3)
    run_until_idle(engine)
    damage(gateway.cache / "tapes" / TAPE / "00000002.seg")
    store.delete(object_key(gateway.segments(TAPE)[1]))
    found = verified(gateway, engine)
    assert (found.status, found.damaged_count, found.lost_count) == ("DAMAGED", 1, 1)
    assert found.segment_count == 3
    assert "SegmentDamaged" in event_types(gateway)


def test_archived_objects_are_not_readable_and_not_damaged(
    gateway: TransferGateway, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    write(gateway, 2)
    run_until_idle(engine)
    gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
    run_until_idle(engine)
    found = verified(gateway, engine)
    assert (found.status, found.unread_count) == ("SOUND", 2)


def test_a_new_process_goes_on_where_the_last_one_was(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    write(gateway, 4)
    run_until_idle(engine)
    request_verification(gateway.state, [TAPE], now_ms=lambda: gateway.ms)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        engine.run_pass()
        gateway.ms += 1000
        with gateway.state.read() as db:
            begun = verifications.find_verification(db, TAPE)
        assert begun is not None
        if begun.segment_count >= 2:
            break
    assert begun.finished_at_ms is None
    engine.close()
    # Asked again it does not begin anew.
    request_verification(gateway.state, [TAPE], now_ms=lambda: gateway.ms)
    found = finish(gateway, gateway.engine(store))
    assert found.segment_count == 4
    assert found.started_at_ms == begun.started_at_ms


def test_verifying_keeps_to_its_rate(gateway: TransferGateway, engine: TransferEngine) -> None:
    gateway.create_tape(TAPE)
    write(gateway, 2)
    run_until_idle(engine)
    size_bytes = gateway.segments(TAPE)[0].summary.file_bytes
    request_verification(
        gateway.state, [TAPE], rate_bytes_per_s=size_bytes // 50, now_ms=lambda: gateway.ms
    )
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        report = engine.run_pass()
        found = describe_verification(gateway.state, TAPE)
        assert found is not None
        if found.record.segment_count:
            break
    # Two copies have been read: 100 seconds of this rate.
    report = engine.run_pass()
    assert report.next_due_ms is not None
    assert 99_000 <= report.next_due_ms - gateway.ms <= 101_000


def test_the_scrub_takes_the_tape_that_waited_longest(
    gateway: TransferGateway, engine: TransferEngine
) -> None:
    for barcode in (TAPE, "TEST02L5"):
        gateway.create_tape(barcode)
        gateway.write_segment(barcode, [b"data"])
        gateway.ms += 1000
    run_until_idle(engine)
    assert describe_verification(gateway.state, TAPE) is None
    gateway.ms += 31 * DAY_MS
    found = finish(gateway, engine)
    assert (found.requested, found.local_only, found.status) == (False, True, "SOUND")
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        engine.run_pass()
        gateway.ms += 1000
        other = describe_verification(gateway.state, "TEST02L5")
        if other is not None and other.finished:
            break
    assert other is not None
    assert other.finished
    # Not again before another month.
    engine.run_pass()
    with gateway.state.read() as db:
        assert not verifications.running(db)


def test_a_tape_that_is_deleted_while_its_object_is_looked_at_is_no_fault(
    gateway: TransferGateway, engine: TransferEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.create_tape(TAPE)
    write(gateway, 2)
    run_until_idle(engine)

    def locate_too_late(_db: sqlite3.Connection, record: SegmentRecord) -> ObjectPlace:
        raise TapeNotFoundError(record.barcode)

    with monkeypatch.context() as patch:
        patch.setattr(segment_verifier, "locate", locate_too_late)
        request_verification(gateway.state, [TAPE], now_ms=lambda: gateway.ms)
        for _ in range(3):
            engine.run_pass()
            gateway.ms += 1000
            time.sleep(0.01)
    gateway.change_status(TAPE, TapeStatus.DELETING)
    run_until_idle(engine)
    assert describe_verification(gateway.state, TAPE) is None


def test_a_tape_that_is_deleted_while_it_is_verified_is_forgotten(
    gateway: TransferGateway, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    write(gateway, 2)
    run_until_idle(engine)
    request_verification(gateway.state, [TAPE], now_ms=lambda: gateway.ms)
    engine.run_pass()
    gateway.change_status(TAPE, TapeStatus.DELETING)
    deadline = time.monotonic() + PATIENCE_S
    while gateway.tape(TAPE).status is not TapeStatus.DELETED:
        assert time.monotonic() < deadline
        engine.run_pass()
        gateway.ms += 1000
    engine.run_pass()
    assert describe_verification(gateway.state, TAPE) is None
    with gateway.state.read() as db:
        assert not segments.of_tape(db, TAPE)
