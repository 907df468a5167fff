"""Flushes a file in steps: a disk owes little of one file at a time, and whoever flushes another
one (a filemark of another drive) waits behind that little, and not behind a whole segment."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable

# Long enough that the disk is as fast as with all of it at once, short enough that a step of each
# of ten drives is written within the time of a seek or two.
STEP_BYTES = 4 << 20

# Flags of sync_file_range(2), which Python does not know.
_WRITE_AND_WAIT = 2 | 4
# The system, a sandbox, or the file system has no such call. What it would have done is left to
# the flush.
_UNKNOWN = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.ESPIPE, errno.EOPNOTSUPP})


def _libc_function() -> Callable[[int, int, int, int], int] | None:
    """Return libc's sync_file_range, which sets errno; None where there is none."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)
    if function is None:
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function  # type: ignore[no-any-return]  # ctypes makes them of attributes


_sync_file_range = _libc_function()


def flush_in_steps(fd: int, written: range, flush: Callable[[int], None]) -> None:
    """Have the last bytes of a file written step by step, then `flush` it (fsync, fdatasync).

    `written` are the offsets that have been written since it was flushed before. Raises OSError,
    also for a write that failed in a step: the kernel tells that once only, and so not to `flush`.
    """
    if len(written) > STEP_BYTES:
        for offset in written[::STEP_BYTES]:
            write_out(fd, offset, STEP_BYTES)
    flush(fd)


def write_out(fd: int, offset: int, size_bytes: int) -> None:
    """Return when a range of a file has been written to its disk, which may still lose it.

    Raises OSError.
    """
    if _sync_file_range is None or not _sync_file_range(fd, offset, size_bytes, _WRITE_AND_WAIT):
        return
    code = ctypes.get_errno()
    if code not in _UNKNOWN:
        raise OSError(code, os.strerror(code))
