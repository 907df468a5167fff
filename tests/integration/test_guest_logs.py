"""sg3_utils and tapeinfo of a stock Debian: log pages, statistics, and the alert of an outage."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.gateway import Gateway
from tests.support.guest import run_guest


@pytest.mark.timeout(900)
def test_log_pages_and_a_store_outage(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway(alert_after_s="0.5", seal_idle_s="1")
    gateway.activate("--drives", "1", "--slots", "4")
    (barcode,) = gateway.create_tapes("--count", "1")
    gateway.serve()
    gateway.load(barcode)
    gateway.store.rename(gateway.store.with_name("away"))
    result = run_guest(gateway.portal, "logs")
    gateway.stop()
    assert result.exit_status == 0, result.output
    assert not result.failed
    assert not result.skipped
    assert "logs/outage" in result.passed
