"""The UIO device by which the kernel gives a TCMU ring to a process: found, mapped, waited for."""

from __future__ import annotations

import mmap
import os
import select
import time
from pathlib import Path

from tapectl.lio.errors import KernelTargetError
from tapectl.lio.names import SUBTYPE

_CLASS = Path("/sys/class/uio")
_DEVICES = Path("/dev")
# A dead process lets go of its device when the kernel has torn it down; devtmpfs and udev make a
# node soon after the device.
_OPEN_WAIT_S = 10.0
_POLL_S = 0.05
_COUNT_BYTES = 4


class UioDevice:
    """The open device of one storage object. Only one process at a time can have it.

    `memory` is the whole ring. `identity` names this ring and no other, of this boot or another.
    """

    def __init__(self, storage_object: str) -> None:
        """Find and map it; raise KernelTargetError."""
        deadline = time.monotonic() + _OPEN_WAIT_S
        while (name := _find(storage_object)) is None:
            if time.monotonic() > deadline:
                raise KernelTargetError(f"the kernel shows no UIO device for {storage_object}")
            time.sleep(_POLL_S)
        self.identity = _identity(name, storage_object)
        self._fd = _open(_DEVICES / name, deadline)
        size_bytes = int((_CLASS / name / "maps/map0/size").read_text(), 0)
        self._map = mmap.mmap(self._fd, size_bytes)
        self.memory = memoryview(self._map)
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._poll.register(self._wake_fd, select.POLLIN)

    def ring(self) -> None:
        """Tell the kernel that there are answers."""
        os.write(self._fd, b"\0\0\0\0")

    def wait(self, timeout_s: float | None = None) -> None:
        """Return when there may be entries, `wake` was called, or the time is over.

        Raises OSError where the device is gone.
        """
        for fd, events in self._poll.poll(None if timeout_s is None else timeout_s * 1000):
            if fd == self._wake_fd:
                os.eventfd_read(self._wake_fd)
            elif events & select.POLLIN:
                os.read(self._fd, _COUNT_BYTES)
            else:
                raise OSError("the kernel has taken the device away")

    def wake(self) -> None:
        """Let `wait` return; from any thread."""
        os.eventfd_write(self._wake_fd, 1)

    def close(self) -> None:
        """Wait for it no more; it is free for others once the mapping ends with this process."""
        os.close(self._fd)
        os.close(self._wake_fd)


def _find(storage_object: str) -> str | None:
    """Return `uioN` of our storage object of that name: tcm-user/<hba>/<name>/<subtype>/..."""
    for folder in sorted(_CLASS.glob("uio*")):
        try:
            parts = (folder / "name").read_text().strip().split("/")
        except OSError:  # it goes while we look
            continue
        if parts[0] == "tcm-user" and parts[2:4] == [storage_object, SUBTYPE]:
            return folder.name
    return None


def _open(path: Path, deadline: float) -> int:
    while True:
        try:
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as exc:
            if time.monotonic() > deadline:
                raise KernelTargetError(
                    f"cannot open {path}: {exc.strerror}",
                    hint="is another process at it, as tcmu-runner?",
                ) from exc
        time.sleep(_POLL_S)


def _identity(name: str, storage_object: str) -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    # The folder is made with the device: another device of the same name has another inode.
    inode = (_CLASS / name).resolve().stat().st_ino
    return f"{boot} {storage_object} {name} {inode}"
