"""Wrong secrets from one address shut it out for a while, and no other."""

from __future__ import annotations

from tapectl.serve.login_throttle import FAILURES_MAX, PERIOD_S, LoginThrottle

ADDRESS, OTHER = "192.0.2.1", "192.0.2.2"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_an_address_that_fails_too_often_is_shut_out_for_a_period() -> None:
    clock = Clock()
    throttle = LoginThrottle(clock)
    told = [throttle.failed(ADDRESS) for _ in range(FAILURES_MAX)]
    assert told == [False] * (FAILURES_MAX - 1) + [True]
    assert throttle.shuts_out(ADDRESS)
    assert not throttle.shuts_out(OTHER)
    clock.now_s += PERIOD_S
    assert not throttle.shuts_out(ADDRESS)


def test_failures_far_apart_shut_nobody_out() -> None:
    clock = Clock()
    throttle = LoginThrottle(clock)
    for _ in range(3 * FAILURES_MAX):
        throttle.failed(ADDRESS)
        clock.now_s += PERIOD_S / (FAILURES_MAX - 1)
    assert not throttle.shuts_out(ADDRESS)


def test_a_host_has_a_whole_ipv6_network() -> None:
    throttle = LoginThrottle(Clock())
    for number in range(FAILURES_MAX):
        throttle.failed(f"2001:db8::{number:x}")
    assert throttle.shuts_out("2001:db8::ffff")
    assert not throttle.shuts_out("2001:db8:0:1::1")


def test_many_addresses_take_no_more_memory_than_some() -> None:
    throttle = LoginThrottle(Clock())
    for number in range(10_000):
        throttle.failed(f"10.0.{number // 256}.{number % 256}")
    assert len(throttle._failures) <= 4096
