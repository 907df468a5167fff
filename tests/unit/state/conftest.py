"""A state file with a gateway, and a clock that stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapectl.state.database import State
from tests.support.closing import closed_at_end


@pytest.fixture
def state_path(tmp_path: Path) -> Path:
    return tmp_path / "tapectl.db"


@pytest.fixture
def state(state_path: Path) -> State:
    return closed_at_end(State.open(state_path, create=True))
