"""When what goes on will be done, or full."""

from __future__ import annotations

import pytest

from tapectl.gateway.outlook import seconds_to_full, seconds_to_go, seconds_to_retrieved

HOUR = 3600


def test_what_is_left_takes_as_long_as_its_rate_says() -> None:
    assert seconds_to_go(1000, 10) == 100
    assert seconds_to_go(0, 0) == 0
    assert seconds_to_go(1000, 0) is None


def test_room_lasts_while_more_comes_than_goes() -> None:
    assert seconds_to_full(1000, 30, 10) == 50
    assert seconds_to_full(1000, 10, 10) is None
    assert seconds_to_full(1000, 0, 10) is None
    assert seconds_to_full(-5, 30, 10) == 0


@pytest.mark.parametrize(
    ("storage_class", "tier", "elapsed_s", "left_s"),
    [
        ("GLACIER", "Expedited", 60, 4 * 60),
        ("GLACIER", "Standard", HOUR, 4 * HOUR),
        ("GLACIER", "Bulk", 0, 12 * HOUR),
        ("DEEP_ARCHIVE", "Standard", 13 * HOUR, 0),
        ("DEEP_ARCHIVE", "Bulk", 8 * HOUR, 40 * HOUR),
        ("DEEP_ARCHIVE", "Expedited", 0, None),
    ],
)
def test_a_retrieval_takes_as_long_as_s3_says_at_most(
    storage_class: str, tier: str, elapsed_s: float, left_s: float | None
) -> None:
    assert seconds_to_retrieved(storage_class, tier, elapsed_s, simulated_s=None) == left_s


def test_a_directory_pretends() -> None:
    assert seconds_to_retrieved("GLACIER", "Bulk", 4, simulated_s=10) == 6
