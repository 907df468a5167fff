"""kill -9 of anything while three drives are written and tapes go to the shelf; see kills.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.kills import run

KILLS = 5


@pytest.mark.timeout(0)
def test_nothing_answered_is_lost_to_kill_9(tmp_path: Path, seed: int, thoroughness: int) -> None:
    done = run(tmp_path / "one", seed, KILLS * thoroughness)
    assert sum(done.values()) - done["commands"] >= KILLS * thoroughness
