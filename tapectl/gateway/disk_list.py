"""Local disks: those that are allocated, and those that could be."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tapectl.disks import block_devices, disk_directory
from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.disk_contents import DiskContents, contents_of
from tapectl.state import disks
from tapectl.state.database import State
from tapectl.state.disks import DiskRecord
from tapectl.state.gateways import read_gateway

AVAILABLE = "AVAILABLE"
"""Allocation of an empty block device, which add_disk would take."""

IN_USE = "IN USE"
"""Allocation of a block device that holds something: mounted, divided, or with a signature."""

PRESENT, MISSING, MISMATCH = "present", "missing", "mismatch"
DRAINING, DRAINED = "DRAINING", "DRAINED"


class DiskNotFoundError(TapectlError):
    """No allocated disk has this id or path."""

    exit_code = ExitCode.DISK_MISSING
    code = "disk_not_found"
    aws_code = "DiskDoesNotExist"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskInfo:
    """An allocated disk, or a block device that could be one.

    `status` is AWS's DiskStatus: `present`, `missing` (no marker of ours at the path) or
    `mismatch` (the marker of another disk); `allocation` is the role, AVAILABLE or IN USE.
    `path` is the directory, for an unallocated device where it is mounted or None. `used_bytes`
    counts sealed segments, None for an unallocated device. `drain` is DRAINING or DRAINED of a disk
    that is to go. `failure` is what the disk said when it last refused something, None when it has
    taken a segment since. `warnings` are for people.
    """

    disk_id: str
    path: Path | None
    device_node: str | None
    status: str
    allocation: str
    size_bytes: int
    used_bytes: int | None = None
    drain: str | None = None
    failure: str | None = None
    warnings: Sequence[str] = ()


def list_disks(state: State) -> Sequence[DiskInfo]:
    """Return the allocated disks in the order they were added, then the other block devices."""
    with state.read() as db:
        gateway_id = read_gateway(db).id
        records = disks.all_disks(db)
        contents = [contents_of(db, record) for record in records]
    listed = [
        disk_info(record, gateway_id, found)
        for record, found in zip(records, contents, strict=True)
    ]
    taken = {record.device_node for record in records}
    for device in block_devices.list_block_devices():
        if device.node not in taken:
            listed.append(
                DiskInfo(
                    disk_id=device.stable_id,
                    path=device.mount_point,
                    device_node=device.node,
                    status=PRESENT,
                    allocation=AVAILABLE if device.used_for is None else IN_USE,
                    size_bytes=device.size_bytes,
                )
            )
    return listed


def show_disk(state: State, text: str) -> DiskInfo:
    """Return one disk by its id, path or device node; raise DiskNotFoundError."""
    path = os.path.abspath(text)
    for disk in list_disks(state):
        if text in (disk.disk_id, disk.device_node) or str(disk.path) == path:
            return disk
    raise DiskNotFoundError(f"no such disk: {text}", hint="run `tapectl disk list`")


def find_allocated(records: Sequence[DiskRecord], text: str) -> DiskRecord:
    """Return an allocated disk by its id, path or device node; raise DiskNotFoundError."""
    path = os.path.abspath(text)
    for record in records:
        if text in (record.id, record.device_node) or str(record.path) == path:
            return record
    raise DiskNotFoundError(f"no such disk is allocated: {text}", hint="run `tapectl disk list`")


def disk_info(record: DiskRecord, gateway_id: str, contents: DiskContents) -> DiskInfo:
    return DiskInfo(
        disk_id=record.id,
        path=record.path,
        device_node=record.device_node,
        status=_status(record, gateway_id),
        allocation=record.role,
        size_bytes=record.size_bytes,
        used_bytes=contents.bytes,
        drain=(DRAINED if contents.empty else DRAINING) if record.draining else None,
        failure=record.failed_detail,
    )


def _status(record: DiskRecord, gateway_id: str) -> str:
    marker = disk_directory.read_marker(record.path)
    if marker is None:
        return MISSING
    expected = (record.id, gateway_id, record.role)
    return PRESENT if (marker.disk_id, marker.gateway_id, marker.role) == expected else MISMATCH
