"""Times as people write them: ISO 8601 in the gateway's time zone, or so long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from tapectl.errors import UsageError

_AGO = re.compile(r"(\d{1,9}) ?(s|m|min|h|d|w|second|minute|hour|day|week)s?(?: ago)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_ZONE = re.compile(r"GMT(?:([+-])(\d{1,2}):(\d{2}))?")


def zone_of(text: str) -> timezone:
    """Return the time zone that a gateway has: `GMT`, `GMT-5:00`."""
    match = _ZONE.fullmatch(text)
    if match is None or match[1] is None:
        return UTC
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(-offset if match[1] == "-" else offset)


def parse_time(text: str, *, now_ms: int, zone: timezone) -> int:
    """Return a time in ms since 1970: `2026-11-24T05:00`, with or without an offset, a date alone
    for its beginning, `2h ago`, `3d`, `now`. Raises UsageError.
    """
    wanted = text.strip().lower()
    if wanted == "now":
        return now_ms
    if match := _AGO.fullmatch(wanted):
        return now_ms - int(match[1]) * _SECONDS[match[2][0]] * 1000
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(
            f"not a time: {text}", hint='as in 2026-11-24T05:00, 2026-11-24, "2h ago" or 3d'
        ) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=zone)
    return round(found.timestamp() * 1000)


def show_time(at_ms: int, zone: timezone) -> str:
    """Return a time as ISO 8601 in a time zone."""
    return datetime.fromtimestamp(at_ms / 1000, zone).isoformat(timespec="seconds")
