"""Rates of counters, against a clock that the test turns."""

from __future__ import annotations

import pytest

from tapectl.serve.rates import RateMeter


class Counted:
    """A counter and a clock."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.total = 5000
        self.meter = RateMeter(
            lambda: {"bytes": self.total}, window_s=10.0, monotonic_s=lambda: self.now_s
        )

    def rate(self) -> float:
        return self.meter.rates()["bytes"]

    def go_on(self, seconds: int, per_s: int) -> None:
        for _ in range(seconds):
            self.now_s += 1
            self.total += per_s
            self.meter.sample()


@pytest.fixture
def counted() -> Counted:
    return Counted()


def test_what_was_there_before_is_no_rate(counted: Counted) -> None:
    assert counted.rate() == 0
    counted.now_s += 1
    assert counted.rate() == 0


def test_a_steady_rate_is_told_exactly(counted: Counted) -> None:
    counted.go_on(60, 1000)
    assert counted.rate() == pytest.approx(1000)


def test_a_change_is_told_after_the_window(counted: Counted) -> None:
    counted.go_on(60, 1000)
    counted.go_on(10, 50)
    assert counted.rate() == pytest.approx(50)


def test_what_has_ended_fades_to_nothing(counted: Counted) -> None:
    counted.go_on(60, 1000)
    counted.go_on(5, 0)
    assert 0 < counted.rate() < 1000
    counted.go_on(20, 0)
    assert counted.rate() == 0


def test_large_steps_are_measured_from_step_to_step(counted: Counted) -> None:
    for _ in range(5):  # a segment every 30 seconds, three windows
        counted.go_on(29, 0)
        counted.go_on(1, 30_000)
    assert counted.rate() == pytest.approx(1000, rel=0.05)


def test_a_counter_that_begins_anew_is_no_negative_rate(counted: Counted) -> None:
    counted.go_on(5, 1000)
    counted.total = 0
    counted.now_s += 1
    assert counted.rate() == 0
