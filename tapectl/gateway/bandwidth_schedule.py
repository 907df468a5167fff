"""Bandwidth limits over the week: how they are written, which may stand together, which holds.

Pure. The rules are AWS's (UpdateBandwidthRateLimitSchedule): minutes of the gateway's time zone,
the last minute counts to its end, no two intervals overlap, an interval ends on the day it begins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone

from tapectl.errors import UsageError
from tapectl.state.bandwidth import BandwidthInterval
from tapectl.units import format_rate, parse_rate

MIN_UPLOAD_BITS_PER_S = 51_200
MIN_DOWNLOAD_BITS_PER_S = 102_400
MAX_INTERVALS = 20
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
EVERY_DAY = frozenset(range(7))
LAST_MINUTE = 24 * 60 - 1
ALWAYS = BandwidthInterval(days=EVERY_DAY, start_minute=0, end_minute=LAST_MINUTE)

_TIMES = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")
_HINT = "as in 'mon-fri 08:00-17:59 upload=10Mbit download=50Mbit'"


def interval_at(
    intervals: Sequence[BandwidthInterval], at_ms: int, zone: timezone
) -> BandwidthInterval | None:
    """Return the interval that holds at a time, None if there is none."""
    moment = datetime.fromtimestamp(at_ms / 1000, zone)
    day, minute = moment.isoweekday() % 7, 60 * moment.hour + moment.minute
    for one in intervals:
        if day in one.days and one.start_minute <= minute <= one.end_minute:
            return one
    return None


def parse_interval(text: str) -> BandwidthInterval:
    """Return the interval that `mon-fri 08:00-17:59 upload=10Mbit download=50Mbit` stands for.

    Days are names, ranges of them and `daily`, with commas between; either rate may be left out.
    Raises UsageError.
    """
    words = text.split()
    if len(words) < 3:
        raise UsageError(f"not an interval: {text}", hint=_HINT)
    start_minute, end_minute = _parse_times(words[1])
    rates: dict[str, int] = {}
    for word in words[2:]:
        name, _, rate = word.partition("=")
        if name not in ("upload", "download"):
            raise UsageError(f"neither upload= nor download=: {word}", hint=_HINT)
        rates[name] = parse_rate(rate)
    return BandwidthInterval(
        days=_parse_days(words[0].lower()),
        start_minute=start_minute,
        end_minute=end_minute,
        upload_bits_per_s=rates.get("upload"),
        download_bits_per_s=rates.get("download"),
    )


def check_schedule(intervals: Sequence[BandwidthInterval]) -> None:
    """Raise UsageError for intervals that overlap, are too many, or limit too much or nothing."""
    if len(intervals) > MAX_INTERVALS:
        raise UsageError(f"a schedule has at most {MAX_INTERVALS} intervals: {len(intervals)}")
    for number, one in enumerate(intervals):
        for rate, least, what in (
            (one.upload_bits_per_s, MIN_UPLOAD_BITS_PER_S, "upload"),
            (one.download_bits_per_s, MIN_DOWNLOAD_BITS_PER_S, "download"),
        ):
            if rate is not None and rate < least:
                raise UsageError(
                    f"the {what} limit is too low: {rate} bit/s",
                    hint=f"{least} bit/s ({format_rate(least)}) is the least;"
                    " `tapectl bandwidth clear` lifts limits",
                )
        if one.upload_bits_per_s is None and one.download_bits_per_s is None:
            raise UsageError(f"this interval limits nothing: {format_interval(one)}", hint=_HINT)
        for other in intervals[:number]:
            if one.days & other.days and (
                one.start_minute <= other.end_minute and other.start_minute <= one.end_minute
            ):
                raise UsageError(
                    f"two intervals overlap: {format_interval(other)} and {format_interval(one)}",
                    hint="an interval holds to the end of its last minute: end one at :59",
                )


def format_interval(interval: BandwidthInterval) -> str:
    """Return the days and times of an interval for people."""
    start, end = format_minute(interval.start_minute), format_minute(interval.end_minute)
    return f"{format_days(interval.days)} {start}-{end}"


def format_days(days: frozenset[int]) -> str:
    """Return days for people, in the form that parse_interval reads."""
    if days == EVERY_DAY:
        return "daily"
    return ",".join(DAYS[day] for day in sorted(days))


def format_minute(minute: int) -> str:
    """Return a minute of the day: `08:00`."""
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _parse_days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split(","):
        if part == "daily":
            days |= EVERY_DAY
            continue
        first, _, last = part.partition("-")
        try:
            begin, end = DAYS.index(first[:3]), DAYS.index((last or first)[:3])
        except ValueError:
            raise UsageError(f"not a day: {part}", hint=f"daily, or {', '.join(DAYS)}") from None
        # sat-mon goes over the end of the week.
        days |= {(begin + step) % 7 for step in range((end - begin) % 7 + 1)}
    return frozenset(days)


def _parse_times(text: str) -> tuple[int, int]:
    match = _TIMES.fullmatch(text)
    numbers = [int(group) for group in match.groups()] if match else []
    if not numbers or max(numbers[0], numbers[2]) > 23 or max(numbers[1], numbers[3]) > 59:
        raise UsageError(f"not a time of the day: {text}", hint="as in 08:00-17:59")
    start, end = 60 * numbers[0] + numbers[1], 60 * numbers[2] + numbers[3]
    if end < start:
        raise UsageError(
            f"an interval ends on the day it begins: {text}",
            hint="write two: one to 23:59, one from 00:00 of the next day",
        )
    return start, end
