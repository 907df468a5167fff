"""How much was written and uploaded on which day, of the segments that are kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class SegmentDays:
    """Bytes by day, counted from 1970: `sealed` of user data, `uploaded` of objects."""

    sealed: Mapping[int, int]
    uploaded: Mapping[int, int]


def by_day(db: sqlite3.Connection, offset_ms: int) -> SegmentDays:
    """Return the bytes of each day there were any; `offset_ms` is local time minus UTC."""
    sealed = db.execute(
        "SELECT (sealed_at_ms + :offset) / :day AS day, sum(data_bytes) AS bytes"
        " FROM segment GROUP BY day",
        {"offset": offset_ms, "day": DAY_MS},
    )
    uploaded = db.execute(
        "SELECT (uploaded_at_ms + :offset) / :day AS day, sum(object_bytes) AS bytes"
        " FROM segment WHERE uploaded_at_ms IS NOT NULL GROUP BY day",
        {"offset": offset_ms, "day": DAY_MS},
    )
    return SegmentDays(
        {row["day"]: row["bytes"] for row in sealed},
        {row["day"]: row["bytes"] for row in uploaded},
    )
