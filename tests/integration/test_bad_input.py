"""Bad input through the real command line: one line, a hint, an exit code, nothing half done."""

from __future__ import annotations

import shutil
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tapectl.errors import ExitCode
from tests.support.clients import missing, require_root
from tests.support.gateway import (
    START_TIMEOUT_S,
    TAPECTL,
    Gateway,
    free_port,
    wait_until,
)
from tests.support.s3_servers import ACCESS_KEY, SECRET_KEY, moto_server

MakeGateway = Callable[..., Gateway]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a command could have changed: rows of the state, names of files."""

    rows: tuple[str, ...]
    files: tuple[str, ...]

    @classmethod
    def take(cls, gateway: Gateway) -> Snapshot:
        rows: tuple[str, ...] = ()
        if gateway.state.exists():
            with sqlite3.connect(f"file:{gateway.state}?mode=ro", uri=True) as db:
                rows = tuple(db.iterdump())
            db.close()
        files = (path for path in gateway.root.rglob("*") if path.parent != gateway.state.parent)
        return cls(rows, tuple(sorted(str(path) for path in files)))


def refused(gateway: Gateway, exit_code: ExitCode, *words: str) -> str:
    """Run a command that must fail so, having changed nothing; return its message."""
    before = Snapshot.take(gateway)
    done = gateway.run(*words)
    said = f"tapectl {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
    assert done.returncode == exit_code, said
    lines = done.stderr.splitlines()
    assert lines, said
    assert lines[0].startswith("tapectl: "), said
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("hint: ")), said
    assert Snapshot.take(gateway) == before, said
    return done.stderr


@pytest.fixture
def active(make_gateway: MakeGateway) -> Gateway:
    """An activated gateway with disks and no tape; ejected tapes leave at once."""
    gateway = make_gateway(hold_s="0", retrieval_poll_s="0.1", directory_retrieval_delay_s="0")
    gateway.activate()
    return gateway


# -- tapes ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("words", "exit_code", "hinted"),
    [
        (("tape", "show", "NOSUCH01"), ExitCode.TAPE_NOT_FOUND, True),
        (("tape", "eject", "NOSUCH01"), ExitCode.TAPE_NOT_FOUND, True),
        (("tape", "retrieve", "NOSUCH01"), ExitCode.TAPE_NOT_FOUND, True),
        (("tape", "delete", "NOSUCH01", "--yes"), ExitCode.TAPE_NOT_FOUND, True),
        (("archive", "show", "NOSUCH01"), ExitCode.TAPE_NOT_FOUND, True),
        (("tape", "create", "--barcode", "AB1", "--size", "1TiB"), ExitCode.TAPE_INVALID, True),
        (("tape", "create", "--barcode", "lower01", "--size", "1TiB"), ExitCode.TAPE_INVALID, True),
        (("tape", "create", "--barcode", "A" * 17, "--size", "1TiB"), ExitCode.TAPE_INVALID, True),
        (("tape", "create", "--size", "99GiB"), ExitCode.TAPE_INVALID, True),
        (("tape", "create", "--size", "15361GiB"), ExitCode.TAPE_INVALID, True),
        (("tape", "create", "--size", "100.5GiB"), ExitCode.TAPE_INVALID, True),
        (("tape", "create", "--size", "1TiB", "--count", "1501"), ExitCode.USAGE, True),
        (("tape", "create", "--size", "1TiB", "--pool", "NOPOOL"), ExitCode.POOL, False),
        (("tape", "create", "--size", "plenty"), ExitCode.USAGE, True),
        (("device", "show", "tapedrive-99"), ExitCode.DEVICE_NOT_FOUND, True),
        (("no-such-noun",), ExitCode.USAGE, True),
    ],
)
def test_unknown_malformed_and_out_of_limits(
    active: Gateway, words: tuple[str, ...], exit_code: ExitCode, hinted: bool
) -> None:
    said = refused(active, exit_code, *words)
    assert ("hint: " in said) or not hinted, said


def test_the_library_is_full(active: Gateway) -> None:
    petabyte = ("tape", "create", "--size", "15TiB", "--count", "69")
    refused(active, ExitCode.TAPE_LIMIT, *petabyte)
    lab = ("tape", "create", "--size", "1MiB", "--allow-small")
    active.cli(*lab, "--count", "1500")
    refused(active, ExitCode.TAPE_LIMIT, *lab)


def test_a_barcode_is_not_used_twice(active: Gateway) -> None:
    active.cli("tape", "create", "--barcode", "TWICE001", "--size", "100GiB")
    refused(
        active, ExitCode.TAPE_EXISTS, "tape", "create", "--barcode", "TWICE001", "--size", "100GiB"
    )


def test_a_deleted_barcode_is_not_used_again(active: Gateway) -> None:
    active.cli("tape", "create", "--barcode", "GONE0001", "--size", "100GiB")
    active.cli("sync", "--until-idle")
    active.cli("tape", "delete", "GONE0001", "--yes")
    active.cli("sync", "--until-idle")
    refused(
        active, ExitCode.TAPE_EXISTS, "tape", "create", "--barcode", "GONE0001", "--size", "100GiB"
    )


def test_no_tape_before_there_are_disks(gateway: Gateway) -> None:
    gateway.cli("activate", "--name", "test", "--store", str(gateway.store))
    create = ("tape", "create", "--size", "100GiB")
    assert "hint: " in refused(gateway, ExitCode.DISKS_NEEDED, *create)
    gateway.cli("disk", "add-cache", str(gateway.cache))
    refused(gateway, ExitCode.DISKS_NEEDED, *create)


def test_nothing_works_before_activation(gateway: Gateway) -> None:
    for words in (("tape", "list"), ("serve",), ("sync",), ("status",), ("device", "list")):
        assert "hint: " in refused(gateway, ExitCode.NOT_ACTIVATED, *words)


# -- the life of a tape --------------------------------------------------------------------
def test_eject_of_a_loaded_tape(active: Gateway) -> None:
    (barcode,) = active.create_tapes("--count", "1")
    active.serve()
    active.load(barcode)
    refused(active, ExitCode.TAPE_IN_DRIVE, "tape", "eject", barcode)
    refused(active, ExitCode.TAPE_IN_DRIVE, "tape", "delete", barcode, "--yes")


def test_steps_that_the_status_does_not_allow(active: Gateway) -> None:
    (barcode,) = active.create_tapes("--count", "1")
    active.cli("sync", "--until-idle")
    refused(active, ExitCode.TAPE_STATUS, "tape", "retrieve", barcode)
    refused(active, ExitCode.TAPE_STATUS, "tape", "cancel-retrieve", barcode)
    refused(active, ExitCode.TAPE_STATUS, "tape", "cancel-eject", barcode)
    active.cli("tape", "eject", barcode)
    active.cli("sync", "--until-idle")
    assert active.tape_status(barcode) == "ARCHIVED"
    refused(active, ExitCode.TAPE_STATUS, "tape", "eject", barcode)
    refused(active, ExitCode.TAPE_STATUS, "tape", "delete", barcode, "--yes")
    active.cli("tape", "retrieve", barcode)
    active.cli("sync", "--until-idle")
    assert active.tape_status(barcode) == "RETRIEVED"
    refused(active, ExitCode.TAPE_STATUS, "tape", "delete", barcode, "--yes")
    refused(active, ExitCode.TAPE_STATUS, "tape", "retrieve", barcode)


# -- disks ---------------------------------------------------------------------------------
def test_disk_paths_that_cannot_be_used(active: Gateway) -> None:
    absent = active.root / "absent"
    refused(active, ExitCode.DISK_PATH, "disk", "add-cache", str(absent))
    plain_file = active.root / "file"
    plain_file.write_text("not a directory")
    refused(active, ExitCode.DISK_PATH, "disk", "add-cache", str(plain_file))
    full = active.root / "full"
    full.mkdir()
    (full / "family-photos").touch()
    refused(active, ExitCode.DISK_NOT_EMPTY, "disk", "add-cache", str(full))
    refused(active, ExitCode.DISK_IN_USE, "disk", "add-cache", str(active.cache))
    refused(active, ExitCode.DISK_IN_USE, "disk", "add-buffer", str(active.cache))


def test_a_directory_belongs_to_one_gateway(active: Gateway, make_gateway: MakeGateway) -> None:
    other = make_gateway("other")
    other.cli("activate", "--name", "other", "--store", str(other.store))
    for command in ("add-cache", "add-buffer"):
        for theirs in (active.cache, active.buffer):
            refused(other, ExitCode.DISK_IN_USE, "disk", command, str(theirs))


def test_a_disk_that_is_too_small(active: Gateway) -> None:
    require_root()
    small = active.root / "small"
    small.mkdir()
    with mounted_tmpfs(small, "size=512k"):
        refused(active, ExitCode.DISK_TOO_SMALL, "disk", "add-cache", str(small))


def test_a_state_that_is_read_only(active: Gateway) -> None:
    require_root()
    folder = active.root / "sealed"
    folder.mkdir()
    with mounted_tmpfs(folder, "size=8m"):
        shutil.copy(active.state, folder / "tapectl.db")
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        done = active.run("--state", str(folder / "tapectl.db"), "tape", "list")
    assert done.returncode == ExitCode.STATE_ACCESS
    assert "(read-only file system)" in done.stderr
    assert "hint: " in done.stderr


def test_a_disk_that_is_read_only(active: Gateway) -> None:
    require_root()
    sealed = active.root / "sealed"
    sealed.mkdir()
    with mounted_tmpfs(sealed, "ro"):
        refused(active, ExitCode.DISK_PATH, "disk", "add-cache", str(sealed))


@contextmanager
def mounted_tmpfs(folder: Path, options: str) -> Iterator[None]:
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        missing("cannot mount a tmpfs here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


# -- stores --------------------------------------------------------------------------------
def test_a_store_directory_that_cannot_be_used(gateway: Gateway) -> None:
    refused(
        gateway,
        ExitCode.STORE_NOT_FOUND,
        "activate",
        "--name",
        "x1",
        "--store",
        "/nonexistent/store",
    )
    refused(gateway, ExitCode.USAGE, "activate", "--name", "x1", "--store", "ftp://somewhere/else")
    assert not gateway.state.exists()


def test_stores_that_refuse(gateway: Gateway) -> None:
    with moto_server() as server:
        server.client().create_bucket(Bucket="here")
        at_moto = ("activate", "--name", "x1", "--endpoint-url", server.endpoint_url)
        gateway.credentials = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(gateway.root)}
        refused(gateway, ExitCode.STORE_CREDENTIALS, *at_moto, "--store", "s3://here/x")
        gateway.credentials |= {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }
        refused(gateway, ExitCode.STORE_NOT_FOUND, *at_moto, "--store", "s3://not-here/x")
        server.client().create_bucket(
            Bucket="far", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        elsewhere = ("--store", "s3://far/x", "--region", "us-east-1")
        assert "eu-west-1" in refused(gateway, ExitCode.STORE_REGION, *at_moto, *elsewhere)
    nobody = f"http://127.0.0.1:{free_port()}"
    down = ("activate", "--name", "x1", "--endpoint-url", nobody, "--store", "s3://here/x")
    refused(gateway, ExitCode.STORE_UNREACHABLE, *down)
    assert not gateway.state.exists()


def test_activation_happens_once(active: Gateway) -> None:
    refused(
        active,
        ExitCode.ALREADY_ACTIVATED,
        "activate",
        "--name",
        "again",
        "--store",
        str(active.store),
    )


# -- the state file ------------------------------------------------------------------------
def test_a_state_file_of_a_newer_version(active: Gateway) -> None:
    with sqlite3.connect(active.state) as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        db.execute(f"PRAGMA user_version = {version + 1}")
    db.close()
    for words in (("tape", "list"), ("serve",), ("tape", "create", "--size", "100GiB")):
        refused(active, ExitCode.STATE_NEWER, *words)


@pytest.mark.parametrize(
    "content", [b"this is no database\n" * 400, b"SQLite format 3\0garbage" * 400]
)
def test_a_corrupt_state_file(gateway: Gateway, content: bytes) -> None:
    gateway.state.write_bytes(content)
    for words in (("tape", "list"), ("serve",), ("status",)):
        done = gateway.run(*words)
        assert done.returncode == ExitCode.STATE_CORRUPT, done.stderr
        assert "Traceback" not in done.stderr
    assert gateway.state.read_bytes() == content


# -- serving -------------------------------------------------------------------------------
def test_a_second_serve(active: Gateway) -> None:
    active.serve()
    said = refused(
        active, ExitCode.ALREADY_SERVING, "serve", "--listen", f"127.0.0.1:{free_port()}"
    )
    assert str(active.server_pid) in said
    refused(active, ExitCode.ALREADY_SERVING, "sync")
    assert active.control("status"), "the first one goes on"


def test_serve_on_a_port_in_use(active: Gateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        refused(active, ExitCode.ADDRESS_IN_USE, "serve", "--listen", listen)


def test_listening_for_everybody_needs_a_flag(active: Gateway) -> None:
    refused(active, ExitCode.UNSAFE_LISTEN, "serve", "--listen", f"0.0.0.0:{free_port()}")


def test_stdout_closed_by_the_reader(active: Gateway) -> None:
    active.create_tapes("--count", "200")
    listing = subprocess.run(
        f"{TAPECTL} tape list --output plain | head -1",
        shell=True,
        executable="/bin/bash",
        env=active.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert listing.stdout.strip()
    assert listing.stderr == ""


# -- Ctrl-C --------------------------------------------------------------------------------
# Seconds after the start: within the imports, the start of the children, and when it serves.
PATIENCE_S = 45
INTERPRETERS_OWN = ("Fatal Python error: init", "Exception ignored in")
INTERRUPTED_AFTER_S = (0.05, 0.15, 0.3, 0.5, 0.8, 1.2, 2.0, 4.0)


def interrupt(gateway: Gateway, after_s: float, *words: str) -> tuple[int, str]:
    """Start a command, press Ctrl-C after a time, return its exit status and stderr."""
    process = subprocess.Popen(
        [str(TAPECTL), *words],
        env=gateway.environment,
        cwd=gateway.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _, stderr = process.communicate(timeout=after_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        try:
            _, stderr = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            # An interruption in a callback of the interpreter's own, as imports have, is lost: who
            # sees nothing happen presses again.
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    return process.returncode, stderr


def assert_interrupted(status: int, stderr: str, after_s: float) -> None:
    """Stopped as an interrupted program does, or drained, if it was serving already."""
    # The interpreter has its own way until it runs our first line, and in callbacks of its own.
    if status == -signal.SIGINT or any(words in stderr for words in INTERPRETERS_OWN):
        return
    assert status in (0, ExitCode.INTERRUPTED), (after_s, status, stderr)
    assert "Traceback" not in stderr, (after_s, stderr)


@pytest.mark.timeout(600)
def test_ctrl_c_at_any_point_of_serve(active: Gateway) -> None:
    (barcode,) = active.create_tapes("--count", "1")
    listen = f"127.0.0.1:{active.port}"
    for after_s in INTERRUPTED_AFTER_S:
        status, stderr = interrupt(active, after_s, "serve", "--listen", listen)
        assert_interrupted(status, stderr, after_s)
    active.serve()
    active.load(barcode)
    assert active.drive(1).read_position() == 0


@pytest.mark.timeout(600)
def test_ctrl_c_at_any_point_of_quickstart(make_gateway: MakeGateway) -> None:
    for number, after_s in enumerate(INTERRUPTED_AFTER_S):
        gateway = make_gateway(f"quick{number}")
        folder = gateway.root / "demo"
        gateway.state = folder / "tapectl.db"
        words = ("quickstart", str(folder), "--listen", f"127.0.0.1:{gateway.port}")
        status, stderr = interrupt(gateway, after_s, *words)
        assert_interrupted(status, stderr, after_s)
        # Whatever was cut off, the same command makes it whole.
        serves_five_tapes(gateway, words)


def serves_five_tapes(gateway: Gateway, words: tuple[str, ...]) -> None:
    process = subprocess.Popen([str(TAPECTL), *words], env=gateway.environment, cwd=gateway.root)
    try:
        wait_until(lambda: bool(gateway.control("status")), "quickstart serves", START_TIMEOUT_S)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(90) == 0
    assert len(gateway.barcodes()) == 5
