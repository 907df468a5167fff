"""The drive's own vital product data (SSC-5 8.5)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tapectl.scsi.inquiry import Identity, VpdPage, vpd_pages
from tapectl.scsi.log_pages import tape_alert_bits
from tapectl.scsi.personality import VendorPage
from tapectl.scsi.ssc import introductions
from tapectl.scsi.ssc.alerts import TapeAlert

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

_PROTECTION_METHOD = struct.Struct(">BBBB4x")
_PROTECTION_INFORMATION_BYTES = 4
_WRITES_AND_READS = 0xC0


@dataclass(frozen=True, slots=True)
class Automation:
    """The library that a drive is in: the serial number of its changer, and the address of the
    data transfer element that the drive is there."""

    serial: str
    element_address: int


def drive_vpd_pages(drive: TapeDrive) -> Mapping[int, VpdPage]:
    """Return the pages of a drive; what the medium decides is looked up when they are read."""
    personality = drive.personality

    def sequential_access_capabilities(_: Identity) -> bytes:
        # WORM: the drive can use such volumes, unless the mounted one is none. TSMC is clear.
        cartridge = drive.cartridge
        return bytes((0x01 if cartridge is None or cartridge.worm else 0x00, 0))

    pages: dict[int, VpdPage] = {
        0xB0: sequential_access_capabilities,
        0xB1: _manufacturer_serial_number,
        0xB2: _tape_alert_supported_flags,
    }
    if drive.automation is not None:
        serial = drive.automation.serial.encode()
        address = drive.automation.element_address.to_bytes(2, "big")
        pages |= {0xB3: lambda _: serial, 0xB4: lambda _: address}
    if personality.generation.protection_methods:
        methods = b"".join(
            _PROTECTION_METHOD.pack(
                _PROTECTION_METHOD.size - 1,
                method,
                _PROTECTION_INFORMATION_BYTES,
                _WRITES_AND_READS,
            )
            for method in personality.generation.protection_methods
        )
        pages[0xB5] = lambda _: bytes(4) + methods
    pages |= {page.code: _vendor_page(page) for page in personality.vendor_pages}
    generation = personality.generation.number
    return vpd_pages(pages, without=introductions.unknown_to(generation, introductions.VPD_PAGES))


def _manufacturer_serial_number(identity: Identity) -> bytes:
    """B1h: what 80h says; nobody else has made it."""
    return identity.serial.encode()


def _tape_alert_supported_flags(_: Identity) -> bytes:
    """B2h: the flags that this drive has a cause for."""
    return tape_alert_bits(set(TapeAlert))


def _vendor_page(page: VendorPage) -> VpdPage:
    def encode(identity: Identity) -> bytes:
        return page.data + b"".join(
            text.format(revision=identity.revision, serial=identity.serial)
            .encode()[:size_bytes]
            .ljust(size_bytes)
            for text, size_bytes in page.fields
        )

    return encode
