"""Memory of this process, as Linux counts it, and its time."""

from __future__ import annotations

import time
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class MemoryWatch:
    """Tells the peak of resident memory and the time from its making on."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()
        self.start_bytes = _field("VmRSS")
        # Lets the peak begin at what there is now.
        _CLEAR.write_text("5")

    def seconds(self) -> float:
        return time.monotonic() - self._start_s

    def peak_bytes(self) -> int:
        return _field("VmHWM")

    def growth_bytes(self) -> int:
        """Return how much more it was at its peak than at the start."""
        return max(0, self.peak_bytes() - self.start_bytes)


def _field(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {name} in {_STATUS}")
