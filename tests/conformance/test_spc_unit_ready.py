"""TEST UNIT READY, REQUEST SENSE and unit attentions (SPC-5 5.11, 6.39, 6.47; SAM-5 5.14)."""

from __future__ import annotations

from tests.conformance import commands as c
from tests.conformance.device import Device


def test_test_unit_ready_is_good_with_a_loaded_volume(tape: Device) -> None:
    """SPC-5 6.47: a logical unit that can accept medium access commands returns GOOD."""
    tape.good(c.test_unit_ready())
