"""Parts of a composed object, as S3 takes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapectl.store.compose_plan import PART_BYTES_MAX, PART_BYTES_MIN, plan_parts
from tapectl.store.interface import COMPOSED_SOURCES_MAX, Source
from tapectl.units import GIB, MIB

PARTS_MAX = 10_000

SIZES = st.lists(
    st.one_of(
        st.integers(0, 3 * PART_BYTES_MIN),
        st.sampled_from([0, 1, PART_BYTES_MIN - 1, PART_BYTES_MIN, PART_BYTES_MAX + 1, 12 * GIB]),
    ),
    min_size=1,
    max_size=40,
)


def of(sizes: list[int]) -> list[Source]:
    return [Source(f"{number}", size) for number, size in enumerate(sizes)]


@given(SIZES)
def test_the_parts_are_the_sources_and_of_sizes_that_s3_takes(sizes: list[int]) -> None:
    parts = plan_parts(of(sizes))
    ranges = [one for part in parts for one in part if one.size_bytes]
    expected = [(str(number), size) for number, size in enumerate(sizes) if size]
    found: list[tuple[str, int]] = []
    for one in ranges:
        if found and found[-1][0] == one.key:
            assert one.offset == found[-1][1]
            found[-1] = (one.key, found[-1][1] + one.size_bytes)
        else:
            assert one.offset == 0
            found.append((one.key, one.size_bytes))
    assert found == expected
    totals = [sum(one.size_bytes for one in part) for part in parts]
    assert all(total >= PART_BYTES_MIN for total in totals[:-1])
    assert all(total <= PART_BYTES_MAX for total in totals)
    # What is read and sent stays small.
    sent = [sum(one.size_bytes for one in part) for part in parts if len(part) > 1]
    assert all(total <= PART_BYTES_MIN for total in sent)


def test_segments_are_copied_and_not_read() -> None:
    parts = plan_parts(of([256 * MIB] * 128))
    assert len(parts) == 128
    assert all(len(part) == 1 for part in parts)


def test_the_most_that_is_taken_stays_below_the_parts_of_s3() -> None:
    for size in (1, PART_BYTES_MIN - 1, PART_BYTES_MIN + 1, GIB):
        assert len(plan_parts(of([size] * COMPOSED_SOURCES_MAX))) <= PARTS_MAX
    with pytest.raises(ValueError, match="1001 sources"):
        plan_parts(of([1] * (COMPOSED_SOURCES_MAX + 1)))
