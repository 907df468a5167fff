"""A long tape and a full library in small: what the full run measures (docs/benchmarks.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tapectl.units import MIB
from tests.scale import full_tape, many_tapes
from tests.scale.steps import Result

# Segments of 2 MiB instead of 256: as many as of 600 GiB.
SEGMENTS, BLOCKS = 2400, 8
TAPES, SEGMENTS_A_TAPE = 60, 600
GROWTH_BYTES = 60 * MIB


def test_a_long_tape_is_archived_read_recovered_and_adopted(tmp_path: Path) -> None:
    told = full_tape.simulate(tmp_path, SEGMENTS, BLOCKS)
    assert told["archive"]["objects"] == 3  # of 1000 segments, the most that are composed
    require_bounded(told)


def test_a_full_library_is_served_checked_and_adopted(tmp_path: Path) -> None:
    require_bounded(many_tapes.simulate(tmp_path, TAPES, SEGMENTS_A_TAPE))


def require_bounded(told: Mapping[str, Result]) -> None:
    """Assert that no step has taken more memory than a process may."""
    growth = {step: result["growth_bytes"] for step, result in told.items()}
    assert {step for step, size in growth.items() if size > GROWTH_BYTES} == set(), growth
