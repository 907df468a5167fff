"""Opening the state file, its transactions, and every way the file can be bad."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from tapectl.errors import ExitCode, TapectlError
from tapectl.state import gateways, migrations
from tapectl.state.database import State
from tapectl.state.errors import (
    NotActivatedError,
    StateAccessError,
    StateCorruptError,
    StateNewerError,
)
from tests.support.closing import closed_at_end


def test_a_missing_file_means_not_activated(state_path: Path) -> None:
    with pytest.raises(NotActivatedError) as caught:
        State.open(state_path)
    assert caught.value.exit_code == ExitCode.NOT_ACTIVATED
    assert str(state_path) in caught.value.message
    assert not state_path.exists()


def test_only_the_owner_can_read_it(state: State, state_path: Path) -> None:
    with state.write() as db:
        gateways.set_setting(db, "a", "b")
    for path in state_path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_state_file_of_a_newer_version_is_left_alone(state: State, state_path: Path) -> None:
    newer = len(migrations.MIGRATIONS) + 1
    with state.write() as db:
        db.execute(f"PRAGMA user_version = {newer}")
    state.close()
    with pytest.raises(StateNewerError, match=str(newer)) as caught:
        State.open(state_path)
    assert caught.value.exit_code == ExitCode.STATE_NEWER


@pytest.mark.parametrize(
    "content", [b"not a database" * 1000, b"SQLite format 3\0" + b"\xff" * 8000, b"x"]
)
def test_a_corrupt_state_file_is_named_and_kept(state_path: Path, content: bytes) -> None:
    state_path.write_bytes(content)
    with pytest.raises(StateCorruptError) as caught:
        State.open(state_path)
    assert caught.value.exit_code == ExitCode.STATE_CORRUPT
    assert state_path.read_bytes() == content


def test_damage_within_the_file_is_found_when_it_is_read(state: State, state_path: Path) -> None:
    with state.write() as db:
        for number in range(2000):
            gateways.set_setting(db, f"key {number}", "x" * 100)
    state.close()
    content = bytearray(state_path.read_bytes())
    page_bytes = 4096
    content[page_bytes * 10 :] = b"\xa5" * (len(content) - page_bytes * 10)
    state_path.write_bytes(content)
    with pytest.raises(StateCorruptError), State.open(state_path).read() as db:
        db.execute("SELECT count(*), max(value) FROM setting WHERE value <> ''").fetchall()


@pytest.mark.parametrize("content", [b"", None])
def test_a_database_of_something_else_is_refused(state_path: Path, content: bytes | None) -> None:
    if content is None:
        with sqlite3.connect(state_path) as db:
            db.execute("CREATE TABLE theirs (a)")
        db.close()
    else:
        state_path.write_bytes(content)
    with pytest.raises(StateCorruptError, match="no state file of tapectl"):
        State.open(state_path)


def test_a_directory_in_its_place_is_an_access_error(state_path: Path) -> None:
    state_path.mkdir()
    with pytest.raises(StateAccessError):
        State.open(state_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_of_someone_else_is_an_access_error(state: State, state_path: Path) -> None:
    state.close()
    state_path.chmod(0)
    with pytest.raises(StateAccessError, match="permission denied") as caught:
        State.open(state_path)
    assert caught.value.exit_code == ExitCode.STATE_ACCESS


def test_a_path_below_a_file_is_an_access_error_at_creation(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateAccessError):
        State.create(tmp_path / "file" / "tapectl.db")


def test_a_failed_creation_leaves_nothing(state_path: Path) -> None:
    def fail(db: sqlite3.Connection) -> None:
        gateways.set_setting(db, "half", "done")
        raise TapectlError("no")

    with pytest.raises(TapectlError, match="no"):
        State.create(state_path, fail)
    assert list(state_path.parent.iterdir()) == []


def test_creation_never_replaces_a_state_file(state: State, state_path: Path) -> None:
    with state.write() as db:
        gateways.set_setting(db, "mine", "1")
    with pytest.raises(FileExistsError):
        State.create(state_path)
    with state.read() as db:
        assert gateways.get_setting(db, "mine") == "1"
    assert not [name for name in os.listdir(state_path.parent) if name.startswith(".")]


def test_of_many_that_create_at_once_one_wins(state_path: Path) -> None:
    outcomes: list[str] = []

    def create() -> None:
        try:
            State.create(state_path).close()
            outcomes.append("made")
        except FileExistsError:
            outcomes.append("exists")

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["exists"] * 7 + ["made"]
    State.open(state_path).close()


def test_an_exception_undoes_the_whole_write(state: State) -> None:
    def interrupted() -> None:
        with state.write() as db:
            gateways.set_setting(db, "a", "1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with state.read() as db:
        assert gateways.get_setting(db, "a") is None
    with state.write() as db:
        gateways.set_setting(db, "a", "2")


def test_a_read_sees_one_snapshot_while_others_write(state: State, state_path: Path) -> None:
    other = closed_at_end(State.open(state_path))
    with state.read() as db:
        assert gateways.get_setting(db, "a") is None
        with other.write() as other_db:
            gateways.set_setting(other_db, "a", "1")
        assert gateways.get_setting(db, "a") is None
    with state.read() as db:
        assert gateways.get_setting(db, "a") == "1"


def test_a_read_within_a_write_sees_what_was_written(state: State) -> None:
    with state.write() as db:
        gateways.set_setting(db, "a", "1")
        with state.read() as inner:
            assert gateways.get_setting(inner, "a") == "1"
        # The inner read has not ended the transaction.
        assert db.in_transaction


def test_a_write_within_a_read_is_a_bug(state: State) -> None:
    with state.read(), pytest.raises(RuntimeError), state.write():
        raise AssertionError("not reached")


def test_each_thread_has_its_own_transaction(state: State) -> None:
    entered, leave = threading.Event(), threading.Event()

    def read() -> None:
        with state.read():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=read)
    thread.start()
    assert entered.wait(10)
    with state.write() as db:
        gateways.set_setting(db, "a", "1")
    leave.set()
    thread.join()


def test_a_lock_that_sqlite_reports_at_once_is_waited_for(
    state: State, state_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No busy timeout at all: every collision comes back as SQLITE_BUSY.
    monkeypatch.setattr("tapectl.state.database.BUSY_TIMEOUT_S", 0.0)
    monkeypatch.setattr("tapectl.state.database.BUSY_PAUSE_S", 0.001)
    impatient = closed_at_end(State.open(state_path))
    started, release = threading.Event(), threading.Event()

    def hold() -> None:
        with state.write():
            started.set()
            release.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    assert started.wait(10)
    timer = threading.Timer(0.05, release.set)
    timer.start()
    with impatient.write() as db:
        gateways.set_setting(db, "a", "1")
    holder.join()
    timer.join()


def test_a_lock_that_never_goes_is_told_in_our_words(
    state: State, state_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapectl.state.database.BUSY_TIMEOUT_S", 0.0)
    monkeypatch.setattr("tapectl.state.database.BUSY_LIMIT_S", 0.0)
    monkeypatch.setattr("tapectl.state.database.BUSY_PAUSE_S", 0.001)
    other = closed_at_end(State.open(state_path))
    with state.write(), pytest.raises(TapectlError) as caught, other.write():
        raise AssertionError("not reached")
    assert caught.value.exit_code == ExitCode.STATE_BUSY
    assert "locked" not in str(caught.value)


def test_threads_that_ended_hold_no_descriptors(state: State) -> None:
    def look() -> None:
        with state.read() as db:
            db.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    look()
    before = descriptors()
    for _ in range(50):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    # SQLite closes what it can when it next opens the file.
    assert descriptors() <= before + 4
