"""Files of the directory store that are whole or absent after a crash or a power cut.

A temporary file is written and synchronised in a folder of its own on the same
file system, then renamed over its final name, then the folder is synchronised.
"""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_COPY_BYTES = 1 << 20
_SERIAL = itertools.count()


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create `folder` and what is missing above it, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def temporary_name(folder: Path) -> Path:
    """Return a name in `folder` that no other thread or process uses."""
    return folder / f"{os.getpid()}-{threading.get_native_id()}-{next(_SERIAL)}"


@contextmanager
def written_file(folder: Path, body: bytes | bytearray | memoryview | BinaryIO) -> Iterator[Path]:
    """Yield the path of a synchronised temporary file that holds `body`; removed afterwards
    unless it was renamed away."""
    path = temporary_name(folder)
    try:
        with path.open("xb") as file:
            if isinstance(body, bytes | bytearray | memoryview):
                file.write(body)
            else:
                shutil.copyfileobj(body, file, _COPY_BYTES)
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


def rename_durably(source: Path, destination: Path) -> None:
    """Move `source` over `destination` so that a power cut leaves the old file or the new one."""
    os.replace(source, destination)
    sync_folder(destination.parent)
