"""Waiting awake: a processor that goes to sleep between two commands takes longer to come back than
many a command takes.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from typing import Protocol

from tapectl.serve.cpu_latency import CpuLatency

_NS_PER_US = 1000
# A look at the sockets takes 1 to 2 us. One of more than this may have waited for somebody else.
_SLOW_LOOK_NS = 10_000
# So many commands are slept for when it has: twice as many each time, and one less for each that
# was waited for awake.
_SLEEPS_MIN, _SLEEPS_MAX = 32, 4096
# How long processors are asked to stay awake after the last command that came soon.
_KEPT_AWAKE_S = 0.02
_KEPT_AWAKE_NS = int(_KEPT_AWAKE_S * 1e9)


class Readable(Protocol):
    """A `select.poll` object that sockets are registered with."""

    def poll(self, timeout_ms: float, /) -> list[tuple[int, int]]: ...


def times_put_aside() -> int:
    """Return how often this thread could have gone on and another one did."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


class BusyPolling:
    """Waits for sockets to have something to read, awake while their peer is quick.

    Who goes on soon enough is waited for by asking the kernel again and again. After one wait that
    took longer the thread sleeps, until waits are short again: a silent peer costs nothing. And it
    sleeps for a while where others want the processor, which is awake by them.

    While its peer is quick it asks for all processors to stay awake: the peer's, if it is on this
    machine, and that which hears the network, take as long to come back.
    """

    def __init__(
        self,
        readable: Readable,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
        put_aside: Callable[[], int] = times_put_aside,
        latency: CpuLatency | None = None,
    ) -> None:
        """The owner of `readable` may change what is registered at any time. One thread waits."""
        self._poll = readable.poll
        self._clock_ns = clock_ns
        self._put_aside = put_aside
        self._latency = CpuLatency() if latency is None else latency
        self._times_put_aside = 0
        self._awake = False
        self._sleeps_next = _SLEEPS_MIN
        self._sleeps_left = 0
        self._quick_at_ns = 0

    @property
    def awake(self) -> bool:
        """Whether the peer is quick and nobody else wants the processor, as far as is known."""
        return self._awake

    def wait(self, timeout_s: float, awake_us: float) -> list[tuple[int, int]]:
        """Return what is readable (descriptor, event), nothing after `timeout_s`.

        A wait of less than `awake_us` is a short one; 0: none is.
        """
        poll, now = self._poll, self._clock_ns
        begin, awake_ns = now(), awake_us * _NS_PER_US
        if self._awake and awake_ns:
            before = begin
            while True:
                if found := poll(0):
                    self._quick_at_ns = begin
                    if self._sleeps_next > _SLEEPS_MIN:
                        self._sleeps_next -= 1
                    return found
                os.sched_yield()
                after = now()
                if after - before > _SLOW_LOOK_NS and self._others_are_waiting():
                    self._sleeps_left = self._sleeps_next
                    self._sleeps_next = min(2 * self._sleeps_next, _SLEEPS_MAX)
                    break
                if after - begin > awake_ns:
                    break
                before = after
            self._awake = False
        found = self._sleep(timeout_s)
        end = now()
        quick = end - begin < awake_ns
        if quick:
            self._quick_at_ns = end
            self._latency.hold()
        elif end - self._quick_at_ns > _KEPT_AWAKE_NS:
            self.rest()
        if self._sleeps_left:
            self._sleeps_left -= 1
        else:
            self._awake = quick
        return found

    def rest(self) -> None:
        """Let processors sleep: nothing quick is to be waited for. The next quick wait ends it."""
        self._latency.release()

    def _sleep(self, timeout_s: float) -> list[tuple[int, int]]:
        if not self._latency.held:
            return self._poll(timeout_s * 1000)
        kept_awake_s = min(timeout_s, _KEPT_AWAKE_S)
        if found := self._poll(kept_awake_s * 1000):
            return found
        self.rest()
        return self._poll((timeout_s - kept_awake_s) * 1000)

    def _others_are_waiting(self) -> bool:
        # Interrupts take as long, and nobody else runs then.
        before, self._times_put_aside = self._times_put_aside, self._put_aside()
        return self._times_put_aside != before
