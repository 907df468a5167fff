"""What only a directory store can get wrong: files, crashes between two, and permissions."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tapectl.store import directory, durable_files
from tapectl.store.directory import DirectoryStore
from tapectl.store.interface import (
    BucketNotFoundError,
    ObjectNotFoundError,
    PutOptions,
    RestoreState,
    Source,
    StorageClass,
    StoreDeniedError,
    StoreError,
)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path, now_ms=lambda: 0)


def test_objects_are_files_that_people_can_find(tmp_path: Path, store: DirectoryStore) -> None:
    store.put("tapes/A/tape.json", b"{}")
    assert (tmp_path / "tapes/A/tape.json").read_bytes() == b"{}"
    assert [info.key for info in store.list("")] == ["tapes/A/tape.json"]


def test_a_root_that_is_missing_is_not_made(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "unmounted", now_ms=lambda: 0)
    for call in (store.check, lambda: store.put("a", b""), lambda: list(store.list(""))):
        with pytest.raises(BucketNotFoundError, match="unmounted"):
            call()
    for call in (lambda: store.get("a"), lambda: store.head("a")):
        with pytest.raises(BucketNotFoundError):
            call()
    assert not (tmp_path / "unmounted").exists()


def test_what_ails_a_root_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BucketNotFoundError, match="not a directory") as caught:
        DirectoryStore(tmp_path / "file", now_ms=lambda: 0).check()
    assert caught.value.hint
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StoreDeniedError) as denied:
        DirectoryStore(tmp_path, now_ms=lambda: 0).check()
    assert denied.value.hint


def test_a_copy_takes_no_room(tmp_path: Path, store: DirectoryStore) -> None:
    store.put("a", b"x" * 100_000)
    store.copy("a", "b", options=PutOptions(storage_class=StorageClass.GLACIER))
    assert (tmp_path / "a").stat().st_ino == (tmp_path / "b").stat().st_ino
    store.put("a", b"changed")
    store.restore("b", tier=directory.RetrievalTier.BULK, days=1)
    assert store.get("b") == b"x" * 100_000


def test_a_folder_whose_flush_failed_is_flushed_before_a_put_succeeds(
    tmp_path: Path, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[Path] = []
    failing = [tmp_path / "tapes"]

    def failing_once(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path in failing:
            failing.remove(path)
            raise OSError(errno.EIO, "flush")
        flushed.append(path)

    monkeypatch.setattr(os, "fsync", failing_once)
    with pytest.raises(StoreError):
        store.put("tapes/A/1", b"one")
    assert (tmp_path / "tapes/A").is_dir()
    store.put("tapes/A/1", b"one")
    assert tmp_path / "tapes" in flushed
    flushed.clear()
    store.put("tapes/A/2", b"two")
    assert tmp_path / "tapes" not in flushed
    # Another process cannot know how far the first one came.
    DirectoryStore(tmp_path, now_ms=lambda: 0).put("tapes/A/3", b"three")
    assert tmp_path / "tapes" in flushed


def test_what_dead_processes_left_half_written_goes(
    tmp_path: Path, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("a", b"whole")
    left = tmp_path / ".tapectl-store/tmp/1-1-1"
    left.write_bytes(b"half")
    DirectoryStore(tmp_path, now_ms=lambda: 0).put("b", b"another")
    assert left.exists()  # it may be under way
    monkeypatch.setattr(durable_files, "ABANDONED_S", -60)
    DirectoryStore(tmp_path, now_ms=lambda: 0).put("b", b"another")
    assert not left.exists()
    assert store.get("b") == b"another"


def test_what_is_listed_is_durable(
    tmp_path: Path, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("tapes/A/1", b"one")
    flushed: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    )
    assert [info.key for info in store.list("tapes/A/")] == ["tapes/A/1"]
    assert flushed == [str(tmp_path / "tapes/A")]


def test_a_crash_before_the_rename_leaves_the_old_object(
    tmp_path: Path, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("key", b"old")

    def crash(source: Path, destination: Path) -> None:
        if destination == tmp_path / "key":
            raise OSError(errno.EIO, "cut off")
        os.replace(source, destination)

    with monkeypatch.context() as patch:
        patch.setattr(directory, "rename_durably", crash)
        with pytest.raises(StoreError):
            store.put("key", b"new", options=PutOptions(storage_class=StorageClass.GLACIER))
    assert store.get("key") == b"old"
    assert store.head("key").restore_state is RestoreState.READABLE
    assert list((tmp_path / ".tapectl-store/tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("number", "expected", "retryable"),
    [
        (errno.EACCES, StoreDeniedError, False),
        (errno.EROFS, StoreDeniedError, False),
        (errno.ENOSPC, StoreError, True),
        (errno.EIO, StoreError, True),
        (errno.ENOENT, ObjectNotFoundError, False),
    ],
)
def test_what_the_system_says(
    store: DirectoryStore,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    expected: type[StoreError],
    retryable: bool,
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(directory, "rename_durably", fail)
    with pytest.raises(StoreError) as caught:
        store.put("key", b"x")
    assert type(caught.value) is expected
    assert caught.value.retryable is retryable


def test_a_restore_survives_the_process(tmp_path: Path) -> None:
    now = [0]
    before = DirectoryStore(tmp_path, retrieval_delay_s=5, now_ms=lambda: now[0])
    before.put("cold", b"frozen", options=PutOptions(storage_class=StorageClass.GLACIER))
    before.restore("cold", tier=directory.RetrievalTier.STANDARD, days=1)
    now[0] = 5000
    after = DirectoryStore(tmp_path, retrieval_delay_s=5, now_ms=lambda: now[0])
    assert after.get("cold") == b"frozen"


@pytest.mark.parametrize(
    ("umask", "folder_mode", "file_mode"), [(0, 0o770, 0o660), (0o77, 0o700, 0o600)]
)
def test_others_read_no_tapes(
    tmp_path: Path, store: DirectoryStore, umask: int, folder_mode: int, file_mode: int
) -> None:
    before = os.umask(umask)
    try:
        store.put("tapes/A/segments/1", b"data")
        store.compose([Source("tapes/A/segments/1", 4)], "tapes/A/archive/1")
    finally:
        os.umask(before)
    for folder in ("tapes", "tapes/A", "tapes/A/segments", "tapes/A/archive"):
        assert (tmp_path / folder).stat().st_mode & 0o777 == folder_mode
    for name in ("tapes/A/segments/1", "tapes/A/archive/1"):
        assert (tmp_path / name).stat().st_mode & 0o777 == file_mode
