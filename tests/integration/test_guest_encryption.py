"""stenc, and what backup programs send to encrypt, in a stock Debian against a served drive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.guest import run_guest

JOBS = Path(__file__).parents[1] / "support" / "guest_jobs"


@pytest.mark.timeout(900)
def test_an_encryption_tool_and_tar(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "1", "--slots", "4")
    gateway.create_tapes("--count", "2")
    gateway.serve()
    result = run_guest(gateway.portal, "stenc", JOBS=str(JOBS))
    gateway.stop()
    assert result.exit_status == 0, result.output
    assert not result.failed
    assert not result.skipped
    assert "stenc/wrong-key" in result.passed
