"""sg3_utils, mt and mtx of a stock Debian with LTO-9 drives by HPE, and media of other kinds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.gateway import Gateway
from tests.support.guest import run_guest


@pytest.mark.timeout(900)
def test_other_drives_and_media(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "1", "--slots", "4", "--tape-drive-type", "HPE-Ultrium-9")
    gateway.create_tapes("--barcode", "DATA09L9")
    gateway.create_tapes("--barcode", "DATA05L5", "--generation", "LTO-5")
    gateway.cli("tape", "create", "--cleaning", "--barcode", "CLNU01L1", "--to-slots", "--wait")
    gateway.serve()
    result = run_guest(gateway.portal, "media")
    gateway.stop()
    assert result.exit_status == 0, result.output
    assert not result.failed
    assert not result.skipped
    assert "media/cleaning" in result.passed
