"""Files that commands make: whole, or not at all; and streams, which take what comes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tapectl.errors import UsageError


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that gets its name when it is whole and on the disk, or never; what is a stream
    is written as it is. Raises UsageError where it cannot be made."""
    if str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if is_stream(path):
        try:
            with path.open("wb") as stream:
                yield stream
        except OSError as exc:
            raise UsageError(f"cannot write to it ({exc.strerror}): {path}") from exc
        return
    if path.exists() and not path.is_file():
        raise UsageError(f"not a file, nor a stream: {path}")
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as exc:
        raise UsageError(f"cannot write the file ({exc.strerror}): {path}") from exc
    finally:
        draft.unlink(missing_ok=True)


def is_stream(path: Path) -> bool:
    """Whether it is standard output, a character device as /dev/null, or a pipe: there is nothing
    that a file could take the place of."""
    return str(path) == "-" or path.is_char_device() or path.is_fifo()
