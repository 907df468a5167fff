"""Allocating local disks as cache or upload buffer."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from tapectl.disks import block_devices, disk_directory
from tapectl.disks.disk_directory import DiskMarker
from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.disk_contents import DiskContents
from tapectl.gateway.disk_list import DiskInfo, disk_info
from tapectl.gateway.surviving_disks import refuse_overtaken
from tapectl.state import disks, events
from tapectl.state.database import State
from tapectl.state.disks import DiskRecord, DiskRole
from tapectl.state.gateways import read_gateway
from tapectl.state.tapes import Stamp
from tapectl.units import GIB, MIB, TIB, format_size

AWS_MIN_BYTES = 150 * GIB
"""AWS's least cache and least upload buffer; less is a warning here."""

MAX_BYTES: Mapping[DiskRole, int] = MappingProxyType(
    {DiskRole.CACHE_STORAGE: 64 * TIB, DiskRole.UPLOAD_BUFFER: 2 * TIB}
)
"""AWS's most of each role together; more is a warning here."""

MIN_BYTES = GIB
"""Less has no room for one open segment of the largest size in each of a few drives."""

MIN_SMALL_BYTES = 8 * MIB
"""The same where small segments are set, for labs."""

_IGNORED_NAMES = frozenset(
    {
        "lost+found",  # mkfs makes it
        # What an interrupted run of ours leaves.
        disk_directory.MARKER_NAME,
        f"{disk_directory.MARKER_NAME}.new",
        "tapes",
    }
)


class DiskPathError(TapectlError):
    """The path is no directory or device that could be a disk."""

    exit_code = ExitCode.DISK_PATH
    code = "disk_path"
    aws_code = "DiskDoesNotExist"


class DiskInUseError(TapectlError):
    """The disk is allocated already, here or to another gateway."""

    exit_code = ExitCode.DISK_IN_USE
    code = "disk_in_use"
    aws_code = "DiskAlreadyAllocated"


class DiskNotEmptyError(TapectlError):
    """Something else is kept there."""

    exit_code = ExitCode.DISK_NOT_EMPTY
    code = "disk_not_empty"
    aws_code = "DiskAlreadyAllocated"


class DiskTooSmallError(TapectlError):
    """The disk has no room for what it is for."""

    exit_code = ExitCode.DISK_TOO_SMALL
    code = "disk_too_small"
    aws_code = "InvalidParameters"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskAddition:
    """A disk to allocate: a directory, or a block device with `format`.

    `size_bytes` is the room segments may take, all of the file system unless given. `create` makes
    a missing directory. `allow_small` takes less than 1 GiB.
    """

    role: DiskRole
    path: Path
    size_bytes: int | None = None
    format: bool = False
    allow_small: bool = False
    create: bool = False


def add_disk(
    state: State,
    request: DiskAddition,
    *,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> DiskInfo:
    """Allocate a disk; the result's `warnings` say what AWS would not have taken.

    The marker is written to the disk before the row that names it; a failure takes it away again.
    Raises DiskPathError, DiskInUseError, DiskNotEmptyError, DiskTooSmallError, UsageError.
    """
    with contextlib.ExitStack() as undo:
        path, device_node = _directory(state, request, undo)
        by = Stamp(actor, now_ms())
        with _only_one(path):
            added = _allocate(state, request, (path, device_node), by)
        undo.pop_all()
    return added


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Keep every other process, of any gateway, from allocating the directory at the same time."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _allocate(
    state: State, request: DiskAddition, place: tuple[Path, str | None], by: Stamp
) -> DiskInfo:
    path, device_node = place
    role = DiskRole(request.role)
    with state.read() as db:
        gateway = read_gateway(db)
        records = disks.all_disks(db)
    gateway_id = gateway.id
    _refuse_allocated(path, records)
    _refuse_store(path, gateway.store_url)
    found = disk_directory.read_marker(path)
    marker = _marker(path, DiskMarker(_new_disk_id(), gateway_id, role), records)
    if marker == found:
        refuse_overtaken(state, path, marker.disk_id)
    record = DiskRecord(
        id=marker.disk_id,
        role=role,
        path=path,
        device_node=device_node,
        size_bytes=_room_bytes(path, request),
        created_at_ms=by.at_ms,
    )
    try:
        disk_directory.prepare(path, marker)
        _enter(state, record, by)
    except BaseException as exc:
        if marker != found:
            disk_directory.remove_marker(path)
        if isinstance(exc, OSError):
            raise DiskPathError(f"cannot write to the disk ({exc.strerror}): {path}") from exc
        raise
    info = disk_info(record, gateway_id, DiskContents(0, 0, frozenset()))
    return replace(info, warnings=(*info.warnings, *_warnings(record, records)))


def _directory(
    state: State, request: DiskAddition, undo: contextlib.ExitStack
) -> tuple[Path, str | None]:
    """Return the directory to allocate and the device it was made on; make what was asked for."""
    path = Path(os.path.realpath(request.path.expanduser()))
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if not request.create:
            raise DiskPathError(f"no such directory: {path}", hint="--create makes it") from None
        _make_directory(path, undo)
        mode = path.stat().st_mode
    except OSError as exc:
        raise DiskPathError(f"cannot use the disk ({exc.strerror}): {path}") from exc
    if stat.S_ISBLK(mode):
        return _mounted_device(state, request, path, undo), str(path)
    if not stat.S_ISDIR(mode):
        raise DiskPathError(
            f"no directory and no block device: {path}", hint="name an empty directory"
        )
    if request.format:
        raise UsageError(
            f"only a block device can be formatted: {path}", hint="leave --format away"
        )
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise DiskPathError(
            f"the directory cannot be written: {path}", hint="run as the user that serves tapes"
        )
    return path, None


def _mounted_device(
    state: State, request: DiskAddition, node: Path, undo: contextlib.ExitStack
) -> Path:
    """Make a file system on an empty block device and mount it beside the state file."""
    known = {device.node: device for device in block_devices.list_block_devices()}
    device = known.get(str(node))
    if device is None:
        raise DiskPathError(
            f"no block device that could hold tapes: {node}",
            hint="`tapectl disk list` shows those that are free",
        )
    if device.used_for is not None:
        raise DiskNotEmptyError(
            f"the block device is not empty ({device.used_for}): {node}",
            hint="mount its file system and name the directory, or choose an empty device",
        )
    if not request.format:
        raise DiskPathError(
            f"a block device without a file system: {node}",
            hint="--format makes a file system on it and mounts it",
        )
    _refuse_small(node, device.size_bytes, request)
    mount_point = state.path.parent / "disks" / node.name
    _make_directory(mount_point, undo)
    try:
        block_devices.format_and_mount(str(node), mount_point)
    except OSError as exc:
        # The device has been looked at again, closer.
        kind = DiskNotEmptyError if exc.errno in (errno.EEXIST, errno.EBUSY) else DiskPathError
        raise kind(f"cannot make a file system on {node}: {exc.strerror}") from exc
    return mount_point


def _make_directory(path: Path, undo: contextlib.ExitStack) -> None:
    missing = [path, *(parent for parent in path.parents if not parent.exists())]
    for directory in reversed(missing):
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            continue
        except OSError as exc:
            raise DiskPathError(f"cannot make the directory ({exc.strerror}): {path}") from exc
        undo.callback(_remove_if_empty, directory)
        try:
            # The state is about to count on it.
            disk_directory.sync_folder(directory.parent)
        except OSError as exc:
            raise DiskPathError(f"cannot make the directory ({exc.strerror}): {path}") from exc


def _remove_if_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()


def _refuse_allocated(path: Path, records: Sequence[DiskRecord]) -> None:
    for record in records:
        if path == record.path:
            raise DiskInUseError(
                f"the directory is allocated already, as {record.role}: {path}",
                hint="a cache disk and an upload buffer disk are two directories",
            )
        if path in record.path.parents or record.path in path.parents:
            raise DiskInUseError(
                f"the directory lies within another disk, or around it: {path}",
                hint=f"{record.id} is {record.path}",
            )


def _refuse_store(path: Path, store_url: str) -> None:
    """Raise DiskInUseError for a directory within a directory store: what is there is objects."""
    scheme, _, rest = store_url.partition("://")
    if scheme == "file" and path.is_relative_to(os.path.realpath(rest)):
        raise DiskInUseError(
            f"the directory lies within the object store: {path}",
            hint=f"choose one outside of {rest}",
        )


def _marker(path: Path, new: DiskMarker, records: Sequence[DiskRecord]) -> DiskMarker:
    """Return the marker to write; one of ours that the state does not know is used again, as a
    cut-off run left it, or the machine that was this gateway before.

    Raises DiskInUseError, DiskNotEmptyError.
    """
    found = disk_directory.read_marker(path)
    if found is not None:
        ours = (found.gateway_id, found.role) == (new.gateway_id, new.role)
        if not ours or found.disk_id in {record.id for record in records}:
            raise DiskInUseError(
                f"the directory belongs to gateway {found.gateway_id} as {found.role}: {path}",
                hint="choose another directory, or empty this one if that gateway is gone",
            )
        new = found
    foreign = sorted(entry.name for entry in path.iterdir() if entry.name not in _IGNORED_NAMES)
    tapes_path = path / "tapes"
    if found is None and tapes_path.is_dir() and any(tapes_path.iterdir()):
        foreign.append("tapes")
    if foreign:
        raise DiskNotEmptyError(
            f"the directory is not empty, it holds {foreign[0]}: {path}",
            hint="choose an empty directory",
        )
    return new


def _room_bytes(path: Path, request: DiskAddition) -> int:
    status = os.statvfs(path)
    free_bytes = status.f_bavail * status.f_frsize
    size_bytes = request.size_bytes if request.size_bytes is not None else free_bytes
    if size_bytes > free_bytes:
        raise DiskTooSmallError(
            f"the file system has {format_size(free_bytes)} free,"
            f" not {format_size(size_bytes)}: {path}",
            hint="ask for less with --size, or free some",
        )
    _refuse_small(path, size_bytes, request)
    return size_bytes


def _refuse_small(path: Path, size_bytes: int, request: DiskAddition) -> None:
    minimum = MIN_SMALL_BYTES if request.allow_small else MIN_BYTES
    if size_bytes < minimum:
        lab = "" if request.allow_small else "; --allow-small takes less, for labs"
        raise DiskTooSmallError(
            f"the disk is too small, {format_size(size_bytes)}: {path}",
            hint=f"it needs {format_size(minimum)}{lab}",
        )


def _enter(state: State, record: DiskRecord, by: Stamp) -> None:
    event = events.NewEvent(
        at_ms=by.at_ms,
        actor=by.actor,
        subject_kind="disk",
        subject_id=record.id,
        type="DiskAdded",
        detail={
            "role": record.role,
            "path": str(record.path),
            "size_bytes": record.size_bytes,
            "device_node": record.device_node,
        },
    )
    try:
        with state.write() as db:
            disks.insert(db, record)
            events.append(db, event)
    except sqlite3.IntegrityError as exc:
        raise DiskInUseError(f"the disk was allocated meanwhile: {record.path}") from exc


def _warnings(added: DiskRecord, others: Sequence[DiskRecord]) -> Sequence[str]:
    """Return what AWS would not have taken, and what two copies cannot protect from."""
    role_bytes = added.size_bytes + sum(
        other.size_bytes for other in others if other.role is added.role
    )
    warnings = []
    if role_bytes < AWS_MIN_BYTES:
        warnings.append(
            f"{added.role} has {format_size(role_bytes)}; AWS asks for {format_size(AWS_MIN_BYTES)}"
        )
    if role_bytes > MAX_BYTES[added.role]:
        warnings.append(
            f"{added.role} has {format_size(role_bytes)};"
            f" AWS takes at most {format_size(MAX_BYTES[added.role])}"
        )
    if added.device_node is not None:
        warnings.append(
            f"{added.device_node} is mounted at {added.path} until the next start of this machine;"
            " add it to /etc/fstab"
        )
    device = added.path.stat().st_dev
    for other in others:
        with contextlib.suppress(OSError):
            if other.role is not added.role and other.path.stat().st_dev == device:
                warnings.append(
                    f"cache and upload buffer share a file system with {other.path}: when it"
                    " fails, what is not uploaded is lost; use two disks"
                )
    return warnings


def _new_disk_id() -> str:
    return f"disk-{secrets.token_hex(4)}"
