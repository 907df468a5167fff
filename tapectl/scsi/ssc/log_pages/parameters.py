"""Counters of a log page as a table: code, size in bytes, and where the number comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from tapectl.scsi.log_pages import LogParameter, counter

MEGABYTE = 10**6
MEBIBYTE = 1 << 20

T = TypeVar("T")
Row = tuple[int, int, Callable[[T], int]]


def counters(rows: Sequence[Row[T]], subject: T) -> list[LogParameter]:
    """Return the parameters of a table with what they count of `subject` now."""
    return [counter(code, count(subject), size_bytes) for code, size_bytes, count in rows]
