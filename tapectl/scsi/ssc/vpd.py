"""The drive's own vital product data (SSC-5 8.5)."""

from __future__ import annotations

from collections.abc import Mapping

from tapectl.scsi.inquiry import Identity, VpdPage, vpd_pages
from tapectl.scsi.log_pages import tape_alert_bits
from tapectl.scsi.ssc.alerts import TapeAlert


def _sequential_access_capabilities(worm: bool) -> VpdPage:
    # B0h byte 4: TSMC clear, WORM set while the mounted volume is one.
    return lambda _: bytes((0x01 if worm else 0x00, 0))


def _manufacturer_serial_number(identity: Identity) -> bytes:
    """B1h: what 80h says; nobody else has made it."""
    return identity.serial.encode()


def _tape_alert_supported_flags(_: Identity) -> bytes:
    """B2h: the flags that this drive has a cause for."""
    return tape_alert_bits(set(TapeAlert))


_NOT_WORM = vpd_pages(
    {
        0xB0: _sequential_access_capabilities(False),
        0xB1: _manufacturer_serial_number,
        0xB2: _tape_alert_supported_flags,
    }
)
_WORM = {**_NOT_WORM, 0xB0: _sequential_access_capabilities(True)}


def pages(worm: bool) -> Mapping[int, VpdPage]:
    """Return the drive's pages, as they are with a WORM cartridge or without."""
    return _WORM if worm else _NOT_WORM
