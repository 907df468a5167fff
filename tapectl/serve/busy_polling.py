"""Waiting awake: a processor that goes to sleep between two commands takes longer to come back than
many a command takes.
"""

from __future__ import annotations

import os
import time
from typing import Protocol

_NS_PER_US = 1000


class Readable(Protocol):
    """A `select.poll` object that sockets are registered with."""

    def poll(self, timeout_ms: float, /) -> list[tuple[int, int]]: ...


class BusyPolling:
    """Waits for sockets to have something to read, awake while their peer is quick.

    Who goes on soon enough is waited for by asking the kernel again and again, and whoever else
    wants the processor goes first. After one wait that took longer the thread sleeps, until waits
    are short again: a silent peer costs nothing.
    """

    def __init__(self, readable: Readable) -> None:
        """The owner of `readable` may change what is registered at any time."""
        self._poll = readable.poll
        self._awake = False

    def wait(self, timeout_s: float, awake_us: float) -> list[tuple[int, int]]:
        """Return what is readable (descriptor, event), nothing after `timeout_s`.

        A wait of less than `awake_us` is a short one; 0: none is.
        """
        poll, now = self._poll, time.perf_counter_ns
        begin, awake_ns = now(), awake_us * _NS_PER_US
        if self._awake:
            while now() - begin < awake_ns:
                if found := poll(0):
                    return found
                os.sched_yield()
            self._awake = False
        found = poll(timeout_s * 1000)
        self._awake = now() - begin < awake_ns
        return found
