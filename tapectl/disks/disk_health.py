"""Whether a disk of the gateway is there, and what the kernel knows of its end coming."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from pathlib import Path

from tapectl.disks.disk_directory import read_marker

SYSFS = Path("/sys")
# JEDEC eMMC and UFS: 02h warning, 80 % of the reserved blocks are used; 03h urgent.
_WORN = frozenset((0x02, 0x03))


class DiskState(enum.Enum):
    """What a disk is good for."""

    GOOD = "good"
    FAILING = "failing"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class DiskHealth:
    """`reason` says what is wrong, empty where nothing is."""

    state: DiskState
    reason: str = ""


_GOOD = DiskHealth(DiskState.GOOD)


def disk_health(path: Path, disk_id: str, *, sysfs: Path = SYSFS) -> DiskHealth:
    """Look at the directory of a disk and at the device that its file system is on."""
    marker = read_marker(path)
    if marker is None or marker.disk_id != disk_id:
        return DiskHealth(DiskState.MISSING, "its directory is not there, or another disk's")
    try:
        flags = os.statvfs(path).f_flag
        device = path.stat().st_dev
    except OSError as error:
        return DiskHealth(DiskState.MISSING, str(error.strerror))
    if flags & os.ST_RDONLY:
        # What Linux does with a file system whose device fails.
        return DiskHealth(DiskState.FAILING, "its file system has become read-only")
    return _device_health(sysfs / f"dev/block/{os.major(device)}:{os.minor(device)}")


def _device_health(node: Path) -> DiskHealth:
    """Look at the block device `node` of sysfs; at the whole one, if it is a partition."""
    whole = node.resolve().parent if (node / "partition").exists() else node
    missing = _number(whole / "md/degraded", base=10)
    if missing:
        return DiskHealth(DiskState.FAILING, f"its array lacks {missing} devices")
    worn = _number(whole / "device/pre_eol_info", base=16)
    if worn in _WORN:
        return DiskHealth(DiskState.FAILING, "its device is at the end of its life")
    return _GOOD


def _number(path: Path, *, base: int) -> int | None:
    try:
        return int(path.read_text().strip(), base)
    except (OSError, ValueError):
        return None
