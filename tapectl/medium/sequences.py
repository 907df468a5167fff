"""Many sequence numbers in little memory. Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence


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


class SequenceRanges:
    """Ranges of sequence numbers, each from its first to its last, ascending and apart."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._firsts = array("Q", (first for first, _ in ranges))
        self._lasts = array("Q", (last for _, last in ranges))

    def hold(self, first: int, last: int) -> bool:
        """Whether one of them holds all numbers from `first` to `last`."""
        at = bisect_right(self._firsts, first) - 1
        return at >= 0 and last <= self._lasts[at]
