"""Times as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tapectl.errors import UsageError
from tapectl.gateway.points_in_time import parse_time, show_time, zone_of

NOW_MS = round(datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "zone", "wanted"),
    [
        ("2026-11-24T05:00", "GMT", "2026-11-24T05:00:00+00:00"),
        ("2026-11-24T05:00", "GMT-5:00", "2026-11-24T10:00:00+00:00"),
        ("2026-11-24 05:00:30", "GMT+10:30", "2026-11-23T18:30:30+00:00"),
        ("2026-11-24T05:00Z", "GMT-5:00", "2026-11-24T05:00:00+00:00"),
        ("2026-11-24T05:00+02:00", "GMT-5:00", "2026-11-24T03:00:00+00:00"),
        ("2026-11-24", "GMT", "2026-11-24T00:00:00+00:00"),
        ("now", "GMT-5:00", "2026-11-24T12:00:00+00:00"),
        ("2h ago", "GMT-5:00", "2026-11-24T10:00:00+00:00"),
        ("90 minutes ago", "GMT", "2026-11-24T10:30:00+00:00"),
        ("3d", "GMT", "2026-11-21T12:00:00+00:00"),
        ("1 week", "GMT", "2026-11-17T12:00:00+00:00"),
    ],
)
def test_a_time_is_understood(text: str, zone: str, wanted: str) -> None:
    assert show_time(parse_time(text, now_ms=NOW_MS, zone=zone_of(zone)), UTC) == wanted


@pytest.mark.parametrize(
    "text", ["", "lunch", "2 parsecs ago", "-3d", "2026-13-01", "9" * 30 + "d"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a time"):
        parse_time(text, now_ms=NOW_MS, zone=UTC)
