"""INQUIRY data: standard and vital product data pages (SPC-5 6.7, 7.7)."""

from __future__ import annotations

import enum
import hashlib
import struct
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

_STANDARD = struct.Struct(">BBBBBBBB8s16s4s20s2x16s22x")
_SPC_4 = 0x06
_PROTECT = 0x01
# Mode page policies.
_SHARED, _PER_NEXUS = 0x00, 0x03
# Implicit asymmetric access only: REPORT TARGET PORT GROUPS is there, SET is not.
_TPGS = 0x10
# No device server of this type is there, and never will be: qualifier 3, type 1Fh.
NO_LOGICAL_UNIT = 0x7F


class PeripheralType(enum.IntEnum):
    SEQUENTIAL_ACCESS = 0x01
    MEDIUM_CHANGER = 0x08


# SPC-5 table 150, no revision claimed: SAM-5, SPC-4, iSCSI, and the device's own command set.
_VERSION_DESCRIPTORS = {
    PeripheralType.SEQUENTIAL_ACCESS: (0x00A0, 0x0460, 0x0960, 0x0520),
    PeripheralType.MEDIUM_CHANGER: (0x00A0, 0x0460, 0x0960, 0x0480),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a logical unit says it is.

    `serial` has 10 characters, so that VPD pages and the identifiers in READ
    ELEMENT STATUS agree; some changers have more. `target_name` is the iSCSI name of its own
    target, empty where there is none; `reached_at` the one of the target that it is asked through.
    """

    peripheral_type: PeripheralType
    vendor: str
    product: str
    revision: str
    serial: str
    target_name: str = ""
    reached_at: str = ""
    vendor_bytes: bytes = bytes(20)
    protects_blocks: bool = False

    @property
    def t10_vendor_id(self) -> bytes:
        """The T10 vendor ID designator: vendor 8 bytes, product 16, serial 10 or more."""
        return _text(self.vendor, 8) + _text(self.product, 16) + unit_serial_number(self)

    @property
    def naa(self) -> bytes:
        """A locally assigned NAA designator (type 3), always the same for the same T10 vendor ID.

        A registered one (type 6) would claim some company's IEEE number.
        """
        digest = hashlib.sha256(self.t10_vendor_id).digest()
        return bytes((0x30 | digest[0] & 0x0F,)) + digest[1:8]


def _text(text: str, size_bytes: int) -> bytes:
    return text.encode("ascii", "replace")[:size_bytes].ljust(size_bytes)


def encode_standard(identity: Identity, *, present: bool = True) -> bytes:
    """Return 96 bytes of standard INQUIRY data; for a LUN that is not there with qualifier 3."""
    descriptors = struct.pack(">4H", *_VERSION_DESCRIPTORS[identity.peripheral_type]).ljust(
        16, b"\0"
    )
    return _STANDARD.pack(
        identity.peripheral_type if present else NO_LOGICAL_UNIT,
        0x80,  # RMB
        _SPC_4,
        0x12,  # HISUP, response data format 2
        _STANDARD.size - 5,
        (_PROTECT if identity.protects_blocks else 0) | (_TPGS if identity.target_name else 0),
        0,
        0x02,  # CMDQUE
        _text(identity.vendor, 8),
        _text(identity.product, 16),
        _text(identity.revision, 4),
        identity.vendor_bytes,
        descriptors,
    )


VpdPage = Callable[[Identity], bytes]


def encode_vpd(identity: Identity, code: int, pages: Mapping[int, VpdPage]) -> bytes | None:
    """Return a whole VPD page, None if the device has no page of that code."""
    page = pages.get(code)
    if page is None:
        return None
    body = page(identity)
    return struct.pack(">BBH", identity.peripheral_type, code, len(body)) + body


def vpd_pages(
    extra: Mapping[int, VpdPage], *, without: Collection[int] = ()
) -> Mapping[int, VpdPage]:
    """Return the pages that every device has together with its own, but for those of some codes;
    00h lists them all."""
    pages = {code: page for code, page in {**_COMMON_PAGES, **extra}.items() if code not in without}
    codes = bytes(sorted((0x00, *pages)))
    return {0x00: lambda _: codes, **pages}


def unit_serial_number(identity: Identity) -> bytes:
    """VPD page 80h."""
    return _text(identity.serial, max(len(identity.serial), 10))


_BINARY, _ASCII, _UTF8 = 1, 2, 3
_LOGICAL_UNIT, _TARGET_PORT, _TARGET_DEVICE = 0, 1, 2
_T10_VENDOR_ID, _NAA, _RELATIVE_TARGET_PORT, _TARGET_PORT_GROUP, _SCSI_NAME = 1, 3, 4, 5, 8
_ISCSI = 0x5
# A target has one port, in one group.
_PORT = b"\0\x01"


def _designator(code_set: int, association: int, kind: int, value: bytes) -> bytes:
    protocol, valid = (0, 0) if association == _LOGICAL_UNIT else (_ISCSI, 0x80)
    flags = valid | association << 4 | kind
    return bytes((protocol << 4 | code_set, flags, 0, len(value))) + value


def _name(text: str) -> bytes:
    """A SCSI name string: UTF-8, ends in a null, padded to a multiple of four."""
    name = text.encode() + b"\0"
    return name.ljust((len(name) + 3) & ~3, b"\0")


def device_identification(identity: Identity) -> bytes:
    """VPD page 83h (SPC-5 7.7.6)."""
    page = _designator(_ASCII, _LOGICAL_UNIT, _T10_VENDOR_ID, identity.t10_vendor_id)
    page += _designator(_BINARY, _LOGICAL_UNIT, _NAA, identity.naa)
    if identity.target_name:
        name = identity.target_name
        lun_name = _name(f"{name},L,0x{identity.naa.hex()}")
        page += _designator(_UTF8, _LOGICAL_UNIT, _SCSI_NAME, lun_name)
        page += _designator(_BINARY, _TARGET_PORT, _RELATIVE_TARGET_PORT, b"\0\0" + _PORT)
        page += _designator(_BINARY, _TARGET_PORT, _TARGET_PORT_GROUP, b"\0\0" + _PORT)
        page += _port_name(identity)
        page += _designator(_UTF8, _TARGET_DEVICE, _SCSI_NAME, _name(_node(identity)))
    return page


def _node(identity: Identity) -> str:
    """The target device of the port: "through which the INQUIRY command was received"."""
    return identity.reached_at or identity.target_name


def _port_name(identity: Identity) -> bytes:
    return _designator(_UTF8, _TARGET_PORT, _SCSI_NAME, _name(f"{_node(identity)},t,0x0001"))


def management_network_addresses(_: Identity) -> bytes:
    """VPD page 85h (SPC-5 7.7.8): none, a device is managed where its gateway runs."""
    return b""


def extended_inquiry_data(identity: Identity) -> bytes:
    """VPD page 86h (SPC-5 7.7.7).

    SPT and GRD_CHK: logical block protection, its guard checked. SIMPSUP and ORDSUP: commands are
    run in their order. LUICLR: an attention of one logical unit is none of another.
    """
    protection = 0x0C if identity.protects_blocks else 0
    return bytes((protection, 0x03, 0, 0x01)).ljust(60, b"\0")


def mode_page_policy(identity: Identity) -> bytes:
    """VPD page 87h (SPC-5 7.7.9): all pages and subpages are shared by all nexuses.

    Each nexus has its own Control Data Protection page, where blocks can be protected.
    """
    own = bytes((0x0A, 0xF0, _PER_NEXUS, 0)) if identity.protects_blocks else b""
    return own + bytes((0x3F, 0xFF, _SHARED, 0))


def scsi_ports(identity: Identity) -> bytes:
    """VPD page 88h (SPC-5 7.7.14): the one port, by the name that 83h has for it."""
    name = _port_name(identity) if identity.target_name else b""
    return struct.pack(">2x2s2xH2xH", _PORT, 0, len(name)) + name


def protocol_specific_logical_unit_information(_: Identity) -> bytes:
    """VPD page 90h (SPC-5 7.7.12): the port speaks iSCSI, which has nothing to add."""
    return struct.pack(">2sB3xH", _PORT, _ISCSI, 0)


_COMMON_PAGES: Mapping[int, VpdPage] = {
    0x80: unit_serial_number,
    0x83: device_identification,
    0x85: management_network_addresses,
    0x86: extended_inquiry_data,
    0x87: mode_page_policy,
    0x88: scsi_ports,
    0x90: protocol_specific_logical_unit_information,
}
