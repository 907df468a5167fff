"""Any one call of the operating system fails: what was acknowledged is on the tape afterwards.

See failing_calls.py. A normal run tries a few n of each kind, TAPECTL_FAULT_CASES=0 every one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.shim import run_under

SAMPLE = 3


@pytest.mark.timeout(0)
def test_a_call_that_fails_loses_nothing_acknowledged(
    tmp_path: Path, shim_library: Path, seed: int, thoroughness: int
) -> None:
    sample = str(SAMPLE * thoroughness)
    done = run_under(shim_library, tmp_path / "disk", "failing_calls", str(seed), sample)
    assert all(done.values()), done
