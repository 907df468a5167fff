"""FORMAT MEDIUM on a cartridge that has to wait."""

from __future__ import annotations

import pytest

from tapectl.scsi.cartridge import CartridgeBusyError
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.ssc import TapeDrive
from tests.support.memory_cartridge import MemoryCartridge
from tests.support.scsi_initiator import Initiator

INITIALIZATION_COUNT = (0, 0x0007)


def test_a_format_that_had_to_wait_counts_once() -> None:
    drive = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD5"], serial="TD00000001")
    tape = MemoryCartridge()
    drive.load(tape)
    host = Initiator(drive)
    tape.busy["format"] = [CartridgeBusyError("full"), CartridgeBusyError("full")]
    for _ in range(2):
        with pytest.raises(CartridgeBusyError):
            host.send("04")
    host.good("04")
    stored = tape.attribute(*INITIALIZATION_COUNT)
    assert stored is not None
    assert stored.value == b"\0\1"
