"""Sequence numbers in little memory are found as in a set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tapectl.medium.sequences import SequenceSet


@given(st.sets(st.integers(0, 2**63)), st.integers(0, 2**63))
def test_it_holds_what_a_set_holds(numbers: set[int], other: int) -> None:
    found = SequenceSet(sorted(numbers))
    assert len(found) == len(numbers)
    assert all(number in found for number in numbers)
    assert (other in found) == (other in numbers)
    assert found.last == max(numbers, default=None)


def test_numbers_are_added_in_order() -> None:
    found = SequenceSet((1, 5))
    found.add(9)
    assert 9 in found
    assert 6 not in found
    assert "9" not in found
