"""The life of a tape as the transfer engine leads it, over a store in memory."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tapectl.gateway.transfer import bucket_layout
from tapectl.gateway.transfer.context import TransferContext
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.gateway.transfer.local_files import LocalDisks
from tapectl.gateway.transfer.segment_fill import FillSource, SegmentFill
from tapectl.gateway.transfer.stored_segment import ObjectPlace, object_key
from tapectl.medium.manifest import PAGE_ROWS, decode_manifest, decode_page
from tapectl.medium.summary import SegmentSummary
from tapectl.scsi.cartridge import CartridgeReadError
from tapectl.state import segments
from tapectl.state.errors import StateAccessError
from tapectl.state.segments import SegmentRecord
from tapectl.state.tape_status import TapeStatus
from tapectl.store.interface import (
    StorageClass,
    StoreDeniedError,
    StoreError,
)
from tapectl.store.memory import MemoryStore
from tests.support.closing import closed_at_end
from tests.support.failing_store import FailNth
from tests.support.fetched import fetched
from tests.support.gateway import wait_until
from tests.support.leftovers import open_files
from tests.support.transfer_gateway import CACHE, GATEWAY, TransferGateway, archive, run_until_idle

TAPE = "TEST01L5"
MIB = 1 << 20


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


def blocks(count: int = 3, size_bytes: int = 100_000) -> list[bytes]:
    """Blocks of which half does not compress."""
    return [os.urandom(size_bytes // 2) + bytes(size_bytes - size_bytes // 2) for _ in range(count)]


def cold_tape(
    gateway: TransferGateway, engine: TransferEngine, *segments: list[bytes]
) -> list[bytes]:
    """Make a tape that only the store has, of segments with these blocks; return the segments."""
    gateway.create_tape(TAPE)
    contents = [gateway.write_segment(TAPE, one) for one in segments]
    run_until_idle(engine)
    gateway.drop_cache()
    return contents


def fetch(engine: TransferEngine, sequence: int, offset: int, size_bytes: int) -> bytes:
    return fetched(engine, TAPE, sequence, offset, size_bytes)


def retrieve(gateway: TransferGateway, engine: TransferEngine) -> None:
    gateway.change_status(TAPE, TapeStatus.RETRIEVING, retrieval_tier="Standard")
    report = run_until_idle(engine)
    assert gateway.tape(TAPE).status is TapeStatus.RETRIEVING
    assert report.waiting == 1
    assert report.next_due_ms == gateway.ms + 10_000
    gateway.ms += 61_000
    run_until_idle(engine)
    assert gateway.tape(TAPE).status is TapeStatus.RETRIEVED


def test_a_new_tape_is_available_when_its_barcode_is_claimed(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    engine.run_pass()
    assert gateway.tape(TAPE).status is TapeStatus.AVAILABLE
    owner = json.loads(store.get(bucket_layout.ownership_key(TAPE)))
    assert (owner["gateway_id"], owner["epoch"]) == (GATEWAY.id, 1)
    assert json.loads(store.get("tapectl.json"))["format"] == 1


def test_a_barcode_of_another_gateway_cannot_be_had(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    other = '{"format":1,"gateway_id":"sgw-FFFFFFFF","tape_uuid":"00","epoch":1,"gateway_epoch":1,'
    other += f'"barcode":"{TAPE}","size_bytes":1,"pool":"GLACIER","worm":false,"created_ms":0}}'
    store.put(bucket_layout.ownership_key(TAPE), other.encode())
    gateway.create_tape(TAPE)
    engine.run_pass()
    tape = gateway.tape(TAPE)
    assert tape.status is TapeStatus.IRRECOVERABLE
    assert "sgw-FFFFFFFF" in (tape.status_detail or "")
    gateway.change_status(TAPE, TapeStatus.DELETING)
    run_until_idle(engine)
    assert gateway.tape(TAPE).status is TapeStatus.DELETED
    assert store.get(bucket_layout.ownership_key(TAPE)) == other.encode()


def tape_keys(store: MemoryStore) -> list[str]:
    """Return the keys of all that is not of the gateway itself."""
    of_gateway = ("gateways/", "inventories/")
    return [info.key for info in store.list("") if not info.key.startswith(of_gateway)]


def stored_key(gateway: TransferGateway, sequence: int) -> str:
    record = next(one for one in gateway.segments(TAPE) if one.sequence == sequence)
    return object_key(record)


def test_an_upload_frees_the_buffer_and_makes_a_recovery_point(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    for _ in range(3):
        gateway.write_segment(TAPE, blocks())
    run_until_idle(engine)
    assert gateway.local_files() == [f"cache/tapes/{TAPE}/{n:08d}.seg" for n in (1, 2, 3)]
    number = gateway.tape(TAPE).manifest_number
    manifest = decode_manifest(store.get(bucket_layout.manifest_key(TAPE, number)))
    assert [row.summary for row in manifest.rows] == [
        record.summary for record in gateway.segments(TAPE)
    ]
    for row in manifest.rows:
        key = bucket_layout.segment_key(TAPE, 1, row.summary.sequence, row.object_bytes)
        assert store.head(key).size_bytes == row.object_bytes < row.summary.file_bytes


def test_a_long_log_has_pages_that_never_change(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    tape = gateway.create_tape(TAPE)
    with gateway.state.write() as db:
        for number in range(1, PAGE_ROWS):
            summary = SegmentSummary(number, number - 1, 1, 1, 0, 500)
            old = SegmentRecord(
                barcode=tape.barcode,
                summary=summary,
                sealed_at_ms=gateway.ms,
                cache_disk_id=None,
                buffer_disk_id=None,
                uploaded_at_ms=gateway.ms,
                object_bytes=300,
                store_epoch=1,
            )
            segments.insert(db, old)
    for _ in range(3):
        gateway.write_segment(TAPE, blocks())
    run_until_idle(engine)
    number = gateway.tape(TAPE).manifest_number
    manifest = decode_manifest(store.get(bucket_layout.manifest_key(TAPE, number)))
    page = decode_page(store.get(bucket_layout.page_key(TAPE, 1, 0)), 0)
    assert manifest.page_epochs == [1]
    assert [row.summary for row in (*page, *manifest.rows)] == [
        record.summary for record in gateway.segments(TAPE)
    ]


def test_a_damaged_copy_is_not_uploaded_the_other_one_is(
    gateway: TransferGateway, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    content = gateway.write_segment(TAPE, blocks())
    damaged = bytearray(content)
    damaged[5000] ^= 1
    (gateway.buffer / f"tapes/{TAPE}/00000001.seg").write_bytes(damaged)
    run_until_idle(engine)
    gateway.drop_cache()
    assert fetch(engine, 1, 0, len(content)) == content


def test_damage_on_both_disks_is_told_and_nothing_is_uploaded(
    gateway: TransferGateway, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    gateway.create_tape("TEST02L5")
    content = bytearray(gateway.write_segment(TAPE, blocks()))
    content[5000] ^= 1
    for disk in (gateway.buffer, gateway.cache):
        (disk / f"tapes/{TAPE}/00000001.seg").write_bytes(content)
    gateway.write_segment("TEST02L5", blocks())
    run_until_idle(engine)
    assert "checksum" in (gateway.tape(TAPE).status_detail or "")
    assert gateway.segments(TAPE)[0].uploaded_at_ms is None
    assert len(list(gateway.buffer.glob(f"tapes/{TAPE}/*"))) == 1
    assert gateway.segments("TEST02L5")[0].uploaded_at_ms is not None


def test_an_outage_waits_and_says_so(gateway: TransferGateway, store: MemoryStore) -> None:
    down = gateway.engine(FailNth(store, 1, forever=True))  # type: ignore[arg-type]
    gateway.create_tape(TAPE)
    gateway.write_segment(TAPE, blocks())
    with pytest.raises(StoreError):
        down.run_pass()
    assert gateway.tape(TAPE).status is TapeStatus.CREATING
    assert down.status()["store_error"] == "injected failure"
    up = gateway.engine(store)
    run_until_idle(up)
    tape = gateway.tape(TAPE)
    assert (tape.status, tape.status_detail) == (TapeStatus.AVAILABLE, None)
    assert up.status()["waiting_segments"] == 0


def test_an_idle_gateway_notices_that_its_store_is_gone_and_back(
    gateway: TransferGateway, store: MemoryStore
) -> None:
    engine = gateway.engine(FailNth(store, 1))  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="injected"):
        engine.run_pass()
    assert engine.status()["store_error"] == "injected failure"
    assert engine.status()["store_error_since_ms"] == gateway.ms
    engine.run_pass()
    assert engine.status()["store_error"] is None


def test_another_owner_fences_this_gateway(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    engine.run_pass()
    key = bucket_layout.ownership_key(TAPE)
    store.put_if_match(
        key, store.get(key).replace(b'"epoch": 1', b'"epoch": 2'), etag=store.head(key).etag
    )
    gateway.write_segment(TAPE, blocks())
    run_until_idle(engine)
    assert gateway.tape(TAPE).status is TapeStatus.IRRECOVERABLE
    assert list(store.list(bucket_layout.segments_prefix(TAPE))) == []
    assert len(list(gateway.buffer.glob(f"tapes/{TAPE}/*"))) == 1


def test_to_the_shelf_and_back(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE, pool="DEEP_ARCHIVE")
    contents = [gateway.write_segment(TAPE, blocks()) for _ in range(3)]
    run_until_idle(engine)
    archive(gateway, engine, TAPE)
    assert gateway.local_files() == []
    assert list(store.list(bucket_layout.segments_prefix(TAPE))) == []
    archived = list(store.list(bucket_layout.archive_prefix(TAPE)))
    assert [one.storage_class for one in archived] == [StorageClass.DEEP_ARCHIVE]
    retrieve(gateway, engine)
    tape = gateway.tape(TAPE)
    assert tape.write_protected
    assert tape.element_address is not None
    assert [fetch(engine, n, 0, len(c)) for n, c in enumerate(contents, 1)] == contents

    # Ejected again, it has nothing new: nothing is put, nothing is copied.
    watched, before = FailNth(store, 0), set(tape_keys(store))
    gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
    run_until_idle(gateway.engine(watched))  # type: ignore[arg-type]
    assert gateway.tape(TAPE).status is TapeStatus.ARCHIVED
    assert set(watched.names) <= {
        "put_if_absent",
        "put_if_match",
        "head",
        "get",
        "list",
        "unfinished_puts",
    }
    assert set(tape_keys(store)) == before
    assert not [name for name in gateway.local_files() if name.endswith(".seg")]


def test_an_empty_tape_goes_to_the_shelf_and_back(
    gateway: TransferGateway, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    run_until_idle(engine)
    archive(gateway, engine, TAPE)
    gateway.change_status(TAPE, TapeStatus.RETRIEVING)
    run_until_idle(engine)
    assert gateway.tape(TAPE).status is TapeStatus.RETRIEVED


def test_a_hold_keeps_the_tape_and_says_when_it_ends(
    gateway: TransferGateway, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    run_until_idle(engine)
    until_ms = gateway.ms + 60_000
    gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS, hold_until_ms=until_ms)
    assert run_until_idle(engine).next_due_ms == until_ms
    assert gateway.tape(TAPE).element_address is not None
    gateway.ms = until_ms
    run_until_idle(engine)
    assert gateway.tape(TAPE).status is TapeStatus.ARCHIVED


def test_what_a_killed_drive_left_open_goes_to_the_shelf_too(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    run_until_idle(engine)
    abandoned = gateway.load(TAPE)
    abandoned.write_blocks(memoryview(b"block" * 1000), 5000)
    assert [Path(name).suffix for name in gateway.local_files()] == [".open", ".open"]
    archive(gateway, engine, TAPE)
    assert gateway.local_files() == []
    assert len(list(store.list(bucket_layout.archive_prefix(TAPE)))) == 1
    assert gateway.segments(TAPE)[0].summary.data_bytes == 5000
    assert gateway.tape(TAPE).used_bytes == 5000


def test_an_open_segment_is_left_to_the_drives_while_they_run(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    run_until_idle(engine)
    abandoned = gateway.load(TAPE)
    abandoned.write_blocks(memoryview(b"block" * 1000), 5000)
    run_until_idle(engine)
    assert gateway.segments(TAPE) == []
    run_until_idle(gateway.engine(store, drives_run=False))
    assert gateway.segments(TAPE)[0].uploaded_at_ms is not None
    # What `tape list` says of it, which its drive could not enter.
    assert gateway.tape(TAPE).used_bytes == 5000


def test_a_restored_copy_is_prolonged_while_the_tape_is_here(
    gateway: TransferGateway, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    content = gateway.write_segment(TAPE, blocks())
    run_until_idle(engine)
    archive(gateway, engine, TAPE)
    retrieve(gateway, engine)
    for _ in range(6):
        gateway.ms = run_until_idle(engine).next_due_ms or 0
        assert gateway.ms
    assert fetch(engine, 1, 0, len(content)) == content


def test_a_cancelled_retrieval_stays_on_the_shelf(
    gateway: TransferGateway, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    gateway.write_segment(TAPE, blocks())
    run_until_idle(engine)
    archive(gateway, engine, TAPE)
    gateway.change_status(TAPE, TapeStatus.RETRIEVING)
    engine.run_pass()
    gateway.change_status(TAPE, TapeStatus.ARCHIVED)
    gateway.ms += 61_000
    run_until_idle(engine)
    assert gateway.tape(TAPE).status is TapeStatus.ARCHIVED


@pytest.mark.parametrize("archived", [False, True])
def test_a_deleted_tape_leaves_its_tombstone_only(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine, archived: bool
) -> None:
    gateway.create_tape(TAPE)
    gateway.write_segment(TAPE, blocks())
    run_until_idle(engine)
    if archived:
        archive(gateway, engine, TAPE)
    gateway.change_status(TAPE, TapeStatus.DELETING)
    run_until_idle(engine)
    assert gateway.tape(TAPE).status is TapeStatus.DELETED
    assert tape_keys(store) == ["tapectl.json", f"tombstones/{TAPE}.json"]
    assert gateway.local_files() == []


def test_a_barcode_with_a_tombstone_is_never_given_again(
    tmp_path: Path, gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    run_until_idle(engine)
    gateway.change_status(TAPE, TapeStatus.DELETING)
    run_until_idle(engine)
    again = TransferGateway(tmp_path / "again")
    again.create_tape(TAPE)
    run_until_idle(again.engine(store))
    assert again.tape(TAPE).status is TapeStatus.IRRECOVERABLE
    assert "deleted" in (again.tape(TAPE).status_detail or "")


def test_a_full_cache_gives_up_what_was_read_longest_ago(tmp_path: Path) -> None:
    gateway = TransferGateway(tmp_path / "small", cache_bytes=1_000_000)
    store = MemoryStore()
    engine = gateway.engine(store)
    gateway.create_tape(TAPE)
    for _ in range(3):
        gateway.write_segment(TAPE, blocks(3))
    down = gateway.engine(FailNth(store, 1, forever=True))  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        down.run_pass()
    assert len(list(gateway.cache.glob("tapes/*/*.seg"))) == 3, "nothing uploaded, nothing evicted"
    run_until_idle(engine)
    kept = sorted(path.name for path in gateway.cache.glob("tapes/*/*.seg"))
    assert kept == ["00000002.seg", "00000003.seg"]


def test_a_cold_segment_is_read_by_range_and_then_cached_with_the_next(
    gateway: TransferGateway, engine: TransferEngine
) -> None:
    contents = cold_tape(gateway, engine, *(blocks(30, 300_000) for _ in range(3)))
    assert fetch(engine, 1, 5 * MIB - 10, 20) == contents[0][5 * MIB - 10 : 5 * MIB + 10]
    for _ in range(2000):
        if sum(record.cache_disk_id is not None for record in gateway.segments(TAPE)) >= 2:
            break
        time.sleep(0.005)
    cached = [record.sequence for record in gateway.segments(TAPE) if record.cache_disk_id]
    assert cached[:2] == [1, 2]
    assert (gateway.cache / f"tapes/{TAPE}/00000001.seg").read_bytes() == contents[0]
    engine.close()


def test_a_second_fill_does_not_touch_what_the_first_one_sealed(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    content = gateway.write_segment(TAPE, blocks())
    run_until_idle(engine)
    record = gateway.segments(TAPE)[0]
    source = FillSource(
        barcode=TAPE,
        summary=record.summary,
        place=ObjectPlace(stored_key(gateway, 1), record.object_bytes or 0, archived=False),
        disk_id=CACHE,
        folder=gateway.cache / "tapes" / TAPE,
    )
    first, second = (closed_at_end(SegmentFill(source, store, serial)) for serial in range(2))
    first.open()
    while run := first.take():
        first.fetch(run)
    first.seal()
    second.open()
    assert first.sealed_path.read_bytes() == content
    assert first.path.read_bytes() == content, "a reader may still have this name"
    assert not second.has(0, 1)


def test_a_fill_that_found_no_room_for_its_file_is_begun_anew(
    gateway: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (content,) = cold_tape(gateway, engine, blocks())
    record = gateway.segments(TAPE)[0]
    source = FillSource(
        barcode=TAPE,
        summary=record.summary,
        place=ObjectPlace(stored_key(gateway, 1), record.object_bytes or 0, archived=False),
        disk_id=CACHE,
        folder=gateway.cache / "tapes" / TAPE,
    )
    fill = closed_at_end(SegmentFill(source, store, 1))

    def full(descriptor: int, size_bytes: int) -> None:
        raise OSError(errno.ENOSPC, f"{descriptor} {size_bytes}")

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", full)
        with pytest.raises(OSError, match="Errno 28"):
            fill.open()
    fill.open()
    while run := fill.take():
        fill.fetch(run)
    flushed = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: flushed.append(os.readlink(f"/proc/self/fd/{fd}")))
        fill.seal()
    assert fill.sealed_path.read_bytes() == content
    # Names are there after a power cut too, that of a folder which was made for it included.
    folder = str(fill.sealed_path.parent)
    assert flushed == [str(fill.path), folder, os.path.dirname(folder)]


def test_a_state_that_fails_for_a_while_ends_no_fetch(
    gateway: TransferGateway,
    engine: TransferEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (content,) = cold_tape(gateway, engine, blocks())
    monkeypatch.setattr("tapectl.gateway.transfer.fetching._RETRY_S", 0.01)
    failures = 6  # more than there are threads
    set_cache_disk = segments.set_cache_disk

    def failing(*arguments: Any) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise StateAccessError(gateway.root, "disk I/O error")
        set_cache_disk(*arguments)

    monkeypatch.setattr(segments, "set_cache_disk", failing)
    assert fetch(engine, 1, 0, len(content)) == content
    sealed = gateway.cache / "tapes" / TAPE / "00000001.seg"
    for _ in range(2000):
        if gateway.segments(TAPE)[0].cache_disk_id == CACHE:
            break
        time.sleep(0.005)
    assert sealed.read_bytes() == content
    assert failures < 0


def test_a_disk_and_the_state_that_fail_together_are_waited_for(
    gateway: TransferGateway,
    engine: TransferEngine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (content,) = cold_tape(gateway, engine, blocks())
    monkeypatch.setattr("tapectl.gateway.transfer.fetching._RETRY_S", 0.01)
    seal, read = SegmentFill.seal, LocalDisks.read
    failed: list[str] = []

    def failing_seal(fill: SegmentFill) -> None:
        if "disk" not in failed:
            failed.append("disk")
            raise OSError(errno.EIO, "Input/output error")
        seal(fill)

    def failing_read(context: TransferContext) -> LocalDisks:
        if failed == ["disk"] and threading.current_thread().name.startswith("fetch-"):
            failed.append("state")
            raise StateAccessError(gateway.root, "disk I/O error")
        return read(context)

    monkeypatch.setattr(SegmentFill, "seal", failing_seal)
    monkeypatch.setattr(LocalDisks, "read", failing_read)
    assert fetch(engine, 1, 0, len(content)) == content
    deadline = time.monotonic() + 30
    while gateway.segments(TAPE)[0].cache_disk_id is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert failed == ["disk", "state"]
    assert "bug" not in caplog.text


def test_a_damaged_object_is_an_error_and_never_data(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    (content,) = cold_tape(gateway, engine, blocks())
    key = stored_key(gateway, 1)
    damaged = bytearray(store.get(key))
    damaged[1000] ^= 1
    store.put(key, damaged)
    with pytest.raises(CartridgeReadError, match="checksum"):
        fetch(engine, 1, 0, len(content))
    damaged[1000] ^= 1
    store.put(key, damaged)
    assert fetch(engine, 1, 0, len(content)) == content


class SlowSecondRequest:
    """A store of which two requests for chunks are under way at the same time: that for offset
    `first_holds` is answered when the other has come, and the other not before `release`."""

    def __init__(self, inner: MemoryStore, first_holds: int) -> None:
        self._inner = inner
        self._first_holds = first_holds
        self._table_read = False
        self._second_came = threading.Event()
        self.release = threading.Event()
        self.slow = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def get(self, key: str, *, offset: int = 0, size_bytes: int | None = None) -> bytes:
        if not self._table_read:
            self._table_read = True
        elif self.slow:
            if offset <= self._first_holds:
                self._second_came.wait(10)
            else:
                self._second_came.set()
                self.release.wait(10)
        return bytes(self._inner.get(key, offset=offset, size_bytes=size_bytes))


def test_a_failure_is_told_once_though_another_request_of_the_segment_is_under_way(
    gateway: TransferGateway, store: MemoryStore
) -> None:
    (content,) = cold_tape(gateway, gateway.engine(store), blocks(100))
    key = stored_key(gateway, 1)
    whole = bytes(store.get(key))
    store.put(key, whole[:1000] + bytes((whole[1000] ^ 1,)) + whole[1001:])
    slow = SlowSecondRequest(store, 1000)
    engine = gateway.engine(slow)  # type: ignore[arg-type]
    with pytest.raises(CartridgeReadError, match="checksum"):
        fetch(engine, 1, 0, 100)
    store.put(key, whole)
    slow.slow = False
    assert fetch(engine, 1, 0, len(content)) == content
    slow.release.set()
    engine.close()
    # A reader may have been told the name of the one that was finished.
    assert [name for name in gateway.local_files() if name.endswith(".fill")] == [
        f"cache/tapes/{TAPE}/00000001.1.fill"
    ]


def test_whoever_reads_in_order_is_always_one_segment_behind_the_store(
    gateway: TransferGateway, engine: TransferEngine
) -> None:
    contents = cold_tape(gateway, engine, *(blocks() for _ in range(5)))
    for sequence, content in enumerate(contents[:-1], 1):
        assert fetch(engine, sequence, 0, len(content)) == content
        # Nobody asks for the next one, and it comes.
        deadline = time.monotonic() + 30
        while gateway.segments(TAPE)[sequence].cache_disk_id is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert [one.cache_disk_id for one in gateway.segments(TAPE)[sequence + 1 :]] == [
            None for _ in contents[sequence + 1 :]
        ]


class FailOnce:
    """A store that refuses the first request for one object for good."""

    def __init__(self, inner: MemoryStore, key: str) -> None:
        self._inner = inner
        self._key = key
        self.failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def get(self, key: str, *, offset: int = 0, size_bytes: int | None = None) -> bytes:
        if key == self._key and not self.failed:
            self.failed = True
            raise StoreDeniedError("no right to read it")
        return bytes(self._inner.get(key, offset=offset, size_bytes=size_bytes))


def test_a_failure_of_reading_ahead_is_told_nobody(
    gateway: TransferGateway, store: MemoryStore
) -> None:
    contents = cold_tape(gateway, gateway.engine(store), *(blocks() for _ in range(2)))
    failing = FailOnce(store, stored_key(gateway, 2))
    engine = gateway.engine(failing)  # type: ignore[arg-type]
    assert fetch(engine, 1, 0, len(contents[0])) == contents[0]
    for _ in range(2000):
        if failing.failed and not engine.fetch_service.filling_bytes():
            break
        time.sleep(0.005)
    assert fetch(engine, 2, 0, len(contents[1])) == contents[1]


def test_a_copy_that_a_drive_found_damaged_comes_from_the_store_anew(
    gateway: TransferGateway, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    content = gateway.write_segment(TAPE, blocks())
    copies = [disk / f"tapes/{TAPE}/00000001.seg" for disk in (gateway.buffer, gateway.cache)]
    engine.fetch_service.discard(TAPE, 1)
    assert all(path.exists() for path in copies)  # the store has nothing yet
    run_until_idle(engine)
    damaged = bytearray(content)
    damaged[5000] ^= 1
    copies[1].write_bytes(damaged)
    engine.fetch_service.discard(TAPE, 1)
    assert not copies[1].exists()
    assert fetch(engine, 1, 0, len(content)) == content
    # What was fetched gets its final name a moment later.
    deadline = time.monotonic() + 30
    while not copies[1].exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert copies[1].read_bytes() == content


def test_a_fetch_waits_for_the_store_to_come_back(
    gateway: TransferGateway, store: MemoryStore
) -> None:
    (content,) = cold_tape(gateway, gateway.engine(store), blocks())
    engine = gateway.engine(FailNth(store, 1))  # type: ignore[arg-type]
    assert fetch(engine, 1, 0, len(content)) == content


def test_an_engine_that_is_closed_has_no_file_open(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    cold_tape(gateway, engine, blocks())
    # It gets the table of the object's chunks, and no chunk.
    cut_off = gateway.engine(FailNth(store, 2, forever=True))  # type: ignore[arg-type]
    path, _ = cut_off.fetch_service.ensure(TAPE, 1, 0, 1)
    wait_until(lambda: str(path) in open_files(), "the fill is open", 30)
    cut_off.close()
    assert str(path) not in open_files()


def test_what_was_never_there_cannot_be_fetched(
    gateway: TransferGateway, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    with pytest.raises(CartridgeReadError):
        engine.fetch_service.ensure(TAPE, 7, 0, 1)


def test_files_that_a_crash_left_are_swept_at_the_next_start(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    gateway.write_segment(TAPE, blocks())
    run_until_idle(engine)
    folder = gateway.buffer / "tapes" / TAPE
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "00000001.seg").write_bytes(b"uploaded, let go of, not removed")
    (folder / "00000002.seg").write_bytes(b"sealed, on its way into the state")
    (gateway.cache / f"tapes/{TAPE}/00000001.fill").write_bytes(b"unfinished")
    gateway.engine(store)
    assert gateway.local_files() == [
        f"buffer/tapes/{TAPE}/00000002.seg",
        f"cache/tapes/{TAPE}/00000001.seg",
    ]


def test_a_bucket_of_a_newer_version_is_left_alone(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    store.put("tapectl.json", b'{"format": 2}')
    gateway.create_tape(TAPE)
    with pytest.raises(StoreError, match="format 2"):
        engine.run_pass()
    assert gateway.tape(TAPE).status is TapeStatus.CREATING
    assert [info.key for info in store.list("")] == ["tapectl.json"]
