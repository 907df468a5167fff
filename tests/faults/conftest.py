"""What the tests of faults share: the shim, compiled once, and how much is tried."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.faults import shim


@pytest.fixture(scope="session")
def shim_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """shim.c, compiled."""
    return shim.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def seed() -> int:
    """Another one in each run, or that of TAPECTL_FAULT_SEED; printed for when a test fails."""
    seed = int(os.environ.get("TAPECTL_FAULT_SEED", "0")) or random.SystemRandom().getrandbits(31)
    print(f"seed: TAPECTL_FAULT_SEED={seed}")
    return seed


@pytest.fixture(scope="session")
def thoroughness() -> int:
    """How many times more than in a normal run is tried: TAPECTL_FAULT_CASES, 1 by default."""
    return int(os.environ.get("TAPECTL_FAULT_CASES", "1"))
