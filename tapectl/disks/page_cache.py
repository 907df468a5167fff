"""The kernel's page cache: what it need not keep of a tape's files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

# So many bytes of a file are looked for.
_SAMPLES = 16


def bytes_in_memory(path: Path) -> int:
    """Return the length of a file that is in memory, as far as samples tell, else 0."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY)
        try:
            size_bytes = os.fstat(fd).st_size
            byte = bytearray(1)
            for offset in range(0, size_bytes, max(1, size_bytes // _SAMPLES)):
                os.preadv(fd, (byte,), offset, os.RWF_NOWAIT)
            return size_bytes
        finally:
            os.close(fd)
    return 0


def drop_pages(paths: Iterable[Path]) -> None:
    """Free the memory that files are in, as far as it is on disk; a file that is gone has none."""
    for path in paths:
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)
