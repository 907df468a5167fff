"""The kernel's page cache: what it need not keep of a tape's files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


def drop_pages(paths: Iterable[Path]) -> None:
    """Free the memory that files are in, as far as it is on disk; a file that is gone has none."""
    for path in paths:
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)
