"""Many sequence numbers in little memory. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable


class SequenceSet:
    """Sequence numbers that were added in ascending order: 8 bytes each, found by bisection."""

    __slots__ = ("_sorted",)

    def __init__(self, ascending: Iterable[int] = ()) -> None:
        self._sorted = array("Q", ascending)

    def __len__(self) -> int:
        return len(self._sorted)

    def __contains__(self, sequence: object) -> bool:
        if not isinstance(sequence, int):
            return False
        at = bisect_left(self._sorted, sequence)
        return at < len(self._sorted) and self._sorted[at] == sequence

    @property
    def last(self) -> int | None:
        return self._sorted[-1] if self._sorted else None

    def add(self, sequence: int) -> None:
        """Add a number larger than all that are there."""
        self._sorted.append(sequence)
