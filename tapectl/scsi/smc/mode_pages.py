"""The changer's mode pages: addresses, transports, which moves there are (SMC-3 7.3)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tapectl.scsi.library import ElementRange, ElementType, Library
from tapectl.scsi.mode_pages import ModePage, page

# Bits of a row of the capabilities matrix. Cartridges can be anywhere but in the transport.
_DATA_TRANSFER, _IMPORT_EXPORT, _STORAGE = 0x08, 0x04, 0x02
_ANYWHERE = _DATA_TRANSFER | _IMPORT_EXPORT | _STORAGE


def changer_mode_pages(library: Library) -> Sequence[ModePage]:
    """Return the pages of a changer; element counts are looked up when they are read."""

    def element_address_assignment(_: bytes) -> bytes:
        spans = {span.element_type: span for span in library.ranges()}
        words: list[int] = []
        for kind in ElementType:
            span = spans.get(kind, ElementRange(kind, 0, 0))
            words += (span.first, span.count)
        return struct.pack(">8H2x", *words)

    def transport_geometry(_: bytes) -> bytes:
        spans = {span.element_type: span for span in library.ranges()}
        transports = spans[ElementType.MEDIUM_TRANSPORT].count
        # No rotation; each transport is a member of one set, by its number.
        return b"".join(bytes((0, number)) for number in range(transports))

    capabilities = bytes((_ANYWHERE, 0)) + _matrix() + bytes(4) + _matrix() + bytes(4)
    return (
        # Control: GLTSD, for no log parameter is saved; D_SENSE can be chosen
        page(0x0A, "02 00 00 00 0000 0000 0000", "04 00 00 00 0000 0000 0000"),
        # Informational Exceptions Control: TapeAlert is to be polled (DEXCPT)
        page(0x1C, "08 00 00000000 00000000"),
        ModePage(0x1D, bytes(18), bytes(18), 0, element_address_assignment),
        ModePage(0x1E, bytes(2), bytes(2), 0, transport_geometry),
        page(0x1F, capabilities.hex()),
    )


def _matrix() -> bytes:
    """From the transport nothing; from storage, import/export and drives to all three of them."""
    return bytes((0, _ANYWHERE, _ANYWHERE, _ANYWHERE))
