"""The lock that makes one process at a time the writer of a gateway.

It is held by `serve` and its children, or by `sync`. flock belongs to the open
file, which the children inherit: the lock is free only when the last of them
is gone, so a new supervisor can never meet an old worker on the same tape.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tapectl.serve.errors import AlreadyServingError
from tapectl.state.database import give_to_owner

LEAVING_WAIT_S = 15.0
"""How long an owner may take that is on its way out: workers of a killed supervisor flush first."""

_RETRY_S = 0.05


def lock_path(state_path: Path) -> Path:
    return state_path.with_name(state_path.name + ".lock")


@contextlib.contextmanager
def serve_lock(state_path: Path, role: str, *, wait_s: float = 0.0) -> Iterator[int]:
    """Hold the lock and yield its descriptor (to be inherited by children).

    Waits up to `wait_s` for an owner that is on its way out. Raises
    AlreadyServingError naming the owner.
    """
    deadline = time.monotonic() + wait_s
    lock_fd = os.open(lock_path(state_path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        give_to_owner(lock_fd, state_path)
        while True:
            try:
                fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    owner = os.pread(lock_fd, 200, 0).decode(errors="replace").strip()
                    raise AlreadyServingError(owner or "unknown process") from None
                time.sleep(_RETRY_S)
        os.ftruncate(lock_fd, 0)
        os.pwrite(lock_fd, f"{role}, pid {os.getpid()}\n".encode(), 0)
        yield lock_fd
    finally:
        os.close(lock_fd)


def lock_owner(state_path: Path) -> str | None:
    """Return what the holder of the lock wrote of itself, None if nobody holds it."""
    try:
        lock_fd = os.open(lock_path(state_path), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(lock_fd, 200, 0).decode(errors="replace").strip() or "unknown process"
    finally:
        os.close(lock_fd)
    return None
