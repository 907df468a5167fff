"""Retention, encryption and tags of objects: what every store promises, and what servers enforce.

The servers here are asked in a bucket with Object Lock, and once in one without.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tapectl.store.directory import DirectoryStore
from tapectl.store.interface import (
    Encryption,
    ObjectLockedError,
    ObjectNotFoundError,
    ObjectStore,
    PutOptions,
    Retention,
    RetentionMode,
    RetrievalTier,
    Source,
    SSEAlgorithm,
    StorageClass,
    StoreError,
    StoreRefusedError,
)
from tapectl.store.memory import MemoryStore
from tests.support.s3_servers import S3Server, moto_server, weed_server

LOCKED, PLAIN = "locked", "unlocked"
# Real servers know only real time; a lock of a test lasts this long.
SHORT_MS = 2_000
SSE = [Encryption(SSEAlgorithm.AES256), Encryption(SSEAlgorithm.AWS_KMS, "alias/tapes")]
GLACIER = PutOptions(storage_class=StorageClass.GLACIER)


@dataclass
class Subject:
    """A store, its time, what lets time pass, and the server behind it."""

    store: ObjectStore
    now_ms: Callable[[], int]
    wait_ms: Callable[[int], None]
    server: S3Server | None = None
    prefix: str = ""

    def lock(self, key: str, mode: RetentionMode = RetentionMode.GOVERNANCE) -> Retention:
        """Lock an object for an hour."""
        retention = Retention(mode, (self.now_ms() // 1000 + 3600) * 1000)
        self.store.lock(key, retention)
        return retention

    def versions(self, key: str) -> int:
        """Return how many versions and delete markers the bucket has of an object."""
        assert self.server is not None
        answer = self.server.client().list_object_versions(
            Bucket=LOCKED, Prefix=f"{self.prefix}/{key}"
        )
        return len(answer.get("Versions", ())) + len(answer.get("DeleteMarkers", ()))


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with moto_server() as server:
        server.create_lock_bucket(LOCKED)
        yield server


@pytest.fixture(scope="module")
def weed() -> Iterator[S3Server]:
    with weed_server() as server:
        server.create_lock_bucket(LOCKED)
        yield server


def real_ms() -> int:
    return time.time_ns() // 1_000_000


def sleep_ms(ms: int) -> None:
    time.sleep(ms / 1000)


@pytest.fixture(params=["memory", "directory", "moto", "weed"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    clock = [1_800_000_000_000]

    def now_ms() -> int:
        return clock[0]

    def wait_ms(ms: int) -> None:
        clock[0] += ms

    if request.param == "memory":
        return Subject(MemoryStore(now_ms=now_ms), now_ms, wait_ms)
    if request.param == "directory":
        return Subject(DirectoryStore(tmp_path, now_ms=now_ms), now_ms, wait_ms)
    server: S3Server = request.getfixturevalue(request.param)
    prefix = request.node.name.replace("[", "-").rstrip("]")
    return Subject(server.store(LOCKED, prefix), real_ms, sleep_ms, server, prefix)


@pytest.fixture
def store(subject: Subject) -> ObjectStore:
    return subject.store


def test_locks_can_be_had(store: ObjectStore) -> None:
    store.check_locks()


@pytest.mark.parametrize("mode", list(RetentionMode))
def test_a_locked_object_is_not_deleted(subject: Subject, mode: RetentionMode) -> None:
    store = subject.store
    store.put("tape/archive/1", b"kept", options=GLACIER)
    assert store.head("tape/archive/1").retention is None
    retention = subject.lock("tape/archive/1", mode)
    assert store.head("tape/archive/1").retention == retention
    with pytest.raises(ObjectLockedError, match="locked until"):
        store.delete("tape/archive/1")
    assert store.head("tape/archive/1").size_bytes == 4
    if mode is RetentionMode.COMPLIANCE:
        with pytest.raises(ObjectLockedError):
            store.delete("tape/archive/1", bypass_governance=True)
        assert store.head("tape/archive/1").retention == retention
    else:
        store.delete("tape/archive/1", bypass_governance=True)
        with pytest.raises(ObjectNotFoundError):
            store.head("tape/archive/1")


def test_a_lock_ends(subject: Subject) -> None:
    store = subject.store
    store.put("lent", b"kept")
    store.lock("lent", Retention(RetentionMode.COMPLIANCE, subject.now_ms() + SHORT_MS))
    with pytest.raises(ObjectLockedError):
        store.delete("lent")
    subject.wait_ms(SHORT_MS + 1_000)
    store.delete("lent")
    with pytest.raises(ObjectNotFoundError):
        store.head("lent")


@pytest.mark.parametrize("mode", list(RetentionMode))
def test_a_lock_grows_and_does_not_shrink(subject: Subject, mode: RetentionMode) -> None:
    if mode is RetentionMode.COMPLIANCE and is_moto(subject):
        pytest.skip("moto shortens a COMPLIANCE retention; S3 and SeaweedFS do not")
    if is_moto(subject):
        pytest.skip("moto shortens a retention without the bypass")
    store = subject.store
    store.put("held", b"kept")
    held = subject.lock("held", mode)
    store.lock("held", held)
    longer = Retention(mode, held.until_ms + 86_400_000)
    store.lock("held", longer)
    with pytest.raises(ObjectLockedError):
        store.lock("held", held)
    assert store.head("held").retention == longer
    if mode is RetentionMode.GOVERNANCE:
        store.lock("held", held, bypass_governance=True)
        assert store.head("held").retention == held


def test_a_governance_lock_can_be_lifted(subject: Subject) -> None:
    store = subject.store
    store.put("lifted", b"x")
    subject.lock("lifted")
    if not is_moto(subject):  # it takes a retention away without the bypass
        with pytest.raises(ObjectLockedError):
            store.lock("lifted", None)
    store.lock("lifted", None, bypass_governance=True)
    # SeaweedFS takes none away: it ends soon instead.
    subject.wait_ms(SHORT_MS + 1_000 if is_weed(subject) else 0)
    store.delete("lifted")
    with pytest.raises(ObjectNotFoundError):
        store.head("lifted")


def test_a_copy_onto_itself_leaves_no_older_version(subject: Subject) -> None:
    store = subject.store
    store.put("moved", b"content", options=GLACIER)
    store.restore("moved", tier=RetrievalTier.BULK, days=1)
    store.copy("moved", "moved", options=PutOptions(storage_class=StorageClass.DEEP_ARCHIVE))
    info = store.head("moved")
    assert (info.storage_class, info.retention) == (StorageClass.DEEP_ARCHIVE, None)
    if subject.server is not None:
        assert subject.versions("moved") == 1


def test_what_is_not_there_is_not_locked(subject: Subject) -> None:
    # moto answers 500.
    with pytest.raises(StoreError if is_moto(subject) else ObjectNotFoundError):
        subject.lock("nobody")


def test_a_put_does_not_destroy_what_is_locked(subject: Subject) -> None:
    store = subject.store
    store.put("stays", b"first")
    subject.lock("stays")
    if subject.server is None:
        with pytest.raises(ObjectLockedError):
            store.put("stays", b"other")
        store.put("source", b"other")
        with pytest.raises(ObjectLockedError):
            store.copy("source", "stays")
        with pytest.raises(ObjectLockedError):
            store.compose([Source("source", 5)], "stays")
        assert store.get("stays") == b"first"
    else:
        store.put("stays", b"other")
        assert subject.versions("stays") == 2
    with pytest.raises(ObjectLockedError):
        store.delete("stays")
    # What readers see is what it was.
    assert store.get("stays") == (b"first" if subject.server is None else b"other")


def test_ownership_changes_under_a_lock(subject: Subject) -> None:
    store = subject.store
    first = store.put_if_absent("owner", b"epoch 1")
    subject.lock("owner")
    store.put_if_match("owner", b"epoch 2", etag=first.etag)
    assert store.get("owner") == b"epoch 2"
    with pytest.raises(ObjectLockedError):
        store.delete("owner")
    assert store.get("owner") == b"epoch 2"


def test_a_delete_leaves_no_versions(subject: Subject) -> None:
    if subject.server is None:
        pytest.skip("only buckets have versions")
    store = subject.store
    for content in (b"one", b"two"):
        store.put("again", content)
    store.put("again-too", b"another object")
    subject.server.client().delete_object(Bucket=LOCKED, Key=f"{subject.prefix}/again")
    assert subject.versions("again") == 4
    store.delete("again")
    assert subject.versions("again") == 1
    assert store.get("again-too") == b"another object"


def test_a_bucket_without_object_lock_says_so(subject: Subject) -> None:
    if subject.server is None:
        pytest.skip("these can always lock")
    store = subject.server.store(PLAIN)
    with pytest.raises(StoreRefusedError, match="cannot lock") as refused:
        store.check_locks()
    assert "Object Lock" in (refused.value.hint or "")
    store.put("open", b"x")
    with pytest.raises(StoreRefusedError):
        store.lock("open", Retention(RetentionMode.GOVERNANCE, subject.now_ms() + 60_000))
    store.delete("open")
    with pytest.raises(ObjectNotFoundError):
        store.head("open")


@pytest.mark.parametrize("encryption", SSE, ids=lambda one: one.algorithm.name)
def test_what_is_to_be_encrypted_is(subject: Subject, encryption: Encryption) -> None:
    store = subject.store
    options = PutOptions(encryption=encryption, storage_class=StorageClass.GLACIER)
    if isinstance(store, DirectoryStore):
        with pytest.raises(StoreRefusedError, match="does not encrypt"):
            store.put("secret", b"x", options=options)
        return
    if is_weed(subject) and encryption.algorithm is SSEAlgorithm.AWS_KMS:
        pytest.skip("SeaweedFS needs a key management service")
    store.put("plain", b"content")
    store.put("secret", b"content", options=PutOptions(encryption=encryption))
    store.copy("plain", "copied", options=options)
    store.compose([Source("plain", 7), Source("secret", 7)], "composed", options=options)
    store.put_if_absent("owned", b"1", options=PutOptions(encryption=encryption))
    etag = store.head("owned").etag
    store.put_if_match("owned", b"2", etag=etag, options=PutOptions(encryption=encryption))
    for key in ("secret", "copied", "composed", "owned"):
        found = store.head(key).encryption
        assert found is not None
        assert found.algorithm is encryption.algorithm
        if encryption.kms_key is not None:
            assert found.kms_key == encryption.kms_key
    assert store.get("secret") == b"content"


def test_tags_go_onto_objects(subject: Subject) -> None:
    store = subject.store
    tags = (("cost centre", "a+b=c/d"), ("owner", "jo@example.org"))
    store.put("tagged", b"x", options=PutOptions(tags=tags))
    store.copy("tagged", "copied", options=PutOptions(tags=tags[:1]))
    store.compose([Source("tagged", 1)] * 2, "composed", options=PutOptions(tags=tags[1:]))
    if subject.server is not None:
        assert tags_of(subject, "tagged") == dict(tags)
        assert tags_of(subject, "copied") == dict(tags[:1])
        assert tags_of(subject, "composed") == dict(tags[1:])


def tags_of(subject: Subject, key: str) -> dict[str, Any]:
    assert subject.server is not None
    answer = subject.server.client().get_object_tagging(
        Bucket=LOCKED, Key=f"{subject.prefix}/{key}"
    )
    return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}


def is_moto(subject: Subject) -> bool:
    return subject.server is not None and subject.server.archives


def is_weed(subject: Subject) -> bool:
    return subject.server is not None and not subject.server.archives
