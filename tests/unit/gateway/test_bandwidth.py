"""Bandwidth limits: the week as AWS's schedule has it, and what holds now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tapectl.errors import UsageError
from tapectl.gateway.bandwidth import (
    BandwidthScheduleError,
    LiveLimits,
    clear_limits,
    set_limits,
    set_schedule,
    show_bandwidth,
)
from tapectl.gateway.bandwidth_schedule import (
    check_schedule,
    format_interval,
    interval_at,
    parse_interval,
)
from tapectl.state import events
from tapectl.state.database import State
from tapectl.state.events import EventFilter
from tapectl.units import format_rate, parse_rate
from tests.unit.gateway.conftest import Clock

OFFICE = "mon-fri 08:00-17:59 upload=10Mbit"


def at_ms(text: str, zone: timezone = UTC) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("2026-11-23T07:59:59", False),  # a Monday
        ("2026-11-23T08:00:00", True),
        ("2026-11-23T17:59:59.999", True),  # the last minute counts to its end
        ("2026-11-23T18:00:00", False),
        ("2026-11-27T12:00:00", True),  # Friday
        ("2026-11-28T12:00:00", False),
        ("2026-11-29T12:00:00", False),  # Sunday, AWS's day 0
    ],
)
def test_an_interval_begins_with_a_minute_and_ends_with_the_end_of_one(
    when: str, holds: bool
) -> None:
    interval = parse_interval(OFFICE)
    assert (interval_at([interval], at_ms(when), UTC) is interval) is holds


def test_times_are_those_of_the_gateways_zone() -> None:
    interval = parse_interval("mon 00:00-00:59 download=1Mbit")
    zone = timezone(timedelta(hours=-5))
    assert interval_at([interval], at_ms("2026-11-23T00:30:00", zone), zone) is interval
    assert interval_at([interval], at_ms("2026-11-23T00:30:00", UTC), zone) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (OFFICE, "mon,tue,wed,thu,fri 08:00-17:59"),
        ("daily 0:00-23:59 upload=1Mbit", "daily 00:00-23:59"),
        ("sat-mon 01:00-02:00 download=1Mbit", "sun,mon,sat 01:00-02:00"),
        ("wednesday,sun 01:00-01:00 upload=51200", "sun,wed 01:00-01:00"),
    ],
)
def test_intervals_are_written_as_people_say_them(text: str, shown: str) -> None:
    interval = parse_interval(text)
    check_schedule([interval])
    assert format_interval(interval) == shown


@pytest.mark.parametrize(
    "texts",
    [
        ["mon 08:00-17:59"],
        ["someday 08:00-17:59 upload=1Mbit"],
        ["mon 08:00-24:00 upload=1Mbit"],
        ["mon 22:00-05:59 upload=1Mbit"],
        ["mon 08:00-17:59 sideways=1Mbit"],
        ["mon 08:00-17:59 upload=fast"],
        ["mon 08:00-17:59 upload=51199"],
        ["mon 08:00-17:59 download=102399"],
        [OFFICE, "fri 17:59-23:59 upload=1Mbit"],
        [f"mon {hour:02d}:{minute:02d}-{hour:02d}:{minute + 28} upload=1Mbit"
         for hour in range(11) for minute in (0, 30)],
    ],
)  # fmt: skip
def test_what_aws_would_refuse_is_refused(texts: list[str]) -> None:
    with pytest.raises(UsageError):
        check_schedule([parse_interval(text) for text in texts])


def test_neighbours_do_not_overlap() -> None:
    check_schedule([parse_interval(OFFICE), parse_interval("fri 18:00-23:59 upload=1Mbit")])


def test_one_limit_for_all_times_keeps_the_other_direction(state: State) -> None:
    set_limits(state, upload_bits_per_s=1_000_000)
    set_limits(state, download_bits_per_s=2_000_000)
    (info,) = show_bandwidth(state)
    assert info.active
    assert info.interval.upload_bits_per_s == 1_000_000
    assert info.interval.download_bits_per_s == 2_000_000
    clear_limits(state, download=False)
    (info,) = show_bandwidth(state)
    assert info.interval.upload_bits_per_s is None
    clear_limits(state)
    assert show_bandwidth(state) == []


def test_a_schedule_is_not_replaced_by_one_limit(state: State) -> None:
    set_schedule(state, [parse_interval(OFFICE)])
    with pytest.raises(BandwidthScheduleError):
        set_limits(state, upload_bits_per_s=1_000_000)
    assert len(show_bandwidth(state)) == 1


def test_the_same_again_is_no_event(state: State) -> None:
    for _ in range(2):
        set_schedule(state, [parse_interval(OFFICE)])
    with state.read() as db:
        assert len(events.select(db, EventFilter(type="BandwidthLimitsChanged"))) == 1


def test_running_transfers_feel_a_change(state: State, clock: Clock) -> None:
    limits = LiveLimits(state, now_ms=clock)
    assert limits.upload_bytes_per_s() is None
    set_limits(state, upload_bits_per_s=8_000_000)
    clock.now_ms += 1000
    assert limits.upload_bytes_per_s() == 1_000_000
    assert limits.download_bytes_per_s() is None
    clear_limits(state)
    clock.now_ms += 1000
    assert limits.upload_bytes_per_s() is None


@pytest.mark.parametrize(
    ("text", "bits_per_s"),
    [
        ("51200", 51_200),
        ("100Mbit", 100_000_000),
        ("100 mbit/s", 100_000_000),
        ("1.5Gbps", 1_500_000_000),
        ("10MB/s", 80_000_000),
        ("1MiB/s", 8 * 1024 * 1024),
        ("512k", 512_000),
    ],
)
def test_rates_are_bits_unless_they_say_bytes(text: str, bits_per_s: int) -> None:
    assert parse_rate(text) == bits_per_s
    assert parse_rate(format_rate(bits_per_s).replace(" ", "")) == pytest.approx(
        bits_per_s, rel=0.05
    )
