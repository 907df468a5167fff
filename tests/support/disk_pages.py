"""What the disk of `disk_unit` says of itself: INQUIRY data, mode pages, sense that no tape has."""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from typing import Any

from tapectl.scsi import inquiry
from tapectl.scsi.inquiry import Identity, VpdPage, vpd_pages
from tapectl.scsi.mode_pages import page
from tapectl.scsi.sense import CheckCondition, Sense

BLOCK_BYTES = 512
# The largest transfer of one command, in blocks: what the iSCSI side takes at once.
MAXIMUM_TRANSFER_BLOCKS = 32 * 1024 * 1024 // BLOCK_BYTES

CONTROL_PAGE = (0x0A, 0x00)
MODE_PAGES = (
    # Caching: WCE, which SYNCHRONIZE CACHE is there for
    page(0x08, "04" + "00" * 17),
    # Control: D_SENSE and SWP can be chosen
    page(0x0A, "02 00 00 00 0000 0000 0000", "04 00 08 00 0000 0000 0000"),
    # Informational Exceptions Control
    page(0x1C, "08 00 00000000 00000000"),
)

_DIRECT_ACCESS = 0x00
_SBC_3_VERSION_DESCRIPTOR = 0x04C0
# Of standard INQUIRY data: byte 58 begins the version descriptors, the fourth is the command set.
_COMMAND_SET_AT = 58 + 3 * 2


class DiskSenseKey(enum.IntEnum):
    """Sense keys that no tape device has."""

    MISCOMPARE = 0xE


class DiskASC(enum.Enum):
    """Additional sense codes that no tape device has."""

    MISCOMPARE_DURING_VERIFY_OPERATION = (0x1D, 0x00)
    LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE = (0x21, 0x00)


def disk_check(key: Any, code: Any) -> CheckCondition:
    """Return CHECK CONDITION with sense that `tapectl.scsi.sense` may have no name for."""
    return CheckCondition(Sense(key, code))


def _as_disk(encoded: bytes) -> bytes:
    """Say in INQUIRY data that this is a disk: the project's peripheral types are two others."""
    return bytes((encoded[0] & 0xE0 | _DIRECT_ACCESS,)) + encoded[1:]


def encode_standard_inquiry(identity: Identity) -> bytes:
    data = bytearray(_as_disk(inquiry.encode_standard(identity)))
    struct.pack_into(">H", data, _COMMAND_SET_AT, _SBC_3_VERSION_DESCRIPTOR)
    return bytes(data)


def encode_vpd(identity: Identity, code: int, pages: Mapping[int, VpdPage]) -> bytes | None:
    encoded = inquiry.encode_vpd(identity, code, pages)
    return None if encoded is None else _as_disk(encoded)


def _block_limits(_: Identity) -> bytes:
    """B0h: the longest transfer; nothing of unmap, write same or compare and write."""
    return struct.pack(">BBHII", 0, 0, 0, MAXIMUM_TRANSFER_BLOCKS, 0).ljust(60, b"\0")


def _block_device_characteristics(_: Identity) -> bytes:
    """B1h: "non-rotating medium"."""
    return struct.pack(">H", 1).ljust(60, b"\0")


VPD_PAGES = vpd_pages({0xB0: _block_limits, 0xB1: _block_device_characteristics})
