"""Segments of an ejected tape in few large objects, and all that has to find them there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tapectl.gateway.check.bucket import store_findings
from tapectl.gateway.check.findings import Code
from tapectl.gateway.check.view import Serving, look
from tapectl.gateway.recovery_points import read_point
from tapectl.gateway.transfer import archiving, manifests
from tapectl.gateway.transfer import retrieval as retrieval_module
from tapectl.gateway.transfer.archived_objects import archived_after
from tapectl.gateway.transfer.bucket_layout import archive_prefix, segments_prefix
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.gateway.transfer.stored_segment import copied_key, locate, locate_all, object_key
from tapectl.medium import manifest
from tapectl.medium.manifest import ManifestHead
from tapectl.state import tapes
from tapectl.state.tape_status import TapeStatus
from tapectl.store.interface import (
    ObjectStore,
    PutOptions,
    RestoreState,
    StorageClass,
    StoreError,
    StoreRefusedError,
)
from tapectl.store.memory import MemoryStore
from tests.support.adopted_gateway import adopt_on
from tests.support.failing_store import FailNth
from tests.support.fetched import fetched
from tests.support.transfer_gateway import (
    SETTINGS,
    TransferGateway,
    archive,
    retrieve,
    run_until_idle,
)

TAPE = "SHELF1L5"
# A segment of `write` has a little more than 3000 bytes in the store.
SEGMENT_BYTES = 3000
TWO_SEGMENTS = 8000


@pytest.fixture
def gateway(tmp_path: Path) -> TransferGateway:
    return TransferGateway(tmp_path / "gateway")


@pytest.fixture
def store(gateway: TransferGateway) -> MemoryStore:
    return MemoryStore(retrieval_delay_s=60, now_ms=lambda: gateway.ms)


@pytest.fixture
def engine(gateway: TransferGateway, store: MemoryStore) -> Iterator[TransferEngine]:
    engine = gateway.engine(store, archive_object_bytes=TWO_SEGMENTS, upload_workers=1)
    yield engine
    engine.close()


def write(gateway: TransferGateway, count: int) -> list[bytes]:
    """Append segments that do not compress."""
    return [gateway.write_segment(TAPE, [os.urandom(SEGMENT_BYTES)]) for _ in range(count)]


def uploaded(gateway: TransferGateway, engine: TransferEngine, count: int) -> list[bytes]:
    """Return the contents of a new tape that is in the store."""
    gateway.create_tape(TAPE)
    contents = write(gateway, count)
    run_until_idle(engine)
    return contents


def read_all(gateway: TransferGateway, engine: TransferEngine) -> list[bytes]:
    """Return every segment file as the store has it."""
    gateway.drop_cache()
    return [fetch(engine, one.sequence, one.summary.file_bytes) for one in gateway.segments(TAPE)]


def fetch(engine: TransferEngine, sequence: int, size_bytes: int) -> bytes:
    return fetched(engine, TAPE, sequence, 0, size_bytes)


def archived_keys(store: ObjectStore) -> list[str]:
    return [
        info.key.removeprefix(archive_prefix(TAPE)) for info in store.list(archive_prefix(TAPE))
    ]


def latest(gateway: TransferGateway, store: ObjectStore) -> ManifestHead:
    return read_point(store, TAPE, gateway.tape(TAPE).manifest_number).head


def test_a_tape_is_few_objects_and_reads_back(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    contents = uploaded(gateway, engine, 5)
    archive(gateway, engine, TAPE)
    assert list(store.list(segments_prefix(TAPE))) == []
    names = [name.split("-")[:3] for name in archived_keys(store)]
    assert [name[1:] for name in names] == [
        ["00000001", "00000002"],
        ["00000003", "00000004"],
        ["00000005", "00000005"],
    ]
    head = latest(gateway, store)
    assert (head.status, head.archived_through) == ("ARCHIVED", 5)
    assert [one.last_sequence for one in head.archive_objects] == [2, 4, 5]
    retrieve(gateway, engine, TAPE)
    assert read_all(gateway, engine) == contents


def test_what_is_written_later_goes_into_further_objects(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    contents = uploaded(gateway, engine, 2)
    archive(gateway, engine, TAPE)
    retrieve(gateway, engine, TAPE)
    before = archived_keys(store)
    contents += write(gateway, 3)
    run_until_idle(engine)
    archive(gateway, engine, TAPE)
    assert archived_keys(store)[: len(before)] == before
    assert len(archived_keys(store)) == 3
    retrieve(gateway, engine, TAPE)
    assert read_all(gateway, engine) == contents


def test_a_pass_makes_a_few_objects_only(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    uploaded(gateway, engine, 12)
    gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
    counts = []
    while gateway.tape(TAPE).status is not TapeStatus.ARCHIVED:
        assert engine.run_pass().done
        counts.append(len(archived_keys(store)))
        # What is archived is named, and is not there twice.
        left = len(list(store.list(segments_prefix(TAPE))))
        assert len(latest(gateway, store).archive_objects) == counts[-1]
        assert left == 12 - 2 * counts[-1]
    steps = [after - before for before, after in zip([0, *counts], counts, strict=False)]
    assert max(steps) <= archiving._OBJECTS_A_PASS
    assert counts[-1] == 6


def test_what_a_crash_has_left_of_another_plan_goes(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    contents = uploaded(gateway, engine, 4)
    gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
    composed = ComposedAndDead(store)
    with pytest.raises(StoreError):
        run_until_idle(
            gateway.engine(composed, archive_object_bytes=TWO_SEGMENTS, upload_workers=1)
        )  # type: ignore[arg-type]
    assert len(archived_keys(store)) == 1
    one_object = gateway.engine(store, archive_object_bytes=1 << 20)
    run_until_idle(one_object)
    assert [name.split("-")[1:3] for name in archived_keys(store)] == [["00000001", "00000004"]]
    retrieve(gateway, one_object, TAPE)
    assert read_all(gateway, one_object) == contents


class ComposedAndDead(FailNth):
    """A store that cannot be reached any more once it has composed an object."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner, 1 << 60, forever=True)

    def compose(self, *args: object, **options: object) -> object:
        self._n = 0
        return self._inner.compose(*args, **options)  # type: ignore[arg-type]


def copied_one_by_one(gateway: TransferGateway, store: MemoryStore) -> None:
    """Archive as before there were composed objects: a copy of each segment, and format 2."""
    with gateway.state.write() as db:
        tapes.transition(db, TAPE, TapeStatus.ARCHIVING, gateway.stamp)
    for record in gateway.segments(TAPE):
        options = PutOptions(storage_class=StorageClass.GLACIER)
        store.copy(object_key(record), copied_key(record), options=options)
        store.delete(object_key(record))
    with gateway.state.write() as db:
        tapes.update(db, TAPE, archived_through_sequence=gateway.segments(TAPE)[-1].sequence)
    engine = gateway.engine(store)
    point = manifests.RecoveryPoint(status=TapeStatus.ARCHIVED)
    number = manifests.put_manifest(engine._context, TAPE, point).number
    with gateway.state.write() as db:
        tapes.transition(db, TAPE, TapeStatus.ARCHIVED, gateway.stamp, manifest_number=number)


def test_a_tape_whose_segments_were_copied_one_by_one_is_read_and_goes_on(
    tmp_path: Path,
    gateway: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
) -> None:
    contents = uploaded(gateway, engine, 3)
    gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
    copied_one_by_one(gateway, store)
    assert b'"format":2,' in store.get(
        f"tapes/{TAPE}/manifests/{gateway.tape(TAPE).manifest_number:08d}.json"
    )
    copies = archived_keys(store)
    assert len(copies) == 3
    retrieve(gateway, engine, TAPE)
    assert read_all(gateway, engine) == contents
    contents += write(gateway, 3)
    run_until_idle(engine)
    archive(gateway, engine, TAPE)
    assert archived_keys(store)[:3] == copies
    assert len(archived_keys(store)) == 5
    _, machine = adopt_on(gateway, store, tmp_path / "machine")
    store._now_ms = lambda: machine.ms
    adopted = machine.engine(store)
    retrieve(machine, adopted, TAPE)
    assert read_all(machine, adopted) == contents
    adopted.close()


def test_each_way_to_look_for_a_segment_finds_the_same_place(
    gateway: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
) -> None:
    uploaded(gateway, engine, 3)
    gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
    copied_one_by_one(gateway, store)
    retrieve(gateway, engine, TAPE)
    for count in (3, 2):
        write(gateway, count)
        run_until_idle(engine)
        archive(gateway, engine, TAPE)
        retrieve(gateway, engine, TAPE)
    write(gateway, 2)
    run_until_idle(engine)
    with gateway.state.read() as db:
        found = list(locate_all(db, TAPE))
        assert [(record, locate(db, record)) for record, _ in found] == found
        assert len(found) == 10
        keys, after = [], -1
        while step := archived_after(db, gateway.tape(TAPE), after, limit=2):
            keys += [one.key for one in step]
            after = step[-1].last_sequence
    assert keys == list(dict.fromkeys(place.key for _, place in found if place.archived))
    for record, place in found:
        content = store.get(place.key, offset=place.offset, size_bytes=place.size_bytes)
        assert len(content) == record.object_bytes


def test_an_empty_machine_takes_over_in_the_middle_of_archiving(
    tmp_path: Path, gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    contents = uploaded(gateway, engine, 12)
    gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
    engine.run_pass()
    assert gateway.tape(TAPE).status is TapeStatus.ARCHIVING
    _, machine = adopt_on(gateway, store, tmp_path / "machine")
    store._now_ms = lambda: machine.ms
    adopted = machine.engine(store, archive_object_bytes=TWO_SEGMENTS, upload_workers=1)
    run_until_idle(adopted)
    assert machine.tape(TAPE).status is TapeStatus.ARCHIVED
    assert len(archived_keys(store)) == 6
    retrieve(machine, adopted, TAPE)
    assert read_all(machine, adopted) == contents
    adopted.close()


def test_a_check_tells_what_a_lost_object_has_taken_with_it(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    uploaded(gateway, engine, 5)
    archive(gateway, engine, TAPE)
    view = look(gateway.state, SETTINGS, serving=Serving(), store=store, now_ms=0, deep=False)
    assert list(store_findings(view, store)) == []
    store.delete(archive_prefix(TAPE) + archived_keys(store)[1])
    (finding,) = store_findings(view, store)
    assert finding.code is Code.STORE_OBJECT_MISSING
    assert finding.message.startswith("2 segments (3, 4)")


def test_a_manifest_of_a_later_format_is_refused_and_not_passed_over(
    gateway: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uploaded(gateway, engine, 2)
    archive(gateway, engine, TAPE)
    monkeypatch.setattr(manifest, "_KNOWN_FORMATS", (1, 2))
    with pytest.raises(StoreRefusedError, match="has format 3"):
        latest(gateway, store)


class Asked:
    """A store that writes down what it was asked of archived objects."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self.restored: list[str] = []
        self.looked_at: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., object]:
        method: Callable[..., object] = getattr(self._inner, name)

        def call(*args: object, **options: object) -> object:
            if name == "restore":
                self.restored.append(str(args[0]))
            if name == "head" and "/archive/" in str(args[0]):
                self.looked_at.append(str(args[0]))
            return method(*args, **options)

        return call


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval_module, "_OBJECTS_A_PASS", 4)
    monkeypatch.setattr(retrieval_module, "_BATCH", 2)


@pytest.mark.usefixtures("small_steps")
def test_a_retrieval_asks_for_a_few_objects_a_pass_and_goes_on_after_a_kill(
    gateway: TransferGateway, store: MemoryStore
) -> None:
    one_a_piece(gateway, store, 10)
    gateway.change_status(TAPE, TapeStatus.RETRIEVING, retrieval_tier="Bulk")
    asked: list[Sequence[str]] = []
    for _ in range(5):
        watched = Asked(store)
        # Each pass is one of a new process.
        gateway.engine(watched, upload_workers=1).run_pass()  # type: ignore[arg-type]
        asked.append(watched.restored)
    assert [len(keys) for keys in asked] == [4, 4, 2, 0, 0]
    keys = [key.removeprefix(archive_prefix(TAPE)) for one in asked for key in one]
    assert sorted(keys) == archived_keys(store)
    gateway.ms += 61_000
    looked_at = []
    while gateway.tape(TAPE).status is TapeStatus.RETRIEVING:
        watched = Asked(store)
        gateway.engine(watched, upload_workers=1).run_pass()  # type: ignore[arg-type]
        looked_at.append(len(watched.looked_at))
        assert not watched.restored
    assert looked_at == [4, 4, 2]
    until_ms = gateway.tape(TAPE).restore_until_ms
    assert until_ms is not None
    # And they are prolonged likewise.
    gateway.ms = until_ms - 1
    counts = []
    for _ in range(3):
        watched = Asked(store)
        gateway.engine(watched, upload_workers=1).run_pass()  # type: ignore[arg-type]
        counts.append(len(watched.restored))
    assert counts == [4, 4, 2]
    assert (gateway.tape(TAPE).restore_until_ms or 0) > until_ms


@pytest.mark.usefixtures("small_steps")
def test_a_retrieval_that_is_not_ready_looks_at_few_objects(
    gateway: TransferGateway, store: MemoryStore
) -> None:
    one_a_piece(gateway, store, 10)
    watched = Asked(store)
    engine = gateway.engine(watched, upload_workers=1)  # type: ignore[arg-type]
    gateway.change_status(TAPE, TapeStatus.RETRIEVING, retrieval_tier="Bulk")
    run_until_idle(engine)
    watched.looked_at.clear()
    gateway.ms += 11_000
    run_until_idle(engine)
    assert len(watched.looked_at) == 2
    engine.close()


@pytest.mark.usefixtures("small_steps")
def test_a_second_retrieval_begins_anew(gateway: TransferGateway, store: MemoryStore) -> None:
    one_a_piece(gateway, store, 6)
    engine = gateway.engine(store, upload_workers=1)
    gateway.change_status(TAPE, TapeStatus.RETRIEVING, retrieval_tier="Bulk")
    run_until_idle(engine)
    gateway.change_status(TAPE, TapeStatus.ARCHIVED)
    run_until_idle(engine)
    # All copies have come and gone meanwhile.
    gateway.ms += 30 * 86_400_000
    gateway.change_status(TAPE, TapeStatus.RETRIEVING, retrieval_tier="Bulk")
    run_until_idle(engine)
    states = {store.head(info.key).restore_state for info in store.list(archive_prefix(TAPE))}
    assert states == {RestoreState.IN_PROGRESS}
    engine.close()


def one_a_piece(gateway: TransferGateway, store: MemoryStore, count: int) -> None:
    """Archive a tape, a segment in each object."""
    engine = gateway.engine(store, archive_object_bytes=SEGMENT_BYTES)
    uploaded(gateway, engine, count)
    archive(gateway, engine, TAPE)
    assert len(archived_keys(store)) == count
    engine.close()
