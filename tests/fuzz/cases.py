"""How many cases a fuzz test runs: TAPECTL_FUZZ_CASES, a thousand unless set."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

CASES = int(os.environ.get("TAPECTL_FUZZ_CASES", "1000"))
# Generous: a case that hangs is what it is to find.
_SECONDS_A_CASE = 0.3

# Goes into a module's `pytestmark`.
TIMEOUT = pytest.mark.timeout(max(300, CASES * _SECONDS_A_CASE))


def fuzz(share: float = 1.0) -> settings:
    """Return the settings of a test that runs this share of the cases."""
    return settings(
        max_examples=max(1, round(CASES * share)),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
