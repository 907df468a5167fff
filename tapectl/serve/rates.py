"""How fast counters grow: measured in the process that counts, told over its control channel."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_SAMPLE_S = 1.0


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    totals: Mapping[str, int]


class RateMeter:
    """Rates of some counters over the last `window_s` seconds.

    Counters that grow in large steps, once in a while, are measured from step to step: the last
    sample before the window is kept, and one without any change is none.
    """

    def __init__(
        self,
        totals: Callable[[], Mapping[str, int]],
        *,
        window_s: float,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._totals = totals
        self._window_s = window_s
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._samples = deque([_Sample(monotonic_s(), dict(totals()))])

    def start(self) -> None:
        """Sample once a second from now on, in a thread of its own."""
        threading.Thread(target=self._run, name="rates", daemon=True).start()

    def sample(self) -> None:
        """Look at the counters."""
        sample = _Sample(self._monotonic_s(), dict(self._totals()))
        with self._lock:
            if sample.totals != self._samples[-1].totals:
                self._samples.append(sample)
            # The first sample is the last one at or before the beginning of the window.
            begin_s = sample.at_s - self._window_s
            while len(self._samples) > 1 and self._samples[1].at_s <= begin_s:
                self._samples.popleft()

    def rates(self) -> Mapping[str, float]:
        """Return what each counter grows by in a second."""
        self.sample()
        with self._lock:
            first, last = self._samples[0], self._samples[-1]
        elapsed_s = self._monotonic_s() - first.at_s
        if elapsed_s <= 0:
            return dict.fromkeys(last.totals, 0.0)
        return {
            name: max(0, total - first.totals[name]) / elapsed_s
            for name, total in last.totals.items()
        }

    def _run(self) -> None:
        while True:
            time.sleep(_SAMPLE_S)
            self.sample()
