"""A directory as a disk of the gateway: its marker says whose it is and what for.

The marker is a file of its own on the disk and not only a row of the state, so that a second
gateway refuses the directory and a disk mounted elsewhere is noticed.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

MARKER_NAME = "tapectl-disk.json"
CACHE_ROLE = "CACHE_STORAGE"
BUFFER_ROLE = "UPLOAD_BUFFER"

_MARKER_VERSION = 1
_MARKER_BYTES_MAX = 65536


@dataclass(frozen=True, slots=True)
class DiskMarker:
    """Who owns a directory: the disk's id, the gateway's id, and CACHE_ROLE or BUFFER_ROLE."""

    disk_id: str
    gateway_id: str
    role: str


def read_marker(path: Path) -> DiskMarker | None:
    """Return the marker of a directory; None if it has none that can be read."""
    try:
        with open(path / MARKER_NAME, "rb") as file:
            fields = json.loads(file.read(_MARKER_BYTES_MAX))
        if fields["version"] != _MARKER_VERSION:
            return None
        return DiskMarker(str(fields["disk_id"]), str(fields["gateway_id"]), str(fields["role"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def prepare(path: Path, marker: DiskMarker) -> None:
    """Make an existing directory a disk: `tapes/` and the marker, durably, the marker last.

    Raises OSError.
    """
    (path / "tapes").mkdir(mode=0o700, exist_ok=True)
    text = json.dumps({"version": _MARKER_VERSION, **asdict(marker)}, indent=2) + "\n"
    draft = path / f"{MARKER_NAME}.new"
    with open(draft, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path / MARKER_NAME)
    sync_folder(path)


def remove_marker(path: Path) -> None:
    """Make a directory no disk any more; segments in it stay. No error if it was none."""
    for name in (MARKER_NAME, f"{MARKER_NAME}.new"):
        (path / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (path / "tapes").rmdir()


def give_to_owner_of(folder: Path, made: Path) -> None:
    """Give a new file or folder to the owner of `folder`: what root makes is to be read and
    written by the user that serves. Raises OSError."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(made, owner.st_uid, owner.st_gid)


def sync_folder(path: Path) -> None:
    """Return when the entries of a directory are on stable storage; raise OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
