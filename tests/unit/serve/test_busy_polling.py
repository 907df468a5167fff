"""Waiting awake: nobody sleeps while commands come quickly, and a silent peer is slept for."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from tapectl.serve.busy_polling import BusyPolling
from tapectl.serve.cpu_latency import CpuLatency

READABLE = [(5, 1)]
ASLEEP, LOOK = 1000.0, 0
KEPT_AWAKE = 20.0
AWAKE_US = 100


class Sockets:
    """They become readable `looks` looks after the last command, and time passes with each look."""

    def __init__(self, device: Path = Path(os.devnull, "none")) -> None:
        self.looks = 0
        self.look_ns = 1000
        self.sleep_ns = 20_000
        self.now_ns = 0
        self.put_aside = 0
        self._asked: list[float] = []
        self.latency = CpuLatency(device)
        self.waiting = BusyPolling(self, lambda: self.now_ns, lambda: self.put_aside, self.latency)
        self.silent = False

    def poll(self, timeout_ms: float) -> list[tuple[int, int]]:
        self._asked.append(timeout_ms)
        self.now_ns += self.sleep_ns if timeout_ms else self.look_ns
        if timeout_ms == KEPT_AWAKE and self.silent:
            return []
        if not timeout_ms and self.looks:
            self.looks -= 1
            return []
        return READABLE

    def wait(self, *, looks: int = 0, awake_us: float = AWAKE_US) -> list[float]:
        """Wait for the next command; return with what timeouts the sockets were asked."""
        self.looks, self._asked = looks, []
        assert self.waiting.wait(1.0, awake_us) == READABLE
        return self._asked


def test_sleeps_until_a_wait_was_short() -> None:
    sockets = Sockets()
    assert sockets.wait() == [ASLEEP]
    assert sockets.wait(looks=3) == [LOOK] * 4
    sockets = Sockets()
    sockets.sleep_ns = 150_000
    assert sockets.wait() == sockets.wait() == [ASLEEP]


def test_who_is_silent_is_slept_for() -> None:
    sockets = Sockets()
    sockets.wait()
    sockets.sleep_ns = 10**9
    asked = sockets.wait(looks=1000)
    assert asked[-1] == ASLEEP
    assert set(asked[:-1]) == {LOOK}
    assert 90 < len(asked) < 110
    assert sockets.wait() == [ASLEEP]


def test_others_that_want_the_processor_go_first() -> None:
    sockets = Sockets()

    def sleeps_when_put_aside() -> int:
        while sockets.wait() == [ASLEEP]:
            pass
        sockets.put_aside += 1
        sockets.look_ns = 30_000
        assert sockets.wait(looks=1000) == [LOOK, ASLEEP]
        assert not sockets.waiting.awake
        sockets.look_ns = 1000
        sleeps = 0
        while sockets.wait() == [ASLEEP]:
            sleeps += 1
        return sleeps

    first = sleeps_when_put_aside()
    assert first > 10
    assert sockets.waiting.awake
    assert sleeps_when_put_aside() > 1.5 * first
    for _ in range(10 * first):
        sockets.wait()
    # They have ended, it seems.
    assert sleeps_when_put_aside() < 1.5 * first


def test_an_interrupt_is_nobody_who_wants_it() -> None:
    sockets = Sockets()
    sockets.wait()
    sockets.look_ns = 30_000
    assert sockets.wait(looks=1) == [LOOK] * 2


def test_can_be_turned_off_at_any_time() -> None:
    sockets = Sockets()
    assert sockets.wait(awake_us=0) == [ASLEEP]
    assert sockets.wait() == [ASLEEP]
    assert sockets.wait() == [LOOK]
    assert sockets.wait(awake_us=0) == [ASLEEP]


def test_processors_are_asked_to_stay_awake_while_commands_come_quickly(tmp_path: Path) -> None:
    device = tmp_path / "cpu_dma_latency"
    device.touch()
    sockets = Sockets(device)
    assert not sockets.latency.held
    sockets.wait()
    assert sockets.latency.held
    (longest_us,) = struct.unpack("@i", device.read_bytes())
    assert longest_us in {0, 2}
    sockets.wait(looks=3)
    sockets.look_ns = 60_000
    assert sockets.wait(looks=3)[-1] == KEPT_AWAKE
    assert sockets.latency.held
    sockets.waiting.rest()


def test_processors_may_sleep_once_nothing_comes(tmp_path: Path) -> None:
    device = tmp_path / "cpu_dma_latency"
    device.touch()
    sockets = Sockets(device)
    sockets.wait()
    sockets.silent, sockets.sleep_ns = True, 10**9
    assert sockets.wait(looks=1000)[-2:] == [KEPT_AWAKE, ASLEEP - KEPT_AWAKE]
    assert not sockets.latency.held
    sockets.silent, sockets.sleep_ns = False, 20_000
    sockets.wait()
    assert sockets.latency.held
    sockets.waiting.rest()
    assert not sockets.latency.held


def test_processors_may_sleep_while_commands_come_slowly(tmp_path: Path) -> None:
    device = tmp_path / "cpu_dma_latency"
    device.touch()
    sockets = Sockets(device)
    sockets.wait()
    sockets.sleep_ns = 5_000_000
    sockets.wait(looks=1000)
    assert sockets.latency.held
    for _ in range(5):
        sockets.wait()
    assert not sockets.latency.held


def test_who_may_not_ask_waits_as_before(tmp_path: Path) -> None:
    sockets = Sockets(tmp_path / "none")
    assert sockets.wait() == [ASLEEP]
    assert sockets.wait() == [LOOK]
    assert not sockets.latency.held
