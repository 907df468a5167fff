"""Device servers of both kinds for unit tests, on cartridges and libraries in memory."""

from __future__ import annotations

from tapectl.scsi.changer_personality import CHANGER_PERSONALITIES
from tapectl.scsi.nonvolatile import NonvolatileMemory
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.smc import MediaChanger
from tapectl.scsi.ssc import TapeDrive
from tests.support.memory_cartridge import MemoryCartridge
from tests.support.memory_library import MemoryLibrary

TARGET = "iqn.2025-01.test:gw-tapedrive-01"


def make_drive(memory: NonvolatileMemory | None = None) -> TapeDrive:
    """Return a loaded drive that nobody knows yet."""
    unit = TapeDrive(
        DRIVE_PERSONALITIES["IBM-ULT3580-TD5"],
        serial="TD00000001",
        target_name=TARGET,
        memory=memory,
    )
    unit.load(MemoryCartridge())
    return unit


def make_changer(memory: NonvolatileMemory | None = None) -> MediaChanger:
    personality = CHANGER_PERSONALITIES["AWS-Gateway-VTL"]
    library = MemoryLibrary(personality.ranges(2, 4, 2))
    return MediaChanger(personality, library, serial="MC00000001", memory=memory)
