"""The disks themselves: are they there, ours, writable, large enough, and two."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from tapectl.disks.disk_directory import read_marker
from tapectl.disks.disk_health import DiskState
from tapectl.gateway.check.findings import Code, Finding, of_disk, of_gateway
from tapectl.gateway.check.view import CheckView
from tapectl.gateway.disk_contents import (
    barcodes_of,
    contents_of,
    unsealed_on,
    unsealed_without_role,
)
from tapectl.state import segments
from tapectl.state.disks import DiskRecord, DiskRole
from tapectl.units import GIB, TIB, format_size

AWS_MIN_BYTES = 150 * GIB
AWS_MAX_BYTES = {DiskRole.CACHE_STORAGE: 64 * TIB, DiskRole.UPLOAD_BUFFER: 2 * TIB}

FSTAB = Path("/etc/fstab")
_PRIVATE = stat.S_IRWXG | stat.S_IRWXO


def disk_findings(view: CheckView) -> Iterator[Finding]:
    """Yield what is wrong with the disks."""
    for disk in view.disks.values():
        yield from _one(view, disk)
    yield from _roles(view)
    yield from _shared(view)


def _one(view: CheckView, disk: DiskRecord) -> Iterator[Finding]:
    health = view.health[disk.id]
    if health.state is DiskState.MISSING:
        marker = read_marker(disk.path)
        tapes = _tapes_that_need(view, disk)
        if marker is None:
            yield of_disk(Code.DISK_MISSING, disk.id, f"{disk.path}: {health.reason}", tapes)
        else:
            message = f"{disk.path} holds disk {marker.disk_id} of gateway {marker.gateway_id}"
            yield of_disk(Code.DISK_MISMATCH, disk.id, message, tapes)
        return
    try:
        status = os.statvfs(disk.path)
        mode = stat.S_IMODE((disk.path / "tapes").stat().st_mode)
    except OSError as exc:
        message = f"{disk.path}: {exc.strerror}"
        yield of_disk(Code.DISK_FAILING, disk.id, message, _tapes_that_need(view, disk))
        return
    if status.f_flag & os.ST_RDONLY:
        message = f"{disk.path}: {health.reason}"
        yield of_disk(Code.DISK_READ_ONLY, disk.id, message, _tapes_that_need(view, disk))
    elif health.state is DiskState.FAILING or disk.failed:
        message = f"{disk.path}: {health.reason or disk.failed_detail}"
        yield of_disk(Code.DISK_FAILING, disk.id, message, _tapes_that_need(view, disk))
    if disk.draining:
        yield of_disk(Code.DISK_DRAINING, disk.id, _how_far(view, disk))
    else:
        yield from _room(view, disk, status)
    if mode & _PRIVATE:
        message = f"{disk.path}/tapes can be read by others"
        yield of_disk(Code.DISK_PERMISSIONS, disk.id, message)
    if disk.device_node is not None and not _in_fstab(disk.path):
        message = f"{disk.device_node} at {disk.path} is mounted until the next start only"
        yield of_disk(Code.DISK_NOT_IN_FSTAB, disk.id, message)


def _how_far(view: CheckView, disk: DiskRecord) -> str:
    with view.state.read() as db:
        left = contents_of(db, disk)
    if left.empty:
        return f"{disk.path} has been drained"
    return f"{disk.path} is being drained, {format_size(left.bytes)} left"


def _room(view: CheckView, disk: DiskRecord, status: os.statvfs_result) -> Iterator[Finding]:
    with view.state.read() as db:
        used_bytes = segments.bytes_by_disk(db).get(disk.id, 0)
    file_system_bytes = status.f_blocks * status.f_frsize
    if disk.size_bytes > file_system_bytes:
        message = (
            f"{disk.path} may take {format_size(disk.size_bytes)},"
            f" its file system has {format_size(file_system_bytes)}"
        )
        yield of_disk(Code.DISK_TOO_LARGE, disk.id, message)
    free_bytes = min(disk.size_bytes - used_bytes, status.f_bavail * status.f_frsize)
    # A full cache is what a cache is for, as long as it may let go of something.
    if free_bytes < view.settings.segment_bytes and not _evictable(view, disk):
        message = f"{disk.path} has no room for another segment, {format_size(free_bytes)} free"
        yield of_disk(Code.DISK_FULL, disk.id, message)


def _evictable(view: CheckView, disk: DiskRecord) -> bool:
    if disk.role is not DiskRole.CACHE_STORAGE:
        return False
    with view.state.read() as db:
        return bool(segments.evictable(db, disk.id, limit=1))


def _roles(view: CheckView) -> Iterator[Finding]:
    for role in DiskRole:
        all_of_role = [disk for disk in view.disks.values() if disk.role is role]
        if not any(not disk.draining for disk in view.of_role(role)):
            what = "is allocated" if not all_of_role else "is there and in use"
            message = f"no {role} disk {what}"
            yield of_gateway(Code.DISKS_NEEDED, view.gateway.id, message)
        size_bytes = sum(disk.size_bytes for disk in all_of_role)
        if all_of_role and not AWS_MIN_BYTES <= size_bytes <= AWS_MAX_BYTES[role]:
            message = f"{role} has {format_size(size_bytes)} in all"
            yield of_gateway(Code.DISK_SIZE, view.gateway.id, message)


def _shared(view: CheckView) -> Iterator[Finding]:
    """Yield a finding if no cache disk is on another file system than some upload buffer."""
    devices: dict[DiskRole, set[int]] = {}
    for role in DiskRole:
        devices[role] = set()
        for disk in view.of_role(role):
            with contextlib.suppress(OSError):
                devices[role].add(disk.path.stat().st_dev)
    caches, buffers = devices[DiskRole.CACHE_STORAGE], devices[DiskRole.UPLOAD_BUFFER]
    if caches and buffers and len(caches | buffers) == 1:
        message = "cache and upload buffer share a file system: one file serves both roles"
        yield of_gateway(Code.DISKS_SHARED, view.gateway.id, message)


def _tapes_that_need(view: CheckView, disk: DiskRecord) -> Sequence[str]:
    """Return the tapes of which the disk has, or had, a copy that is not in the store."""
    there = [one for one in view.disks.values() if one.id != disk.id and view.is_there(one.id)]
    with view.state.read() as db:
        sealed = segments.tapes_waiting_on_disk(db, disk.id)
        if view.is_there(disk.id):
            unsealed = unsealed_on(db, disk)
        else:
            unsealed = unsealed_without_role(db, disk, there)
    return sorted({*sealed, *barcodes_of(unsealed)})


def _in_fstab(mount_point: Path) -> bool:
    try:
        lines = FSTAB.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    fields = (line.split() for line in lines if not line.lstrip().startswith("#"))
    return any(len(row) > 1 and row[1] == str(mount_point) for row in fields)
