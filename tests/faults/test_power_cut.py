"""The power goes: what was synchronised is on the tape, and no tape is stuck.

See disk_model.py for what is assumed of a file system, power_cut.py for what is done.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.shim import run_under

LIVES, CUTS = 5, 16


@pytest.mark.timeout(0)
def test_what_was_synchronised_survives_a_power_cut(
    tmp_path: Path, shim_library: Path, seed: int, thoroughness: int
) -> None:
    lives = str(LIVES * thoroughness)
    done = run_under(shim_library, tmp_path / "disk", "power_cut", str(seed), lives, str(CUTS))
    assert done["power cuts"] == LIVES * thoroughness * CUTS
