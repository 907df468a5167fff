"""Waiting awake: nobody sleeps while commands come quickly, and a silent peer is slept for."""

from __future__ import annotations

import time

from tapectl.serve.busy_polling import BusyPolling

READABLE = [(5, 1)]
AWAKE_US = 1e9  # whatever the machine does meanwhile is shorter
NEVER_US = 0


class Poll:
    """Sockets that become readable when they have been asked so often without a sleep."""

    def __init__(self) -> None:
        self.empty_looks = 0
        self.timeouts_ms: list[float] = []
        self.silent = False

    def poll(self, timeout_ms: float) -> list[tuple[int, int]]:
        self.timeouts_ms.append(timeout_ms)
        if self.silent:
            return []
        if not timeout_ms and self.empty_looks:
            self.empty_looks -= 1
            return []
        return READABLE

    def asked(self) -> list[float]:
        """Return the timeouts that were given since the last call."""
        asked, self.timeouts_ms = self.timeouts_ms, []
        return asked


def test_sleeps_until_a_wait_was_short() -> None:
    sockets = Poll()
    waiting = BusyPolling(sockets)
    assert waiting.wait(1.0, AWAKE_US) == READABLE
    assert sockets.asked() == [1000.0]
    sockets.empty_looks = 3
    assert waiting.wait(1.0, AWAKE_US) == READABLE
    assert sockets.asked() == [0, 0, 0, 0]


def test_a_silent_peer_is_slept_for() -> None:
    sockets = Poll()
    waiting = BusyPolling(sockets)
    waiting.wait(1.0, AWAKE_US)
    sockets.asked()
    sockets.silent = True
    began = time.monotonic()
    assert waiting.wait(1.0, 1000) == []
    # It looked for a while, and then slept for all of the time.
    assert sockets.asked()[-1] == 1000.0
    assert time.monotonic() - began >= 0.001
    # What comes after a long silence does not wake it for good.
    assert waiting.wait(1.0, NEVER_US) == []
    assert sockets.asked() == [1000.0]


def test_can_be_turned_off_at_any_time() -> None:
    sockets = Poll()
    waiting = BusyPolling(sockets)
    for awake_us, asked in ((NEVER_US, 1000.0), (AWAKE_US, 1000.0), (AWAKE_US, 0), (0, 1000.0)):
        assert waiting.wait(1.0, awake_us) == READABLE
        assert sockets.asked() == [asked]
