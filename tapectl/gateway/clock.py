"""The clock that services use unless they are given another."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Return the time of day in Unix milliseconds."""
    return time.time_ns() // 1_000_000
