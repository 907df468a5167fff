"""A long tape in small: what the full run measures (docs/benchmarks.md), in seconds."""

from __future__ import annotations

from pathlib import Path

from tapectl.units import MIB
from tests.scale.full_tape import simulate

# 1.2 TiB in real sizes would be 4,800 segments; here each has 2 MiB.
SEGMENTS, BLOCKS = 4800, 8


def test_a_long_tape_is_archived_read_recovered_and_adopted(tmp_path: Path) -> None:
    told = simulate(tmp_path, SEGMENTS, BLOCKS)
    for step, result in told.items():
        assert result["growth_bytes"] < 60 * MIB, step
    assert told["archive"]["objects"] == 5  # of 1000 segments, the most that are composed
