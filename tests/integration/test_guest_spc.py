"""sg3_utils of a stock Debian: reservations, saved pages, clocks, names, diagnostics, buffers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.guest import run_guest

JOBS = Path(__file__).parents[1] / "support" / "guest_jobs"


@pytest.mark.timeout(900)
def test_what_every_device_has(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "1", "--slots", "4")
    gateway.create_tapes("--count", "1")
    gateway.serve()
    result = run_guest(gateway.portal, "spc", JOBS=str(JOBS))
    gateway.stop()
    assert result.exit_status == 0, result.output
    assert not result.failed
    assert not result.skipped
    assert "spc/changer-clear" in result.passed
