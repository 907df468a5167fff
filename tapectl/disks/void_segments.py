"""Segments that have been written over: the memory and the files they are in serve new ones.

A new file gets new pages, and on a virtual machine perhaps some that its host has to give first;
what it replaces was in memory a moment ago. Where the store has a void segment, its file is written
over as it is: its pages stay, and so do its blocks on the disk. Of all others only the memory is
let go: they stay for older recovery points, or have to be uploaded yet.

That takes a processor milliseconds for each segment, and so is done by a thread of its own, a
segment at a time, as new ones need the memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tapectl.disks.interface import SegmentJournal
from tapectl.disks.page_cache import bytes_in_memory, drop_pages

# What is taken from the cache of a tape that is written over. No disk's size counts these files
# until they are written over, or removed when the tape is unloaded.
_TAKEN_BYTES_MAX = 512 << 20
_LOOKS_MAX = 64
# Of a tape of many thousand segments no more are in memory.
_IN_MEMORY_MAX = 1024
# So many are let go of at once, of a tape that begins to be written over: one new segment is under
# way then, and the next one has to find memory, too.
_AHEAD = 2
_dropping = ThreadPoolExecutor(max_workers=1, thread_name_prefix="drop")


class VoidSegments:
    """Those of one loaded tape. `background` runs a job, perhaps in another thread."""

    def __init__(
        self,
        barcode: str,
        journal: SegmentJournal,
        background: Callable[[Callable[[], None]], None],
    ) -> None:
        self._barcode = barcode
        self._journal = journal
        self._background = background
        self._lock = threading.Lock()
        self._files: list[Path] = []
        # Copies of each that are in memory, perhaps, and of no use there.
        self._in_memory: deque[Sequence[Path]] = deque(maxlen=_IN_MEMORY_MAX)
        self._closed = False

    def add(self, sequences: Sequence[int], paths_of: Callable[[int], Sequence[Path]]) -> None:
        """No reader will ask for these segments again; their files are closed here. `paths_of`
        returns the copies of one."""
        copies = {sequence: paths_of(sequence) for sequence in sequences[-_IN_MEMORY_MAX:]}
        if copies:
            self._background(lambda: self._take_from_cache(copies))

    def take(self, folder: Path) -> Path | None:
        """A new segment begins: return a file in a folder that may be written over, None if there
        is none."""
        with self._lock:
            found = next((path for path in self._files if path.parent == folder), None)
            if found is None:
                self._let_go(1)
            else:
                self._files.remove(found)
            return found

    def close(self) -> None:
        """Remove what has not been written over. Idempotent."""
        with self._lock:
            self._closed = True
            files, self._files = self._files, []
            self._let_go(len(self._in_memory))
        _remove(files)

    def _take_from_cache(self, copies: Mapping[int, Sequence[Path]]) -> None:
        taken = set(self._journal.release(self._barcode, _hot(copies)))
        with self._lock:
            self._in_memory += [paths for paths in copies.values() if taken.isdisjoint(paths)]
            if not self._closed:
                self._files += sorted(taken)
                self._let_go(0 if taken else _AHEAD)
                return
            self._let_go(len(self._in_memory))
        _remove(taken)

    def _let_go(self, count: int) -> None:
        for _ in range(min(count, len(self._in_memory))):
            _dropping.submit(drop_pages, self._in_memory.popleft())


def _hot(copies: Mapping[int, Sequence[Path]]) -> Sequence[int]:
    """Return segments of which a copy is in memory; the latest are the likeliest to be."""
    hot: list[int] = []
    left_bytes = _TAKEN_BYTES_MAX
    for sequence in sorted(copies, reverse=True)[:_LOOKS_MAX]:
        size_bytes = max(map(bytes_in_memory, copies[sequence]), default=0)
        if 0 < size_bytes <= left_bytes:
            left_bytes -= size_bytes
            hot.append(sequence)
    return hot


def _remove(files: Iterable[Path]) -> None:
    for path in files:
        with contextlib.suppress(OSError):
            path.unlink()


def take_over(old: Path, name: Path) -> int | None:
    """Give a file another name in its folder, to be written over; return a descriptor.

    None, and neither name is left, if it is gone, or if anybody else has it open, who would read
    what is written: nobody can begin to under the old name. Raises OSError if the new name is
    taken.
    """
    try:
        os.link(old, name)
    except FileExistsError:
        raise
    except OSError:
        return None
    finally:
        _remove((old,))
    with contextlib.suppress(OSError):
        fd = os.open(name, os.O_RDWR)
        if os.fstat(fd).st_nlink == 1 and _is_nobody_elses(fd):
            return fd
        os.close(fd)
    _remove((name,))
    return None


def _is_nobody_elses(fd: int) -> bool:
    """Whether this is the only descriptor of its file in all processes: then, and only then, the
    kernel grants a lease. Where it knows none, nobody can tell."""
    try:
        # Who opens the file while the lease is held makes the kernel send SIGIO, which would end
        # the process; this one is ignored.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    return True
