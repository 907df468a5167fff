"""Allocating disks: every path that cannot be one, and that a failure leaves nothing."""

from __future__ import annotations

import errno
import os
import stat
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tapectl.disks import block_devices
from tapectl.disks.disk_directory import MARKER_NAME, read_marker
from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.gateway.activation import ActivationRequest, activate
from tapectl.gateway.disk_allocation import DiskAddition, add_disk
from tapectl.gateway.disk_list import list_disks, show_disk
from tapectl.gateway.events import list_events
from tapectl.state.database import State
from tapectl.state.disks import DiskRole
from tapectl.store.memory import MemoryStore
from tapectl.units import GIB, MIB
from tests.support.closing import closed_at_end

CACHE, BUFFER = DiskRole.CACHE_STORAGE, DiskRole.UPLOAD_BUFFER


@pytest.fixture(autouse=True)
def no_real_block_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_devices, "list_block_devices", list)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.mkdir()
    return path


def addition(path: Path, role: DiskRole = CACHE, **options: object) -> DiskAddition:
    values: dict[str, object] = {"size_bytes": 64 * MIB, "allow_small": True}
    return DiskAddition(role=role, path=path, **{**values, **options})  # type: ignore[arg-type]


def refused(state: State, request: DiskAddition) -> TapectlError:
    before = [disk.disk_id for disk in list_disks(state)]
    with pytest.raises(TapectlError) as caught:
        add_disk(state, request)
    assert [disk.disk_id for disk in list_disks(state)] == before
    return caught.value


def test_a_disk_within_the_store_is_refused(tmp_path: Path, activation: ActivationRequest) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "way").symlink_to(tmp_path / "store")
    request = replace(activation, store_url=str(tmp_path / "store"))
    activate(tmp_path / "a.db", request, open_store=lambda _record: MemoryStore())
    with State.open(tmp_path / "a.db") as state:
        for path in (tmp_path / "store", tmp_path / "store" / "disk", tmp_path / "way" / "disk"):
            error = refused(state, addition(path, create=True))
            assert error.exit_code == ExitCode.DISK_IN_USE
            assert error.hint
    assert list((tmp_path / "store").iterdir()) == []


def test_a_directory_becomes_a_disk(bare_state: State, directory: Path) -> None:
    added = add_disk(bare_state, addition(directory))
    assert (added.status, added.allocation) == ("present", "CACHE_STORAGE")
    assert (directory / "tapes").is_dir()
    marker = read_marker(directory)
    assert marker is not None
    assert marker.disk_id == added.disk_id
    (listed,) = list_disks(bare_state)
    assert (listed.path, listed.size_bytes, listed.used_bytes) == (directory, 64 * MIB, 0)
    assert show_disk(bare_state, str(directory)) == show_disk(bare_state, added.disk_id)
    assert list_events(bare_state, subject=added.disk_id)[0].type == "DiskAdded"


def test_a_missing_directory_is_made_only_if_asked_for(bare_state: State, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    error = refused(bare_state, addition(path))
    assert error.exit_code == ExitCode.DISK_PATH
    assert "--create" in (error.hint or "")
    add_disk(bare_state, addition(path, create=True))
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_directory_that_was_made_in_vain_is_gone_again(bare_state: State, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    error = refused(bare_state, addition(path, create=True, size_bytes=1 << 60))
    assert error.exit_code == ExitCode.DISK_TOO_SMALL
    assert not (tmp_path / "a").exists()


def test_a_file_is_no_disk(bare_state: State, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refused(bare_state, addition(tmp_path / "file")).exit_code == ExitCode.DISK_PATH
    below = addition(tmp_path / "file" / "x", create=True)
    assert refused(bare_state, below).exit_code == ExitCode.DISK_PATH


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written(bare_state: State, directory: Path) -> None:
    directory.chmod(0o500)
    error = refused(bare_state, addition(directory))
    assert error.exit_code == ExitCode.DISK_PATH
    assert "cannot be written" in error.message


def test_a_directory_that_holds_something(bare_state: State, directory: Path) -> None:
    (directory / "photos").mkdir()
    error = refused(bare_state, addition(directory))
    assert error.exit_code == ExitCode.DISK_NOT_EMPTY
    assert "photos" in error.message
    assert not (directory / MARKER_NAME).exists()


def test_a_fresh_file_system_is_empty(bare_state: State, directory: Path) -> None:
    (directory / "lost+found").mkdir()
    add_disk(bare_state, addition(directory))


@pytest.mark.parametrize(
    ("size_bytes", "small", "fits"),
    [
        (GIB - 1, False, False),
        (8 * MIB - 1, True, False),
        (8 * MIB, True, True),
        (1 << 60, True, False),
    ],
)
def test_sizes(
    bare_state: State, directory: Path, size_bytes: int, small: bool, fits: bool
) -> None:
    request = addition(directory, size_bytes=size_bytes, allow_small=small)
    if fits:
        assert add_disk(bare_state, request).size_bytes == size_bytes
    else:
        assert refused(bare_state, request).exit_code == ExitCode.DISK_TOO_SMALL


def test_without_a_size_all_that_is_free_may_be_used(
    bare_state: State, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = SimpleNamespace(f_bavail=200 * GIB // 4096, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _path: room)
    added = add_disk(bare_state, addition(directory, size_bytes=None, allow_small=False))
    assert added.size_bytes == 200 * GIB
    assert added.warnings == ()


def test_less_than_aws_asks_for_is_a_warning(bare_state: State, directory: Path) -> None:
    (warning,) = add_disk(bare_state, addition(directory)).warnings
    assert warning == "CACHE_STORAGE has 64 MiB; AWS asks for 150 GiB"


def test_both_roles_on_one_file_system_is_a_warning(bare_state: State, tmp_path: Path) -> None:
    for name in ("cache", "buffer"):
        (tmp_path / name).mkdir()
    add_disk(bare_state, addition(tmp_path / "cache"))
    added = add_disk(bare_state, addition(tmp_path / "buffer", BUFFER))
    assert any("share a file system" in warning for warning in added.warnings)


@pytest.mark.parametrize("role", list(DiskRole))
def test_an_allocated_directory_is_not_allocated_again(
    bare_state: State, directory: Path, role: DiskRole
) -> None:
    add_disk(bare_state, addition(directory))
    error = refused(bare_state, addition(directory, role))
    assert (error.exit_code, error.aws_code) == (ExitCode.DISK_IN_USE, "DiskAlreadyAllocated")


def test_a_link_to_an_allocated_directory_is_the_same_directory(
    bare_state: State, directory: Path, tmp_path: Path
) -> None:
    add_disk(bare_state, addition(directory))
    (tmp_path / "link").symlink_to(directory)
    error = refused(bare_state, addition(tmp_path / "link", BUFFER))
    assert error.exit_code == ExitCode.DISK_IN_USE


def test_a_directory_within_a_disk_is_none(bare_state: State, directory: Path) -> None:
    add_disk(bare_state, addition(directory))
    inner = addition(directory / "inner", BUFFER, create=True)
    assert refused(bare_state, inner).exit_code == ExitCode.DISK_IN_USE
    assert not (directory / "inner").exists()


def test_a_disk_of_another_gateway_stays_its_own(
    bare_state: State, directory: Path, tmp_path: Path, activation: ActivationRequest
) -> None:
    add_disk(bare_state, addition(directory))
    other_path = tmp_path / "other" / "tapectl.db"
    activate(other_path, activation, open_store=lambda _record: MemoryStore())
    other = closed_at_end(State.open(other_path))
    for role in DiskRole:
        error = refused(other, addition(directory, role))
        assert error.exit_code == ExitCode.DISK_IN_USE
        assert "belongs to gateway sgw-" in error.message
    assert list_disks(bare_state)[0].status == "present"


def test_missing_and_mismatch(bare_state: State, directory: Path, tmp_path: Path) -> None:
    add_disk(bare_state, addition(directory))
    (tmp_path / "other").mkdir()
    add_disk(bare_state, addition(tmp_path / "other"))
    # Another disk is mounted in its place.
    marker = (tmp_path / "other" / MARKER_NAME).read_bytes()
    (directory / MARKER_NAME).write_bytes(marker)
    assert [disk.status for disk in list_disks(bare_state)].count("mismatch") == 1
    (directory / MARKER_NAME).unlink()
    assert show_disk(bare_state, str(directory)).status == "missing"


def test_a_run_that_died_before_its_row_can_be_repeated(
    bare_state: State, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("tapectl.gateway.disk_allocation._enter", die)
        # What a kill does not run.
        patch.setattr("tapectl.disks.disk_directory.remove_marker", lambda _path: None)
        with pytest.raises(Killed):
            add_disk(bare_state, addition(directory))
    left = read_marker(directory)
    assert left is not None
    assert add_disk(bare_state, addition(directory)).disk_id == left.disk_id


def test_of_many_that_add_one_directory_one_wins(bare_state: State, directory: Path) -> None:
    outcomes: list[str] = []

    def add() -> None:
        try:
            add_disk(State.open(bare_state.path), addition(directory))
            outcomes.append("added")
        except TapectlError as exc:
            outcomes.append(exc.code)

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["added"] + ["disk_in_use"] * 5
    assert list_disks(bare_state)[0].status == "present"


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plain file that plays an empty block device of 1 TiB."""
    node = tmp_path / "nvme9n1"
    node.touch()
    monkeypatch.setattr(stat, "S_ISBLK", stat.S_ISREG)
    found = block_devices.BlockDevice(node=str(node), stable_id="wwn-9", size_bytes=1 << 40)
    monkeypatch.setattr(block_devices, "list_block_devices", lambda: [found])
    return node


def test_a_free_device_is_listed_until_it_is_a_disk(
    bare_state: State, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (free,) = list_disks(bare_state)
    assert (free.allocation, free.device_node, free.path) == ("AVAILABLE", str(device), None)
    error = refused(bare_state, addition(device))
    assert "--format" in (error.hint or "")
    formatted: list[tuple[str, Path]] = []
    monkeypatch.setattr(
        block_devices, "format_and_mount", lambda *arguments: formatted.append(arguments)
    )
    added = add_disk(bare_state, addition(device, format=True))
    assert formatted == [(str(device), added.path)]
    assert any("/etc/fstab" in warning for warning in added.warnings)
    assert [disk.allocation for disk in list_disks(bare_state)] == ["CACHE_STORAGE"]


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(errno.EEXIST, ExitCode.DISK_NOT_EMPTY), (errno.EIO, ExitCode.DISK_PATH)],
)
def test_a_device_that_is_not_formatted_is_left_alone(
    bare_state: State,
    device: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    exit_code: ExitCode,
) -> None:
    def fail(node: str, _mount_point: Path) -> None:
        raise OSError(number, "it holds a signature: xfs", node)

    monkeypatch.setattr(block_devices, "format_and_mount", fail)
    error = refused(bare_state, addition(device, format=True))
    assert error.exit_code == exit_code
    assert "it holds a signature: xfs" in error.message
    assert not (bare_state.path.parent / "disks").exists()


def test_a_device_in_use_is_never_formatted(
    bare_state: State, device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("formatted")

    used = block_devices.BlockDevice(
        node=str(device), stable_id="wwn-9", size_bytes=1 << 40, used_for="mounted at /home"
    )
    monkeypatch.setattr(block_devices, "format_and_mount", never)
    monkeypatch.setattr(block_devices, "list_block_devices", lambda: [used])
    (listed,) = list_disks(bare_state)
    assert (listed.allocation, listed.used_bytes) == ("IN USE", None)
    error = refused(bare_state, addition(device, format=True))
    assert error.exit_code == ExitCode.DISK_NOT_EMPTY
    assert "mounted at /home" in error.message


def test_only_a_device_can_be_formatted(bare_state: State, directory: Path) -> None:
    with pytest.raises(UsageError):
        add_disk(bare_state, addition(directory, format=True))


def test_unknown_disks(bare_state: State) -> None:
    with pytest.raises(TapectlError) as caught:
        show_disk(bare_state, "disk-0")
    assert caught.value.exit_code == ExitCode.DISK_MISSING
