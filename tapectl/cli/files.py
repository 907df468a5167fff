"""Files that commands make: whole, or not at all; and streams, which take what comes."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tapectl.errors import UsageError


def why_unread(error: OSError | UnicodeDecodeError) -> str:
    """Return why a file of text could not be read, in words: not its name, and nothing of it."""
    return "it is no UTF-8" if isinstance(error, UnicodeDecodeError) else str(error.strerror)


def is_stream(path: Path) -> bool:
    """Return whether the path leads to a device, a pipe or a socket, or is `-`: what is written
    to, and never replaced by a file."""
    if str(path) == "-":
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that gets its name when it is whole and on the disk, or never; `-` is standard
    output. A link stays one: what it leads to is replaced. Raises UsageError where it cannot be
    made."""
    if str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        if is_stream(path):
            with path.open("wb") as stream:
                yield stream
            return
        with _draft(path.resolve()) as file:
            yield file
    except OSError as exc:
        raise UsageError(
            f"cannot write the file ({exc.strerror}): {path}",
            hint="choose a folder that is there, that you may write to and that has room",
        ) from exc


@contextlib.contextmanager
def _draft(path: Path) -> Iterator[BinaryIO]:
    if path.is_dir():
        raise IsADirectoryError(None, "it is a folder", str(path))
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
