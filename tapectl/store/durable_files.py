"""Files of the directory store that are whole or absent after a crash or a power cut.

A temporary file is written and synchronised in a folder of its own on the same
file system, then renamed over its final name, then the folder is synchronised.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_COPY_BYTES = 1 << 20
_LARGE_BYTES = 1 << 20
# Of one copy_file_range(2).
_RANGE_BYTES = 1 << 30
# File systems that cannot do it for these files say one of these.
_NO_COPY_RANGE = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_SERIAL = itertools.count()
# The umask may take away from them. Others read no tapes, whatever it lets them.
_FOLDER_MODE, _FILE_MODE = 0o770, 0o660
# Longer than any upload takes.
ABANDONED_S = 24 * 3600
# A few for each tape of a large library; beyond them all are flushed once more.
_KNOWN_FOLDERS_MAX = 20_000


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DurableFolders:
    """Makes folders whose names are durable, below one root; for any thread.

    That a folder is there says nothing of its name: whoever made it may not have come to flush it,
    or the flush failed. So each is flushed once by each process that puts files into it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        # Inodes of the folders whose names this process has flushed.
        self._durable: dict[Path, int] = {}

    def make(self, folder: Path) -> None:
        """Create `folder` and what is missing between it and the root, durably."""
        known = self._durable.get(folder)
        if folder == self._root or (known is not None and _inode(folder) == known):
            return
        self.make(folder.parent)
        folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        sync_folder(folder.parent)
        if len(self._durable) >= _KNOWN_FOLDERS_MAX:
            self._durable.clear()
        self._durable[folder] = folder.stat().st_ino


def _inode(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except FileNotFoundError:
        return None


def temporary_name(folder: Path) -> Path:
    """Return a name in `folder` that no other thread or process uses."""
    return folder / f"{os.getpid()}-{threading.get_native_id()}-{next(_SERIAL)}"


def remove_abandoned(folder: Path) -> None:
    """Remove temporary files that nobody has touched for a day: their processes died. What cannot
    be removed stays."""
    oldest_s = time.time() - ABANDONED_S
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            # Not the time of the contents: a second name of an old file is new.
            if entry.stat(follow_symlinks=False).st_ctime < oldest_s:
                Path(entry.path).unlink(missing_ok=True)


@contextmanager
def written_file(folder: Path, body: bytes | bytearray | memoryview | BinaryIO) -> Iterator[Path]:
    """Yield the path of a synchronised temporary file that holds `body`; removed afterwards
    unless it was renamed away."""
    path = temporary_name(folder)
    try:
        with open(path, "xb", opener=_private) as file:
            if isinstance(body, bytes | bytearray | memoryview):
                file.write(body)
            else:
                shutil.copyfileobj(body, file, _COPY_BYTES)
            file.flush()
            _settle(file)
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def joined_file(folder: Path, sources: Sequence[Path]) -> Iterator[Path]:
    """Yield the path of a synchronised temporary file that holds the contents of `sources`, one
    after the other; removed afterwards unless it was renamed away."""
    path = temporary_name(folder)
    try:
        with open(path, "x+b", opener=_private) as file:
            for source in sources:
                with source.open("rb") as content:
                    _append(content, file)
            file.flush()
            _settle(file)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, _FILE_MODE)


def _settle(file: BinaryIO) -> None:
    """Make the contents of a new file durable. What is large and read next in months, if ever, need
    not be in memory, which drives that write would have to find elsewhere."""
    os.fsync(file.fileno())
    if file.tell() >= _LARGE_BYTES:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _append(source: BinaryIO, target: BinaryIO) -> None:
    """Copy a whole file to where the other one stands: without the bytes where the file system
    shares them between files, and within the kernel elsewhere."""
    try:
        while os.copy_file_range(source.fileno(), target.fileno(), _RANGE_BYTES):
            pass
    except OSError as error:
        if error.errno not in _NO_COPY_RANGE:
            raise
        # What has been copied before has moved both files' positions on.
        shutil.copyfileobj(source, target, _COPY_BYTES)
        target.flush()


def rename_durably(source: Path, destination: Path) -> None:
    """Move `source` over `destination` so that a power cut leaves the old file or the new one."""
    os.replace(source, destination)
    sync_folder(destination.parent)
