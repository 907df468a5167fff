"""Block devices of this machine: which could be a disk, and making a file system on an empty one.

Asks `lsblk`, and where there is none sysfs. Writes to a device only in `format_and_mount`, and
only if nothing says that it holds or serves anything.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LSBLK = (
    "lsblk",
    "--json",
    "--bytes",
    "--output",
    "PATH,NAME,TYPE,SIZE,RO,MODEL,SERIAL,WWN,FSTYPE,PTTYPE,MOUNTPOINT",
)
# What lsblk calls devices that can hold a file system; not rom, and not the parts of an array.
_TYPES = ("disk", "part", "lvm", "crypt", "raid", "mpath", "loop")
_TIMEOUT_S = 30
_MKFS_TIMEOUT_S = 3600
_SECTOR_BYTES = 512  # of sysfs, whatever the device's own are


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """A block device that could hold a file system.

    `stable_id` is its WWN or serial number where it has one, else its node. `used_for` says in
    words what it serves already, None if nothing is known.
    """

    node: str
    stable_id: str
    size_bytes: int
    model: str | None = None
    mount_point: Path | None = None
    used_for: str | None = None


def list_block_devices(sysfs: Path = Path("/sys")) -> Sequence[BlockDevice]:
    """Return the writable block devices that have a size, in the system's order."""
    rows = _lsblk_rows() if shutil.which("lsblk") else None
    found = _from_sysfs(sysfs) if rows is None else _from_lsblk(rows, sysfs)
    return list(found)


def format_and_mount(node: str, mount_point: Path) -> None:
    """Make an ext4 file system on an empty block device and mount it at an existing directory.

    Raises OSError, the device untouched, if it holds a signature, has partitions or is in use;
    and if a tool is missing or fails.
    """
    _require_unused(node)
    signatures = _run(("wipefs", "--no-act", "--parsable", node), _TIMEOUT_S)
    kinds = [line for line in signatures.splitlines() if line and not line.startswith("#")]
    if kinds:
        raise OSError(errno.EEXIST, f"it holds a signature: {kinds[0]}", node)
    # No blocks reserved for root: the gateway keeps its own account of what is free.
    _run(("mkfs.ext4", "-q", "-m", "0", "-L", "tapectl", node), _MKFS_TIMEOUT_S)
    _run(("mount", "-t", "ext4", node, os.fspath(mount_point)), _TIMEOUT_S)


def _require_unused(node: str) -> None:
    """Raise OSError if the device is mounted, held by another or divided into partitions."""
    # Linux grants an exclusive open only of a device that nothing else has claimed.
    os.close(os.open(node, os.O_RDONLY | os.O_EXCL))
    name = os.path.basename(os.path.realpath(node))
    folder = Path("/sys/class/block") / name
    if any(child.is_dir() and (child / "partition").exists() for child in folder.glob(f"{name}*")):
        raise OSError(errno.EBUSY, "it has partitions", node)


def _run(arguments: Sequence[str], timeout_s: int) -> str:
    """Run a tool and return what it prints; raise OSError with what it complains of."""
    try:
        done = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise OSError(errno.ETIMEDOUT, f"{arguments[0]} does not answer") from exc
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise OSError(errno.EIO, f"{arguments[0]}: {said[-1]}")
    return done.stdout


def _lsblk_rows() -> Sequence[Mapping[str, Any]] | None:
    try:
        rows = json.loads(_run(_LSBLK, _TIMEOUT_S))["blockdevices"]
    except (OSError, ValueError, KeyError):
        # lsblk fails where there is no /sys/dev/block, as in some containers.
        return None
    return rows if isinstance(rows, list) else None


def _from_lsblk(rows: Sequence[Mapping[str, Any]], sysfs: Path) -> Iterator[BlockDevice]:
    for row in rows:
        children: Sequence[Mapping[str, Any]] = row.get("children") or ()
        # Old versions of lsblk print numbers and flags as text.
        size_bytes, read_only = int(row["size"] or 0), str(row["ro"]) in ("True", "1")
        if size_bytes and not read_only and str(row["type"]).startswith(_TYPES):
            # Swap is "mounted" at a word in brackets.
            mount_point = str(row.get("mountpoint") or "")
            yield BlockDevice(
                node=str(row["path"]),
                stable_id=str(row.get("wwn") or row.get("serial") or row["path"]),
                size_bytes=size_bytes,
                model=_text(row.get("model")),
                mount_point=Path(mount_point) if mount_point.startswith("/") else None,
                used_for=_used_for(row, children, sysfs),
            )
        yield from _from_lsblk(children, sysfs)


def _used_for(
    row: Mapping[str, Any], children: Sequence[Mapping[str, Any]], sysfs: Path
) -> str | None:
    if row.get("mountpoint"):
        return f"mounted at {row['mountpoint']}"
    if children:
        return f"holds {children[0]['name']}"
    if row.get("fstype"):
        return f"{row['fstype']} signature"
    if row.get("pttype"):
        return f"{row['pttype']} partition table"
    holders = _holders(sysfs / "class" / "block" / str(row["name"]))
    return f"holds {holders[0]}" if holders else None


def _from_sysfs(sysfs: Path) -> Iterator[BlockDevice]:
    """Yield the devices that sysfs knows. It does not know signatures: formatting looks again."""
    mounts = _mounts()
    for folder in sorted((sysfs / "class" / "block").iterdir()):
        size_bytes = int(_read(folder / "size") or 0) * _SECTOR_BYTES
        if not size_bytes or _read(folder / "ro") == "1":
            continue
        node = f"/dev/{folder.name}"
        mount_point = mounts.get(node)
        parts = sorted(part.parent.name for part in folder.glob("*/partition"))
        held = [*parts, *_holders(folder)]
        used_for = f"holds {held[0]}" if held else None
        yield BlockDevice(
            node=node,
            stable_id=_read(folder / "wwid") or _read(folder / "device" / "wwid") or node,
            size_bytes=size_bytes,
            model=_read(folder / "device" / "model"),
            mount_point=mount_point,
            used_for=used_for if mount_point is None else f"mounted at {mount_point}",
        )


def _mounts() -> Mapping[str, Path]:
    text = _read(Path("/proc/self/mounts")) or ""
    rows = (line.split() for line in text.splitlines())
    # Blanks in names stand as octal escapes there.
    return {row[0]: Path(row[1].replace("\\040", " ")) for row in rows if len(row) > 1}


def _holders(folder: Path) -> Sequence[str]:
    try:
        return sorted(os.listdir(folder / "holders"))
    except OSError:
        return ()


def _read(path: Path) -> str | None:
    try:
        return _text(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


def _text(value: object) -> str | None:
    return (str(value).strip() or None) if value is not None else None
