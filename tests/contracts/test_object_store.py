"""What every object store promises, held against each of them."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tapectl.store import s3
from tapectl.store.directory import DirectoryStore
from tapectl.store.interface import (
    ObjectArchivedError,
    ObjectNotFoundError,
    ObjectStore,
    PreconditionFailedError,
    PutOptions,
    RestoreState,
    RetrievalTier,
    Source,
    StorageClass,
    StoreDataError,
    StoreRefusedError,
)
from tapectl.store.memory import MemoryStore
from tapectl.store.retrying import RetryingStore, RetryPolicy
from tapectl.units import MIB
from tests.support.s3_servers import S3Server, moto_server, weed_server


@dataclass
class Clock:
    """A time that only the test moves."""

    ms: int = 1_800_000_000_000

    def now_ms(self) -> int:
        return self.ms


@dataclass
class Subject:
    """A store under test, and what may be asked of it."""

    store: ObjectStore
    archives: bool = True
    clock: Clock | None = field(default_factory=Clock)
    server: S3Server | None = None
    prefix: str = ""


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with moto_server() as server:
        yield server


@pytest.fixture(scope="module")
def weed() -> Iterator[S3Server]:
    with weed_server() as server:
        yield server


@pytest.fixture(params=["memory", "directory", "retrying", "moto", "weed"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    clock = Clock()
    if request.param == "memory":
        return Subject(MemoryStore(retrieval_delay_s=60, now_ms=clock.now_ms), clock=clock)
    if request.param == "directory":
        store = DirectoryStore(tmp_path, retrieval_delay_s=60, now_ms=clock.now_ms)
        return Subject(store, clock=clock)
    if request.param == "retrying":
        inner = MemoryStore(retrieval_delay_s=60, now_ms=clock.now_ms)
        policy = RetryPolicy()
        retrying = RetryingStore(
            inner,
            policy=policy,
            sleep=lambda _: None,
            monotonic_s=lambda: 0.0,
            rng=lambda: 0.0,
        )
        return Subject(retrying, clock=clock)
    server: S3Server = request.getfixturevalue(request.param)
    prefix = request.node.name.partition("[")[0]
    store = server.store("contract", prefix)
    return Subject(store, archives=server.archives, clock=None, server=server, prefix=prefix)


@pytest.fixture
def store(subject: Subject) -> ObjectStore:
    return subject.store


def test_an_object_reads_back_whole_and_in_parts(store: ObjectStore) -> None:
    content = bytes(range(256)) * 17
    info = store.put("tapes/A/object", content)
    assert info.size_bytes == len(content)
    assert store.get("tapes/A/object") == content
    assert store.get("tapes/A/object", offset=5, size_bytes=7) == content[5:12]
    assert store.get("tapes/A/object", offset=len(content) - 3) == content[-3:]
    assert store.get("tapes/A/object", offset=10, size_bytes=len(content)) == content[10:]
    assert store.get("tapes/A/object", offset=len(content)) == b""
    assert store.get("tapes/A/object", offset=3, size_bytes=0) == b""


def test_a_file_is_put_from_where_it_stands_and_stays_open(store: ObjectStore) -> None:
    file = io.BytesIO(b"skipped|kept")
    file.seek(8)
    assert store.put("from/file", file).size_bytes == 4
    assert store.get("from/file") == b"kept"
    assert not file.closed


def test_every_kind_of_buffer_and_no_bytes_at_all(store: ObjectStore) -> None:
    store.put("kinds/bytearray", bytearray(b"one"))
    store.put("kinds/memoryview", memoryview(b"-two-")[1:4])
    store.put("kinds/empty", b"")
    assert store.get("kinds/bytearray") == b"one"
    assert store.get("kinds/memoryview") == b"two"
    assert store.get("kinds/empty") == b""
    assert store.head("kinds/empty").size_bytes == 0


def test_put_replaces_and_the_etag_tells(store: ObjectStore) -> None:
    first = store.put("object", b"first")
    second = store.put("object", b"other")
    assert store.get("object") == b"other"
    assert first.etag != second.etag
    assert store.head("object").etag == second.etag


def test_what_is_not_there(store: ObjectStore) -> None:
    with pytest.raises(ObjectNotFoundError):
        store.get("none")
    with pytest.raises(ObjectNotFoundError):
        store.get("none/at/all", offset=3, size_bytes=0)
    with pytest.raises(ObjectNotFoundError):
        store.head("none")
    with pytest.raises(ObjectNotFoundError):
        store.copy("none", "target")
    with pytest.raises(ObjectNotFoundError):
        store.restore("none", tier=RetrievalTier.STANDARD, days=1)
    store.delete("none")
    assert list(store.list("none")) == []


def test_delete_leaves_nothing(store: ObjectStore) -> None:
    store.put("gone/object", b"x", options=PutOptions(storage_class=StorageClass.GLACIER))
    store.delete("gone/object")
    with pytest.raises(ObjectNotFoundError):
        store.head("gone/object")
    store.put("gone/object", b"y")
    assert store.get("gone/object") == b"y"


def test_list_finds_what_starts_with_the_prefix(store: ObjectStore) -> None:
    keys = ["a/b/1", "a/b-c", "a/b.d", "a/b0", "a/c/2", "ab"]
    for key in reversed(keys):
        store.put(key, key.encode())
    assert sorted(info.key for info in store.list("a")) == sorted(keys)
    assert [info.key for info in store.list("a/b/")] == ["a/b/1"]
    assert sorted(info.key for info in store.list("a/b")) == sorted(keys[:4])
    assert [info.size_bytes for info in store.list("a/c/")] == [5]


def test_a_folder_of_more_than_a_page_is_listed_in_order(store: ObjectStore) -> None:
    keys = [f"many/{number:05d}" for number in range(1020)]
    for key in keys:
        store.put(key, b"")
    assert [info.key for info in store.list("many/")] == keys


def test_the_first_to_put_if_absent_wins(store: ObjectStore) -> None:
    info = store.put_if_absent("claim", b"one")
    with pytest.raises(PreconditionFailedError):
        store.put_if_absent("claim", b"two")
    assert store.get("claim") == b"one"
    assert store.head("claim").etag == info.etag


def test_of_many_at_once_one_wins(store: ObjectStore) -> None:
    winners = []
    start = threading.Barrier(6)

    def claim(number: int) -> None:
        start.wait()
        try:
            store.put_if_absent("raced", b"%d" % number)
            winners.append(b"%d" % number)
        except PreconditionFailedError:
            return

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert winners == [store.get("raced")]


def test_put_if_match_needs_the_object_it_names(store: ObjectStore) -> None:
    first = store.put("owner", b"epoch 1")
    second = store.put_if_match("owner", b"epoch 2", etag=first.etag)
    with pytest.raises(PreconditionFailedError):
        store.put_if_match("owner", b"epoch 3", etag=first.etag)
    assert store.get("owner") == b"epoch 2"
    store.put_if_match("owner", b"epoch 4", etag=second.etag)
    assert store.get("owner") == b"epoch 4"
    with pytest.raises(PreconditionFailedError):
        store.put_if_match("nobody", b"epoch 1", etag=first.etag)
    with pytest.raises(ObjectNotFoundError):
        store.head("nobody")


@pytest.mark.parametrize("archive_class", [StorageClass.GLACIER, StorageClass.DEEP_ARCHIVE])
def test_a_copy_goes_into_another_class(store: ObjectStore, archive_class: StorageClass) -> None:
    content = b"segment" * 1000
    store.put("segments/1", content)
    info = store.copy("segments/1", "archive/1", options=PutOptions(storage_class=archive_class))
    assert info.storage_class is archive_class
    assert info.size_bytes == len(content)
    assert store.head("archive/1").storage_class is archive_class
    assert [one.storage_class for one in store.list("archive/")] == [archive_class]
    store.delete("segments/1")
    assert store.head("archive/1").size_bytes == len(content)


def test_a_copy_over_an_equal_copy_is_no_error(store: ObjectStore) -> None:
    store.put("segments/2", b"content")
    for _ in range(2):
        store.copy(
            "segments/2", "archive/2", options=PutOptions(storage_class=StorageClass.GLACIER)
        )
    assert store.head("segments/2").storage_class is StorageClass.STANDARD
    assert store.get("segments/2") == b"content"


def put_sources(store: ObjectStore, sizes: Sequence[int]) -> tuple[list[Source], bytes]:
    """Put objects of these sizes; return them, and their bytes one after the other."""
    contents = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    for number, content in enumerate(contents):
        store.put(f"sources/{number}", content)
    sources = [Source(f"sources/{number}", size) for number, size in enumerate(sizes)]
    return sources, b"".join(contents)


@pytest.mark.parametrize(
    "sizes",
    [
        [3],
        [0],
        [5, 0, 7],
        [6 * MIB],
        [5 * MIB, 100, 7 * MIB, 1],
        [1, 4 * MIB, 6 * MIB, 2 * MIB, 0, 3 * MIB],
    ],
)
def test_one_object_is_made_of_many(store: ObjectStore, sizes: list[int]) -> None:
    sources, content = put_sources(store, sizes)
    options = PutOptions(storage_class=StorageClass.DEEP_ARCHIVE)
    info = store.compose(sources, "composed/cold", options=options)
    assert (info.size_bytes, info.storage_class) == (len(content), StorageClass.DEEP_ARCHIVE)
    assert [one.storage_class for one in store.list("composed/")] == [StorageClass.DEEP_ARCHIVE]
    store.compose(sources, "warm")
    store.compose(sources, "warm")  # over an equal one
    for source in sources:
        store.delete(source.key)
    assert store.get("warm") == content
    assert store.head("warm").storage_class is StorageClass.STANDARD
    if len(content) > 2 * MIB:
        assert store.get("warm", offset=MIB, size_bytes=MIB) == content[MIB : 2 * MIB]


def test_an_object_is_made_of_what_was_asked_for_or_not_at_all(subject: Subject) -> None:
    store = subject.store
    sources, _ = put_sources(store, [5 * MIB, 10])
    store.put("kept", b"as it was")
    with pytest.raises(ObjectNotFoundError):
        store.compose([*sources, Source("none", 3)], "kept")
    for wrong in (9, 11):
        with pytest.raises(StoreDataError):
            store.compose([sources[0], Source("sources/1", wrong)], "kept")
    if subject.server is None:  # moto copies parts of archived objects
        cold = PutOptions(storage_class=StorageClass.GLACIER)
        store.put("sources/1", b"0123456789", options=cold)
        with pytest.raises(ObjectArchivedError):
            store.compose(sources, "kept")
    assert store.get("kept") == b"as it was"


def test_an_upload_that_was_cut_off_is_removed_by_the_next(subject: Subject) -> None:
    if subject.server is None:
        pytest.skip("only buckets have uploads in parts")
    client = subject.server.client()
    sources, content = put_sources(subject.store, [5 * MIB, 10])
    upload = {"Bucket": "contract", "Key": f"{subject.prefix}/composed"}
    begun = client.create_multipart_upload(**upload)
    client.upload_part(**upload, UploadId=begun["UploadId"], PartNumber=1, Body=b"x" * 100)
    subject.store.compose(sources, "composed")
    assert subject.store.get("composed") == content
    left = client.list_multipart_uploads(Bucket="contract", Prefix=f"{subject.prefix}/")
    assert not left.get("Uploads")


@pytest.mark.parametrize("copy_bytes_max", [s3.COPY_BYTES_MAX, 5 * MIB])
def test_a_copy_onto_itself_goes_into_another_class(
    subject: Subject, copy_bytes_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "COPY_BYTES_MAX", copy_bytes_max)
    store, content = subject.store, b"content" * MIB
    store.put("moved", content, options=PutOptions(storage_class=StorageClass.GLACIER))
    store.restore("moved", tier=RetrievalTier.BULK, days=1)
    if subject.clock is not None:
        subject.clock.ms += 60_000
    deep = PutOptions(storage_class=StorageClass.DEEP_ARCHIVE)
    assert store.copy("moved", "moved", options=deep).storage_class is StorageClass.DEEP_ARCHIVE
    info = store.head("moved")
    assert (info.storage_class, info.size_bytes) == (
        StorageClass.DEEP_ARCHIVE,
        len(content),
    )
    if subject.archives:
        assert info.restore_state is RestoreState.ARCHIVED


def test_an_archived_object_reads_after_its_restore(subject: Subject) -> None:
    store = subject.store
    store.put("cold", b"frozen", options=PutOptions(storage_class=StorageClass.GLACIER))
    if subject.archives:
        assert store.head("cold").restore_state is RestoreState.ARCHIVED
        with pytest.raises(ObjectArchivedError):
            store.get("cold")
        with pytest.raises(ObjectArchivedError):
            store.copy("cold", "warm")
    state = store.restore("cold", tier=RetrievalTier.BULK, days=3)
    if subject.clock is not None:
        assert state is RestoreState.IN_PROGRESS
        assert store.restore("cold", tier=RetrievalTier.BULK, days=3) is state
        with pytest.raises(ObjectArchivedError):
            store.get("cold")
        subject.clock.ms += 60_000
    state = store.head("cold").restore_state
    assert state is (RestoreState.RESTORED if subject.archives else RestoreState.READABLE)
    assert store.get("cold") == b"frozen"
    assert store.get("cold", offset=2, size_bytes=2) == b"oz"


def test_a_restore_ends_and_can_be_prolonged(subject: Subject) -> None:
    store = subject.store
    store.put("lent", b"frozen", options=PutOptions(storage_class=StorageClass.DEEP_ARCHIVE))
    store.restore("lent", tier=RetrievalTier.STANDARD, days=1)
    if subject.clock is None:
        until_ms = store.head("lent").restored_until_ms
        store.restore("lent", tier=RetrievalTier.STANDARD, days=9)
        prolonged_ms = store.head("lent").restored_until_ms
        assert until_ms is None or (prolonged_ms is not None and prolonged_ms > until_ms)
        return
    subject.clock.ms += 60_000
    until_ms = store.head("lent").restored_until_ms
    assert until_ms == subject.clock.ms + 86_400_000
    store.restore("lent", tier=RetrievalTier.STANDARD, days=5)
    subject.clock.ms = until_ms + 1
    assert store.get("lent") == b"frozen"
    subject.clock.ms += 5 * 86_400_000
    assert store.head("lent").restore_state is RestoreState.ARCHIVED
    with pytest.raises(ObjectArchivedError):
        store.get("lent")


def test_what_is_not_archived_needs_no_restore(store: ObjectStore) -> None:
    store.put("warm", b"x")
    state = store.restore("warm", tier=RetrievalTier.STANDARD, days=1)
    assert state is RestoreState.READABLE


def test_a_put_takes_an_object_out_of_the_archive(store: ObjectStore) -> None:
    store.put("again", b"cold", options=PutOptions(storage_class=StorageClass.GLACIER))
    store.put("again", b"warm")
    assert store.get("again") == b"warm"
    assert store.head("again").storage_class is StorageClass.STANDARD


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", ".hidden", "a b", "ä"])
def test_keys_that_no_store_takes(store: ObjectStore, key: str) -> None:
    with pytest.raises(StoreRefusedError):
        store.put(key, b"x")
    with pytest.raises(StoreRefusedError):
        store.get(key)


def test_check_writes_nothing(store: ObjectStore) -> None:
    store.check()
    assert list(store.list("")) == []


def test_a_put_that_ends_leaves_nothing_unfinished(store: ObjectStore) -> None:
    store.put("tapes/A/whole", b"whole")
    assert list(store.unfinished_puts("tapes/")) == []
    store.abandon_put("tapes/A/whole")
    assert store.get("tapes/A/whole") == b"whole"
