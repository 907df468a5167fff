"""What a stock Debian has for tapes beside mt and tar: sg3_utils, stenc, Bacula's btape."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.gateway import Gateway
from tests.support.guest import run_guest

SUITES = ("spc", "stenc", "eom", "bacula")
SMALL, FILL = "SMALL001", "FILL0001"


@pytest.mark.timeout(1800)
def test_programs_for_tapes_are_content(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "1", "--slots", "8")
    gateway.create_tapes("--count", "2")
    gateway.create_tapes("--barcode", SMALL, "--allow-small", size="64MiB")
    gateway.create_tapes("--barcode", FILL, "--allow-small", size="400MiB")
    gateway.serve()
    result = run_guest(gateway.portal, *SUITES, SMALL_BARCODE=SMALL, FILL_BARCODE=FILL)
    gateway.stop()
    assert result.exit_status == 0, result.output
    assert not result.failed
    assert not result.skipped
    assert {name.split("/")[0] for name in result.passed} == set(SUITES)
    # The last checks of each suite: none has ended early.
    assert {"spc/changer-clear", "stenc/plain-again", "bacula/fill"} <= set(result.passed)
