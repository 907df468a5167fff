"""Which cartridges a drive can use: generations of LTO media, and cleaning cartridges.

A cartridge that it cannot use stays in the drive, unthreaded, until it is unloaded. Until then
every command that needs a medium, and TEST UNIT READY, says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tapectl.scsi.cartridge import Cartridge, CartridgeWriteError, StoredAttribute
from tapectl.scsi.media import CLEANINGS
from tapectl.scsi.personality import Access, DrivePersonality
from tapectl.scsi.sense import ASC, Sense, SenseKey
from tapectl.scsi.ssc.alerts import TapeAlert

CLEANING = Sense(SenseKey.NOT_READY, ASC.CLEANING_CARTRIDGE_INSTALLED)
EXPIRED = Sense(SenseKey.NOT_READY, ASC.CLEANING_FAILURE)

# A drive has no name for a format that came after it.
UNREADABLE: Mapping[Access, Sense] = MappingProxyType(
    {
        Access.TOO_OLD: Sense(SenseKey.MEDIUM_ERROR, ASC.CANNOT_READ_MEDIUM_INCOMPATIBLE_FORMAT),
        Access.TOO_NEW: Sense(SenseKey.MEDIUM_ERROR, ASC.CANNOT_READ_MEDIUM_UNKNOWN_FORMAT),
    }
)
READ_ONLY = Sense(SenseKey.DATA_PROTECT, ASC.CANNOT_WRITE_MEDIUM_INCOMPATIBLE_FORMAT)

ALERTS: Mapping[Sense, TapeAlert] = MappingProxyType(
    {
        CLEANING: TapeAlert.CLEANING_MEDIA,
        EXPIRED: TapeAlert.EXPIRED_CLEANING_MEDIA,
        **dict.fromkeys(UNREADABLE.values(), TapeAlert.UNSUPPORTED_FORMAT),
    }
)
"""The TapeAlert flag that a cartridge which cannot be used raises when it is loaded."""

_LOAD_COUNT = (0, 0x0003)
_BINARY = 0


def take(personality: DrivePersonality, cartridge: Cartridge) -> Sense | None:
    """Look at a cartridge that comes in; return why it cannot be threaded, None if it can.

    A cleaning cartridge is used once by this. May raise CartridgeBusyError, having used nothing.
    """
    if cartridge.cleaning:
        return _clean(cartridge)
    return UNREADABLE.get(personality.generation.access(cartridge.generation))


def read_only(personality: DrivePersonality, cartridge: Cartridge) -> bool:
    """Whether the drive reads media of this generation and does not write it."""
    return personality.generation.access(cartridge.generation) is Access.READ_ONLY


def _clean(cartridge: Cartridge) -> Sense:
    """Its uses are LOAD COUNT in its memory (SPC-5 7.4.2.2.4), so an expired one stays so."""
    uses = cleanings(cartridge)
    if uses >= CLEANINGS:
        return EXPIRED
    try:
        cartridge.set_attributes(
            {_LOAD_COUNT: StoredAttribute(_BINARY, (uses + 1).to_bytes(8, "big"))}
        )
    except CartridgeWriteError:
        return EXPIRED
    return CLEANING


def cleanings(cartridge: Cartridge) -> int:
    """Return how often a cleaning cartridge was used."""
    stored = cartridge.attribute(*_LOAD_COUNT)
    return int.from_bytes(stored.value, "big") if stored is not None else 0
