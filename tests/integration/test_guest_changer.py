"""Linux's own changer driver against a served library, and the library as one target."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.gateway import Gateway
from tests.support.guest import run_guest


@pytest.mark.timeout(900)
def test_the_kernels_changer_driver(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway(hold_s="600", library_target="true")
    gateway.activate(
        "--changer", "STK-L700", "--drives", "2", "--slots", "200", "--import-export", "8"
    )
    gateway.create_tapes("--count", "4")
    gateway.serve()
    result = run_guest(
        gateway.portal,
        "ch",
        "library",
        TARGETS="mediachanger|tapedrive",
        EXPECT_DRIVES="2",
    )
    gateway.stop()
    assert result.exit_status == 0, result.output
    assert not result.failed
    assert not result.skipped
    assert len(result.passed) == 11 + 6
