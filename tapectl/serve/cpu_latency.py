"""Asking the kernel to keep processors from sleep for a moment: its CPU latency QoS."""

from __future__ import annotations

import os
import struct
from pathlib import Path

_DEVICE = Path("/dev/cpu_dma_latency")
_IDLE_DRIVER = Path("/sys/devices/system/cpu/cpuidle/current_driver")
# On a virtual machine any sleep goes by way of the host, and 0 us is none. Elsewhere the first
# state of sleep takes a microsecond or two to leave, and saves most of the power.
_PARAVIRTUAL_DRIVER = "haltpoll"
_PARAVIRTUAL_US, _FIRST_STATE_US = 0, 2
_REQUEST = struct.Struct("@i")


class CpuLatency:
    """One request, which holds for all processors, while this process lives and `held` says so.

    The kernel takes it from who may write to the device, as root may; for others nothing happens.
    """

    def __init__(self, device: Path = _DEVICE) -> None:
        self._device = device
        self._fd: int | None = None
        self._refused = False

    @property
    def held(self) -> bool:
        return self._fd is not None

    def hold(self) -> None:
        """Ask that no processor sleeps deeper than it comes back from at once."""
        if self._fd is not None or self._refused:
            return
        try:
            fd = os.open(self._device, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, _REQUEST.pack(_longest_us()))
            except OSError:
                os.close(fd)
                raise
        except OSError:
            self._refused = True
        else:
            self._fd = fd

    def release(self) -> None:
        """Ask for nothing any more: the request ends with its descriptor. Idempotent."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def _longest_us() -> int:
    try:
        driver = _IDLE_DRIVER.read_text().strip()
    except OSError:
        driver = ""
    return _PARAVIRTUAL_US if driver == _PARAVIRTUAL_DRIVER else _FIRST_STATE_US
