"""A limit over minutes of work: several threads, pauses between objects, limits that change."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable

import pytest

from tapectl.store.traffic import Pace, Traffic

EXACT = 0.05
WINDOW_S = 60
LINE_BYTES_PER_S = 80e6
# As the stores would pass them without a limit, at most.
PIECE_BYTES = 1 << 20
MBIT = 1e6 / 8


class Working:
    """Time for a number of threads: it passes only while all of them sleep, to the end of the
    shortest sleep."""

    def __init__(self, threads: int) -> None:
        self.now_s = 0.0
        self._threads = threads
        self._sleeping: list[tuple[float, int]] = []
        self._serials = itertools.count()
        self._awake = threading.Condition()

    def sleep(self, seconds: float) -> None:
        with self._awake:
            mine = (self.now_s + seconds, next(self._serials))
            heapq.heappush(self._sleeping, mine)
            self._pass()
            self._awake.wait_for(lambda: mine not in self._sleeping)

    def end_thread(self) -> None:
        with self._awake:
            self._threads -= 1
            self._pass()

    def _pass(self) -> None:
        if self._sleeping and len(self._sleeping) == self._threads:
            self.now_s = heapq.heappop(self._sleeping)[0]
            self._awake.notify_all()


def moved_by_window(
    limit: Callable[[float], float],
    *,
    workers: int,
    object_bytes: int,
    pause_s: float,
    seconds: int = 180,
) -> list[int]:
    """Return the bytes of each window of time that workers move, with a pause after each object."""
    time = Working(workers)
    traffic = Traffic(lambda: limit(time.now_s), monotonic_s=lambda: time.now_s, sleep=time.sleep)
    moved = [0] * (seconds // WINDOW_S)

    def move_object(pace: Pace) -> None:
        left_bytes = object_bytes
        while left_bytes and time.now_s < seconds:
            piece_bytes = pace.piece_bytes(min(left_bytes, PIECE_BYTES))
            pace.take(piece_bytes)
            if time.now_s < seconds:
                moved[int(time.now_s // WINDOW_S)] += piece_bytes
            time.sleep(piece_bytes / LINE_BYTES_PER_S)
            left_bytes -= piece_bytes

    def work() -> None:
        while time.now_s < seconds:
            move_object(traffic.up)
            time.sleep(pause_s)
        time.end_thread()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return moved


@pytest.mark.parametrize(("workers", "pause_s"), [(1, 0.0), (1, 0.5), (4, 0.0), (4, 0.5)], ids=str)
@pytest.mark.parametrize("mbit_per_s", [1, 20, 100])
def test_every_minute_has_what_the_limit_gives(
    mbit_per_s: int, workers: int, pause_s: float
) -> None:
    rate = mbit_per_s * MBIT
    object_bytes = int(4 * rate)
    moved = moved_by_window(
        lambda _now_s: rate, workers=workers, object_bytes=object_bytes, pause_s=pause_s
    )
    assert moved == pytest.approx([rate * WINDOW_S] * len(moved), rel=EXACT)


def test_a_schedule_holds_in_each_of_its_intervals() -> None:
    rates = [20 * MBIT, 4 * MBIT, 100 * MBIT, 4 * MBIT, 40 * MBIT, 2 * MBIT]
    moved = moved_by_window(
        lambda now_s: rates[min(int(now_s // WINDOW_S), len(rates) - 1)],
        workers=8,
        object_bytes=8 << 20,
        pause_s=0.2,
        seconds=len(rates) * WINDOW_S,
    )
    assert moved == pytest.approx([rate * WINDOW_S for rate in rates], rel=EXACT)
