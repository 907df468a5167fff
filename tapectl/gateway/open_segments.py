"""How many segments are open on a disk, in any process: the files say so.

A new segment asks for that, while a block waits. So a tape's folder is read again only if it has
changed; and where disks hold so much that even this takes its time, not at every new segment.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from tapectl.disks.tape_files import OPEN

# A folder that changes within a tick of its file system's clock may look as it did before.
_TICK_NS = 3_000_000_000
# A look may be so much older for each folder and file that it found: ten times as long as it took.
# Below a thousand of them it is as it is now.
_AGE_PER_NAME_S = 10e-6
_NAMES_MIN = 1000


@dataclass(frozen=True, slots=True)
class _Folder:
    """A tape's folder as it was read; `changed` tells whether it is another one now."""

    changed: tuple[int, int]  # st_ino, st_mtime_ns
    settled: bool  # every later change shows
    open_segments: int
    names: int


@dataclass(frozen=True, slots=True)
class _Look:
    """All folders of a disk, by name; good until `until_s` of the monotonic clock."""

    folders: dict[str, _Folder]
    open_segments: int
    until_s: float


class OpenSegments:
    """Counts them, and remembers. Threads may share it."""

    def __init__(self) -> None:
        self._looks: dict[Path, _Look] = {}

    def count(self, tapes_path: Path) -> int:
        """Return how many are open in the folders of the tapes of one disk; raise OSError."""
        before = self._looks.get(tapes_path)
        now_s = time.monotonic()
        if before is None or now_s >= before.until_s:
            before = _look(tapes_path, before.folders if before else {}, now_s)
            self._looks[tapes_path] = before
        return before.open_segments


def _look(tapes_path: Path, known: dict[str, _Folder], now_s: float) -> _Look:
    folders: dict[str, _Folder] = {}
    names_read = 0
    with os.scandir(tapes_path) as entries:
        for entry in entries:
            # It may go meanwhile.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                if not entry.is_dir():
                    continue
                status = entry.stat()
                changed = status.st_ino, status.st_mtime_ns
                folder = known.get(entry.name)
                if folder is None or not folder.settled or folder.changed != changed:
                    folder = _read(entry.path, changed)
                    names_read += folder.names
                folders[entry.name] = folder
    names_read += len(folders)
    age_s = names_read * _AGE_PER_NAME_S if names_read > _NAMES_MIN else 0.0
    return _Look(folders, sum(one.open_segments for one in folders.values()), now_s + age_s)


def _read(path: str, changed: tuple[int, int]) -> _Folder:
    # The clock before the names: what changes after it may leave the same time.
    settled = changed[1] < time.time_ns() - _TICK_NS
    names = os.listdir(path)
    return _Folder(changed, settled, sum(name.endswith(OPEN) for name in names), len(names))
