"""A tape is read from its bucket alone: whatever was done to it, and nothing else is touched."""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest

from tapectl.errors import TapectlError
from tapectl.gateway import recovery_points, stored_tape
from tapectl.gateway.elements import ElementError
from tapectl.gateway.keyring import Keyring, TapeKeyError, create_key, export_keys
from tapectl.gateway.recovery import list_points
from tapectl.gateway.recovery_points import RecoveryPointNotFoundError, WhichPoint
from tapectl.gateway.stored_tape import StoredTape, open_stored_tape
from tapectl.gateway.tape_keys import new_data_key
from tapectl.gateway.transfer import manifests
from tapectl.gateway.transfer.bucket_layout import archive_prefix, segments_prefix
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.gateway.transfer.stored_segment import copied_key, object_key
from tapectl.gateway.unreadable_tape import TapeUnreadableError
from tapectl.medium import manifest
from tapectl.medium.manifest import ManifestRow
from tapectl.scsi.cartridge import Mark
from tapectl.state import tapes
from tapectl.state.errors import TapeNotFoundError, TapeStatusError
from tapectl.state.tape_status import TapeStatus
from tapectl.store.interface import ObjectInfo, PutOptions, RetrievalTier, StorageClass
from tapectl.store.memory import MemoryStore
from tests.support.transfer_gateway import TransferGateway, archive, run_until_idle
from tests.support.two_gateways import block, read, restore_point, write

TAPE = "FIRED1L5"
NO_KEYS = Keyring()
LATEST = WhichPoint()
MIB = 1 << 20
WAIT_S = 20.0


class ReadOnly:
    """A store of which nothing but reading can be asked; `damaged` reads come with a wrong byte.

    It counts the bytes that it gives out of segments. The first of them come when so many parts
    have been asked for.
    """

    def __init__(self, inner: MemoryStore, together: int = 1) -> None:
        self._inner = inner
        self._together = together
        self._asked = threading.Condition()
        self._reads = 0
        self.damaged = self.read_bytes = 0

    def get(self, key: str, *, offset: int = 0, size_bytes: int | None = None) -> bytes:
        content = self._inner.get(key, offset=offset, size_bytes=size_bytes)
        if "/segments/" in key:
            with self._asked:
                self.read_bytes += len(content)
                self._reads += len(content) > MIB
                self._asked.notify_all()
                if len(content) > MIB:
                    assert self._asked.wait_for(lambda: self._reads >= self._together, WAIT_S)
        if "/segments/" in key and self.damaged:
            self.damaged -= 1
            return content[:-1] + bytes([content[-1] ^ 1])
        return content

    def head(self, key: str) -> ObjectInfo:
        return self._inner.head(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._inner.list(prefix)


@pytest.fixture
def gateway(tmp_path: Path) -> TransferGateway:
    made = TransferGateway(tmp_path / "gateway")
    made.create_tape(TAPE)
    return made


@pytest.fixture
def store(gateway: TransferGateway) -> MemoryStore:
    return MemoryStore(retrieval_delay_s=60, now_ms=lambda: gateway.ms)


@pytest.fixture
def engine(gateway: TransferGateway, store: MemoryStore) -> Iterator[TransferEngine]:
    # The objects of two of the segments that `write` makes of 3000 bytes are put together.
    engine = gateway.engine(store, archive_object_bytes=8000, upload_workers=1)
    run_until_idle(engine)
    yield engine
    engine.close()


@contextlib.contextmanager
def opened(
    store: MemoryStore | ReadOnly, which: WhichPoint = LATEST, keys: Keyring = NO_KEYS
) -> Iterator[StoredTape]:
    reading = store if isinstance(store, ReadOnly) else ReadOnly(store)
    with open_stored_tape(reading, TAPE, which, zone=UTC, keys=keys) as tape:  # type: ignore[arg-type]
        yield tape


def contents(
    store: MemoryStore | ReadOnly, which: WhichPoint = LATEST, keys: Keyring = NO_KEYS
) -> list[bytes | None]:
    """Return the blocks of the tape, None for a filemark."""
    with opened(store, which, keys) as tape:
        return [None if isinstance(one, Mark) else one for one in tape.read()]


def file_of(store: MemoryStore, number: int) -> list[bytes]:
    """Return the blocks of one file."""
    found = []
    with opened(store) as tape:
        tape.go_to_file(number)
        for one in tape.read():
            if isinstance(one, Mark):
                break
            found.append(one)
    return found


def latest(gateway: TransferGateway) -> int:
    return gateway.tape(TAPE).manifest_number


def retrieve(gateway: TransferGateway, engine: TransferEngine) -> None:
    gateway.change_status(TAPE, TapeStatus.RETRIEVING, retrieval_tier="Bulk")
    for _ in range(8):
        run_until_idle(engine)
        gateway.ms += 10_000
    assert gateway.tape(TAPE).status is TapeStatus.RETRIEVED


def test_a_tape_is_what_was_written_on_it(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    files = [
        [os.urandom(9 * MIB), b"x" * (3 * MIB), b"!"],
        [block(number, 10_240) for number in range(50)],
        [bytes(5 * MIB), os.urandom(MIB)],
    ]
    gateway.write_segment(TAPE, files[0])
    gateway.write_segment(TAPE, files[1])
    write(gateway, TAPE, files[2][:1], None, engine)
    run_until_idle(engine)
    expected = [*files[0], None, *files[1], None, *files[2][:1], None]
    assert contents(store) == expected
    assert [file_of(store, number) for number in range(3)] == [*files[:2], files[2][:1]]
    with opened(store) as tape:
        assert tape.used_bytes == sum(len(one) for one in expected if one is not None)
        with pytest.raises(ElementError):
            tape.go_to_file(3)
        with pytest.raises(ElementError):
            tape.go_to_file(4)


def test_files_within_a_segment_are_found(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    cartridge = gateway.load(TAPE)
    for number in range(4):
        for size_bytes in (30_000, 30_000, 7):
            cartridge.write_blocks(memoryview(block(number, size_bytes)), size_bytes)
        cartridge.write_filemarks(2 if number == 1 else 1)
    cartridge.close()
    run_until_idle(engine)
    files = [[block(n, 30_000), block(n, 30_000), block(n, 7)] for n in range(4)]
    assert [file_of(store, number) for number in range(5)] == [*files[:2], [], *files[2:]]


def test_a_blank_tape_and_one_without_a_recovery_point(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    assert contents(store) == []
    with pytest.raises(RecoveryPointNotFoundError):
        contents(store, WhichPoint(number=1))
    write(gateway, TAPE, [block(1)])
    run_until_idle(engine)
    cartridge = gateway.load(TAPE)
    cartridge.erase()
    cartridge.close()
    run_until_idle(engine)
    assert contents(store) == []


def test_overwritten_in_part_and_at_every_point_before(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    rng = random.Random(5)
    expected = {}
    for seed in range(12):
        now = contents(store) if seed else []
        at = rng.randrange(len(now) + 1)
        write(gateway, TAPE, [block(100 * seed + n) for n in range(4)], at, engine)
        run_until_idle(engine)
        expected[latest(gateway)] = read(gateway, TAPE, engine)
        assert contents(store) == expected[latest(gateway)]
    undone = sorted(expected)[3]
    restore_point(gateway, store, TAPE, undone)
    run_until_idle(engine)
    expected[latest(gateway)] = expected[undone]
    write(gateway, TAPE, [block(1)], None, engine)
    run_until_idle(engine)
    expected[latest(gateway)] = [*expected[undone], block(1), None]
    for number, blocks in expected.items():
        assert contents(store, WhichPoint(number=number)) == blocks, number
    first = list_points(store, barcode=TAPE, all_points=True)[-1]
    assert contents(store, WhichPoint(at_ms=first.created_ms)) == expected[first.number]
    with pytest.raises(RecoveryPointNotFoundError):
        contents(store, WhichPoint(at_ms=first.created_ms - 1))


def test_a_log_of_a_program_that_did_not_say_what_stands_before_a_segment(
    gateway: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(gateway, TAPE, [block(1), block(2), block(3)])
    write(gateway, TAPE, [block(4)], 2)
    run_until_idle(engine)
    rows_of = stored_tape._rows

    def rows(*args: object) -> Iterator[ManifestRow]:
        for row in rows_of(*args):  # type: ignore[arg-type]
            yield replace(row, summary=replace(row.summary, before=None))

    monkeypatch.setattr(stored_tape, "_rows", rows)
    assert contents(store) == [block(1), block(2), block(4), None]


def test_an_archived_tape_is_read_once_it_is_restored(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    for seed in range(7):
        write(gateway, TAPE, [block(seed)], None, engine)
    run_until_idle(engine)
    before = latest(gateway)
    expected = read(gateway, TAPE, engine)
    write(gateway, TAPE, [block(20)], 3, engine)
    run_until_idle(engine)
    after = read(gateway, TAPE, engine)
    archive(gateway, engine, TAPE)
    assert len(list(store.list(archive_prefix(TAPE)))) > 2
    with opened(store) as tape, pytest.raises(TapeStatusError, match=r"8.8 KiB of 8.8 KiB"):
        tape.read()
    with opened(store) as tape, pytest.raises(TapeStatusError) as refused:
        tape.go_to_file(1)
    assert f"tapes/{TAPE}/archive/" in str(refused.value.hint)
    first, *_ = store.list(archive_prefix(TAPE))
    store.restore(first.key, tier=RetrievalTier.STANDARD, days=1)
    gateway.ms += 61_000
    # One object of two can be read, and so can the first file; the second goes on in the other.
    assert file_of(store, 0) == [block(0)]
    with pytest.raises(TapeStatusError, match=r"2.9 KiB of 5.9 KiB"):
        file_of(store, 1)
    with opened(store) as tape, pytest.raises(TapeStatusError, match=r"2.9 KiB of 8.8 KiB"):
        tape.read()
    gateway.change_status(TAPE, TapeStatus.RETRIEVING, retrieval_tier="Bulk")
    run_until_idle(engine)
    with opened(store) as tape, pytest.raises(TapeStatusError, match="not there yet"):
        tape.read()
    for _ in range(8):
        run_until_idle(engine)
        gateway.ms += 10_000
    assert contents(store) == after
    # What counts says the point, where it is the last one.
    assert contents(store, WhichPoint(number=before)) == expected


def test_an_archived_tape_whose_segments_were_copied_one_by_one(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    for seed in range(3):
        write(gateway, TAPE, [block(seed)], None, engine)
    run_until_idle(engine)
    with gateway.state.write() as db:
        tapes.transition(db, TAPE, TapeStatus.IN_TRANSIT_TO_VTS, gateway.stamp)
        tapes.transition(db, TAPE, TapeStatus.ARCHIVING, gateway.stamp)
    for record in gateway.segments(TAPE):
        options = PutOptions(storage_class=StorageClass.GLACIER)
        store.copy(object_key(record), copied_key(record), options=options)
        store.delete(object_key(record))
    with gateway.state.write() as db:
        last = gateway.segments(TAPE)[-1].sequence
        tapes.update(db, TAPE, archived_through_sequence=last)
    point = manifests.RecoveryPoint(status=TapeStatus.ARCHIVED)
    number = manifests.put_manifest(engine._context, TAPE, point).number
    with gateway.state.write() as db:
        tapes.transition(db, TAPE, TapeStatus.ARCHIVED, gateway.stamp, manifest_number=number)
    with pytest.raises(TapeStatusError, match=r"8.8 KiB of 8.8 KiB"):
        contents(store)
    retrieve(gateway, engine)
    assert contents(store) == [block(0), None, block(1), None, block(2), None]


def test_an_encrypted_tape_needs_its_key_before_anything_is_read(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine, tmp_path: Path
) -> None:
    key = create_key(gateway.state.path)
    with gateway.state.write() as db:
        data_key = new_data_key(key, gateway.tape(TAPE).tape_uuid)
        tapes.update(db, TAPE, data_key=data_key)
    gateway.write_segment(TAPE, [bytes(3 * MIB), block(1)])
    run_until_idle(engine)
    export_keys(gateway.state.path, tmp_path / "copy")
    keys = Keyring.load_copy(tmp_path / "copy")
    assert contents(store, keys=keys) == [bytes(3 * MIB), block(1), None]
    create_key(tmp_path / "elsewhere.db")
    for other in (NO_KEYS, Keyring.load(tmp_path / "elsewhere.db")):
        with pytest.raises(TapeKeyError, match=key.id), opened(store, keys=other):
            pass


def test_what_was_let_go_of_is_not_needed(gateway: TransferGateway, store: MemoryStore) -> None:
    engine = gateway.engine(
        store,
        keep_overwritten_days=1,
        archive_object_bytes=8000,
        segment_bytes=64_000,  # what is smaller than a 64th of it is kept
    )
    run_until_idle(engine)
    for seed in range(6):
        write(gateway, TAPE, [block(seed)], None, engine)
        run_until_idle(engine)
    before = latest(gateway)
    write(gateway, TAPE, [block(10)], 4, engine)
    run_until_idle(engine)
    write(gateway, TAPE, [block(11)], None, engine)
    for _ in range(3):
        gateway.ms += 86_400_000
        run_until_idle(engine)
    assert len(list(store.list(segments_prefix(TAPE)))) == 4
    expected = [block(0), None, block(1), None, block(10), None, block(11), None]
    assert contents(store) == expected
    with pytest.raises(RecoveryPointNotFoundError):
        contents(store, WhichPoint(number=before))
    archive(gateway, engine, TAPE)
    retrieve(gateway, engine)
    assert contents(store) == expected
    engine.close()


def test_damage_is_told_and_what_stands_before_it_is_given_out(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    for seed in range(3):
        write(gateway, TAPE, [block(seed)], None, engine)
    run_until_idle(engine)
    reading = ReadOnly(store)
    reading.damaged = 1
    assert len(contents(reading)) == 6
    keys = [info.key for info in store.list(segments_prefix(TAPE))]
    body = bytearray(store.get(keys[1]))
    body[200] ^= 1
    store.put(keys[1], bytes(body))
    found: list[bytes | Mark] = []
    with opened(store) as tape, pytest.raises(TapeUnreadableError, match="object 2 of tape"):
        found.extend(tape.read())
    assert found == [block(0), Mark.FILEMARK]
    store.delete(keys[1])
    with pytest.raises(TapeUnreadableError, match="object 2 of tape"):
        contents(store)
    # The object of another segment, however whole, is no replacement.
    store.put(keys[1], store.get(keys[2]))
    with pytest.raises(TapeUnreadableError):
        contents(store)


def test_requests_are_under_way_together_and_no_further_ahead_than_a_few(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    segment = [os.urandom(4 * MIB - 1000)]
    for _ in range(12):
        gateway.write_segment(TAPE, segment)
    run_until_idle(engine)
    assert len(contents(ReadOnly(store, together=6))) == 24
    reading = ReadOnly(store)
    with opened(reading) as tape:
        objects = tape.read()
        assert next(objects) == segment[0]
    assert 0 < reading.read_bytes < 8 * 4 * MIB


def test_logs_of_several_pages(
    gateway: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (recovery_points, manifests, manifest):
        monkeypatch.setattr(module, "PAGE_ROWS", 2)
    for seed in range(25):
        gateway.write_segment(TAPE, [block(seed)])
        run_until_idle(engine)
    assert [one for one in contents(store) if one is not None] == [block(n) for n in range(25)]
    assert file_of(store, 17) == [block(17)]
    assert len(contents(store, WhichPoint(number=latest(gateway) - 12))) == 26


def test_tapes_that_there_are_not(store: MemoryStore) -> None:
    refused: list[type[TapectlError]] = []
    for barcode in ("NOSUCH01", "no such"):
        with (
            pytest.raises(TapectlError) as found,
            open_stored_tape(store, barcode, LATEST, zone=UTC, keys=NO_KEYS),
        ):
            pass
        refused.append(type(found.value))
    assert refused[0] is TapeNotFoundError
