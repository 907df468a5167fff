"""The bandwidth limits, as a schedule of the week."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BandwidthInterval:
    """Limits on these days (0 is Sunday), from the beginning of a minute of the day to the end of
    another; None: no limit in that direction."""

    days: frozenset[int]
    start_minute: int
    end_minute: int
    upload_bits_per_s: int | None = None
    download_bits_per_s: int | None = None


def schedule(db: sqlite3.Connection) -> Sequence[BandwidthInterval]:
    """Return the intervals in the order they were given."""
    rows = db.execute("SELECT * FROM bandwidth_interval ORDER BY id")
    return [
        BandwidthInterval(
            days=frozenset(day for day in range(7) if row["days"] >> day & 1),
            start_minute=row["start_minute"],
            end_minute=row["end_minute"],
            upload_bits_per_s=row["upload_bits_per_s"],
            download_bits_per_s=row["download_bits_per_s"],
        )
        for row in rows
    ]


def replace_schedule(db: sqlite3.Connection, intervals: Sequence[BandwidthInterval]) -> None:
    """Keep these intervals and no others."""
    db.execute("DELETE FROM bandwidth_interval")
    db.executemany(
        "INSERT INTO bandwidth_interval"
        " (days, start_minute, end_minute, upload_bits_per_s, download_bits_per_s)"
        " VALUES (?, ?, ?, ?, ?)",
        [
            (
                sum(1 << day for day in one.days),
                one.start_minute,
                one.end_minute,
                one.upload_bits_per_s,
                one.download_bits_per_s,
            )
            for one in intervals
        ],
    )
