"""What is on a tape goes to files and comes from them, without a server and without a drive."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tapectl.errors import ExitCode
from tapectl.gateway.tape_use import TapeInUseError, TapeUse
from tests.support.eviction import evict

Active = Callable[..., int]
SOURCE, COPY = "VTL001L5", "VTL002L5"


@pytest.fixture
def tapes(active: Active, capfdbinary: pytest.CaptureFixture[bytes]) -> Active:
    """Return what runs a command on a gateway with two blank tapes."""
    for barcode in (SOURCE, COPY):
        words = ("--size", "100GiB", "--barcode", barcode, "--to-slots", "--wait")
        assert active("tape", "create", *words) == 0
    capfdbinary.readouterr()
    return active


@pytest.fixture
def content(tmp_path: Path) -> Path:
    path = tmp_path / "backup.tar"
    path.write_bytes(os.urandom(1_000_003))
    return path


def test_a_file_comes_back_from_the_tape(
    tapes: Active, content: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert tapes("tape", "import", SOURCE, str(content), "--format", "raw") == 0
    capfdbinary.readouterr()
    assert tapes("tape", "cat", SOURCE) == 0
    assert capfdbinary.readouterr().out == content.read_bytes()
    assert tapes("tape", "cat", SOURCE, "1") == ExitCode.ELEMENT


def test_a_verification_says_what_it_cannot_read(
    tapes: Active, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert tapes("tape", "verify", SOURCE) == 0
    assert b"warning: " not in capfdbinary.readouterr().err
    assert tapes("tape", "load", SOURCE) == 0
    capfdbinary.readouterr()
    assert tapes("tape", "verify", SOURCE, COPY) == 0
    assert b"warning: VTL001L5 is in a drive" in capfdbinary.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_import_that_is_told_to_end_leaves_the_tape_blank(
    tapes: Active, content: Path, number: signal.Signals
) -> None:
    words = ("tape", "import", SOURCE, "--format", "raw")
    with subprocess.Popen(
        [sys.executable, "-m", "tapectl.cli.app", *words, "-"], stdin=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        process.stdin.write(os.urandom(4 << 20))  # more than a pipe holds: it is being written
        process.stdin.flush()
        process.send_signal(number)
        assert process.wait() == 128 + number
    assert tapes(*words, str(content)) == 0


def test_whoever_reads_a_tape_so_is_told(
    tapes: Active,
    content: Path,
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def events() -> list[dict[str, Any]]:
        capfdbinary.readouterr()
        assert tapes("events", "--type", "TapeDataRead", "--output", "json") == 0
        found: list[dict[str, Any]] = json.loads(capfdbinary.readouterr().out)
        return found

    assert tapes("tape", "import", SOURCE, str(content), "--format", "raw") == 0
    assert events() == []
    monkeypatch.chdir(tmp_path)
    assert tapes("tape", "cat", SOURCE) == 0
    assert tapes("tape", "export", SOURCE, "copy.tap") == 0
    assert tapes("tape", "cat", "NOSUCH01") == ExitCode.TAPE_NOT_FOUND
    told = events()
    assert {(one["Subject"], one["Actor"].partition(":")[0]) for one in told} == {(SOURCE, "cli")}
    assert [one["Detail"] for one in told] == [
        {"command": "tape cat", "to": "-"},
        {"command": "tape export", "to": str(tmp_path / "copy.tap")},
    ]


@pytest.mark.parametrize("suffix", ["tap", "aws"])
def test_an_image_makes_the_same_tape_again(
    tapes: Active, content: Path, tmp_path: Path, suffix: str
) -> None:
    first, second = tmp_path / f"first.{suffix}", tmp_path / f"second.{suffix}"
    words = ("--format", "raw", "--block-size", "100000")
    assert tapes("tape", "import", SOURCE, str(content), *words) == 0
    assert tapes("tape", "export", SOURCE, str(first)) == 0
    assert tapes("tape", "import", COPY, str(first)) == 0
    assert tapes("tape", "export", COPY, str(second)) == 0
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size > content.stat().st_size
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_half_an_image_leaves_the_tape_blank(
    tapes: Active, content: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    image, half = tmp_path / "image.tap", tmp_path / "half.tap"
    assert tapes("tape", "import", SOURCE, str(content), "--format", "raw") == 0
    assert tapes("tape", "export", SOURCE, str(image)) == 0
    half.write_bytes(image.read_bytes()[:500_000])
    capfdbinary.readouterr()
    assert tapes("tape", "import", COPY, str(half)) == ExitCode.TAPE_INVALID
    assert b"only a part of an image" in capfdbinary.readouterr().err
    assert tapes("tape", "cat", COPY) == 0
    assert capfdbinary.readouterr().out == b""
    assert tapes("tape", "import", COPY, str(image)) == 0


def test_a_damaged_index_is_told_in_a_line(
    tapes: Active,
    content: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    monkeypatch.setattr("tapectl.gateway.transfer.fetching._DOUBT_S", 0.0)
    assert tapes("tape", "import", SOURCE, str(content), "--format", "raw") == 0
    assert tapes("sync") == 0
    evict(tmp_path / "state" / "tapectl.db", SOURCE)
    for path in (tmp_path / "store").rglob("segments/*"):
        if path.is_file():
            path.write_bytes(bytes(path.stat().st_size))
    capfdbinary.readouterr()
    assert tapes("tape", "cat", SOURCE, "1") == ExitCode.TAPE_DAMAGED
    *_, said, hint = capfdbinary.readouterr().err.decode().splitlines()
    assert said.startswith("tapectl: the way to file 1 of tape ")
    assert hint.startswith("hint: ")


def test_what_is_on_a_tape_is_never_overwritten(
    tapes: Active, content: Path, tmp_path: Path
) -> None:
    words = ("tape", "import", SOURCE, str(content), "--format", "raw")
    assert tapes(*words) == 0
    assert tapes(*words) == ExitCode.TAPE_STATUS
    image = tmp_path / "image.tap"
    image.write_bytes(b"mine")
    assert tapes("tape", "export", SOURCE, str(image)) == ExitCode.USAGE
    assert image.read_bytes() == b"mine"
    assert tapes("tape", "export", SOURCE, str(image), "--overwrite") == 0
    assert image.stat().st_size > 1_000_000


def test_a_tape_without_its_cache_is_read_from_the_store_and_warmed(
    tapes: Active,
    content: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    monkeypatch.setenv("TAPECTL_SEGMENT_BYTES", "1MiB")
    state_path = tmp_path / "state" / "tapectl.db"
    many = tmp_path / "many"
    many.write_bytes(content.read_bytes() * 4)
    assert tapes("tape", "import", SOURCE, str(many), "--format", "raw") == 0
    assert tapes("sync") == 0
    assert evict(state_path, SOURCE) > 3

    def ask(*words: str) -> Any:
        capfdbinary.readouterr()
        assert tapes(*words, "-o", "json") == 0
        return json.loads(capfdbinary.readouterr().out)

    (first,) = ask("tape", "warm", SOURCE)
    assert first["FetchedBytes"] > 4_000_000
    assert first["CachedBytes"] == first["FetchedBytes"]
    (again,) = ask("tape", "warm", SOURCE)
    assert (again["FetchedBytes"], again["CachedBytes"]) == (0, first["CachedBytes"])
    evict(state_path, SOURCE)
    capfdbinary.readouterr()
    assert tapes("tape", "cat", SOURCE) == 0
    assert capfdbinary.readouterr().out == many.read_bytes()


def test_a_tape_that_the_cache_cannot_hold_is_not_warmed(
    tapes: Active, content: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tapes("tape", "import", SOURCE, str(content), "--format", "raw") == 0
    assert tapes("sync") == 0
    evict(tmp_path / "state" / "tapectl.db", SOURCE)
    monkeypatch.setenv("TAPECTL_CACHE_HIGH_WATERMARK_PERCENT", "1")
    from tapectl.state.database import State

    with State.open(tmp_path / "state" / "tapectl.db") as state, state.write() as db:
        db.execute("UPDATE disk SET size_bytes = 2000000")
    assert tapes("tape", "warm", SOURCE) == ExitCode.DISK_TOO_SMALL


@pytest.mark.parametrize(
    ("words", "exit_code"),
    [
        (("cat", "NOSUCH01"), ExitCode.TAPE_NOT_FOUND),
        (("cat", "no such"), ExitCode.TAPE_INVALID),
        (("export", SOURCE, "image.zip"), ExitCode.USAGE),
        (("export", SOURCE, "/no/such/folder/image.tap"), ExitCode.USAGE),
        (("export", SOURCE, "image.tap", "--file", "1"), ExitCode.USAGE),
        (("import", SOURCE, "/nowhere.tap"), ExitCode.USAGE),
        (("import", SOURCE, "/dev/null", "--format", "raw"), ExitCode.TAPE_INVALID),
        (("import", SOURCE, "/dev/null", "--format", "tap"), ExitCode.TAPE_INVALID),
        (("import", SOURCE, "x.tar", "--format", "raw", "--block-size", "16MiB"), ExitCode.USAGE),
        (("warm", "NOSUCH01"), ExitCode.TAPE_NOT_FOUND),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input(tapes: Active, words: tuple[str, ...], exit_code: ExitCode) -> None:
    assert tapes("tape", *words) == exit_code


def test_a_tape_in_a_drive_is_left_alone(tapes: Active, content: Path) -> None:
    assert tapes("tape", "load", SOURCE) == 0
    assert tapes("tape", "cat", SOURCE) == ExitCode.TAPE_IN_DRIVE
    words = ("tape", "import", SOURCE, str(content), "--format", "raw")
    assert tapes(*words) == ExitCode.TAPE_IN_DRIVE


def test_one_user_of_a_tape_at_a_time(tmp_path: Path) -> None:
    state_path = tmp_path / "tapectl.db"
    state_path.touch()
    with TapeUse(state_path) as one, TapeUse(state_path) as other:
        one.begin(SOURCE)
        with pytest.raises(TapeInUseError):
            other.begin(SOURCE)
        other.begin(COPY)
        one.end()
        other.begin(SOURCE)


def tree(root: Path) -> dict[str, tuple[int, int]]:
    """Return every file below a folder with its size and when it was written."""
    return {
        str(path.relative_to(root)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
    }


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Go to a machine without a gateway; return where its state would be."""
    folder = tmp_path / "elsewhere"
    monkeypatch.setenv("TAPECTL_STATE", str(folder / "tapectl.db"))
    return folder


def test_a_tape_is_read_from_its_bucket_on_a_machine_without_a_gateway(
    tapes: Active,
    content: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    here, there = tmp_path / "here.tap", tmp_path / "there.tap"
    assert tapes("tape", "import", SOURCE, str(content), "--format", "raw") == 0
    assert tapes("tape", "export", SOURCE, str(here)) == 0
    assert tapes("sync") == 0
    before = tree(tmp_path / "store")
    folder = elsewhere(monkeypatch, tmp_path)
    address = ("--store", str(tmp_path / "store"))
    capfdbinary.readouterr()
    assert tapes("tape", "cat", SOURCE, *address) == 0
    assert capfdbinary.readouterr().out == content.read_bytes()
    assert tapes("tape", "export", SOURCE, str(there), *address) == 0
    assert there.read_bytes() == here.read_bytes()
    raw = tmp_path / "one.raw"
    assert tapes("tape", "export", SOURCE, str(raw), "--file", "0", *address) == 0
    assert raw.read_bytes() == content.read_bytes()
    assert tapes("tape", "cat", SOURCE, "1", *address) == ExitCode.ELEMENT
    assert tapes("tape", "cat", COPY, *address) == 0
    assert tapes("tape", "cat", "NOSUCH01", *address) == ExitCode.TAPE_NOT_FOUND
    assert tapes("tape", "cat", SOURCE, "--store", str(tmp_path)) == ExitCode.TAPE_NOT_FOUND
    assert tapes("tape", "cat", SOURCE) == ExitCode.NOT_ACTIVATED
    assert not folder.exists()
    assert tree(tmp_path / "store") == before


def test_a_tape_is_read_as_it_was_while_it_is_in_a_drive(
    tapes: Active, content: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert tapes("tape", "import", SOURCE, str(content), "--format", "raw") == 0
    assert tapes("sync") == 0
    assert tapes("tape", "load", SOURCE) == 0
    capfdbinary.readouterr()
    for words in (("--point", "1"), ("--at", "now")):
        assert tapes("tape", "cat", SOURCE, *words) == 0
        assert capfdbinary.readouterr().out == content.read_bytes()
    for words, exit_code in (
        (("--point", "9"), ExitCode.RECOVERY_POINT),
        (("--at", "2001-01-01"), ExitCode.RECOVERY_POINT),
        (("--at", "some day"), ExitCode.USAGE),
        (("--at", "now", "--point", "1"), ExitCode.USAGE),
        (("--point", "1", "--region", "eu-west-1"), ExitCode.USAGE),
        (("--key-file", "/nowhere.keys"), ExitCode.USAGE),
    ):
        assert tapes("tape", "cat", SOURCE, *words) == exit_code
        assert capfdbinary.readouterr().out == b""
    image = tmp_path / "image.tap"
    assert tapes("tape", "export", SOURCE, str(image), "--point", "9") == ExitCode.RECOVERY_POINT
    assert not image.exists()


def test_an_archived_tape_is_refused_before_anything_is_written(
    tapes: Active,
    content: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    monkeypatch.setenv("TAPECTL_DIRECTORY_RETRIEVAL_DELAY_S", "3600")
    assert tapes("tape", "import", SOURCE, str(content), "--format", "raw") == 0
    assert tapes("tape", "eject", SOURCE, "--wait") == 0
    elsewhere(monkeypatch, tmp_path)
    address = ("--store", str(tmp_path / "store"))
    capfdbinary.readouterr()
    assert tapes("tape", "cat", SOURCE, *address) == ExitCode.TAPE_STATUS
    captured = capfdbinary.readouterr()
    said, hint = captured.err.decode().splitlines()
    assert captured.out == b""
    assert "976.6 KiB of 976.6 KiB" in said
    assert "tapectl tape retrieve" in hint
    image = tmp_path / "image.tap"
    assert tapes("tape", "export", SOURCE, str(image), *address) == ExitCode.TAPE_STATUS
    assert [path.name for path in tmp_path.glob("*image*")] == []


def test_an_encrypted_tape_is_read_with_its_keys(
    active: Active,
    content: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    assert active("key", "create") == 0
    assert active("key", "export", str(tmp_path / "copy")) == 0
    words = ("--size", "100GiB", "--barcode", SOURCE, "--encryption", "CSE", "--wait")
    assert active("tape", "create", *words) == 0
    assert active("tape", "import", SOURCE, str(content), "--format", "raw") == 0
    assert active("sync") == 0
    address = ("--store", str(tmp_path / "store"))
    capfdbinary.readouterr()
    # On the gateway's own machine its keyring is found.
    assert active("tape", "cat", SOURCE, *address) == 0
    assert capfdbinary.readouterr().out == content.read_bytes()
    elsewhere(monkeypatch, tmp_path)
    assert active("tape", "cat", SOURCE, *address) == ExitCode.TAPE_KEY
    captured = capfdbinary.readouterr()
    assert captured.out == b""
    assert b"--key-file" in captured.err
    assert active("tape", "cat", SOURCE, *address, "--key-file", str(tmp_path / "copy")) == 0
    assert capfdbinary.readouterr().out == content.read_bytes()


def test_a_pipe_takes_an_image_and_stays_a_pipe(
    tapes: Active, content: Path, tmp_path: Path
) -> None:
    assert tapes("tape", "import", SOURCE, str(content), "--format", "raw") == 0
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(pipe.read_bytes)
        assert tapes("tape", "export", SOURCE, str(pipe), "--format", "raw") == 0
        assert reading.result(30) == content.read_bytes()
    assert pipe.is_fifo()
