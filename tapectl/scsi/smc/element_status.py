"""READ ELEMENT STATUS (SMC-3 6.12), and the element descriptors that other commands return too."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tapectl.scsi.command_table import Task
from tapectl.scsi.library import Element, ElementType, MediumType
from tapectl.scsi.logical_unit import Reply, Status
from tapectl.scsi.sense import invalid_field_in_cdb

if TYPE_CHECKING:
    from tapectl.scsi.smc.changer import MediaChanger

_HEADER = struct.Struct(">HHBBH")
_PAGE_HEADER = struct.Struct(">BBHxBH")
_DESCRIPTOR = struct.Struct(">HBxBB3xBH")
_VOLUME_TAG = struct.Struct(">32s4x")
_IDENTIFIER_HEADER = struct.Struct(">BBxB")

_PRIMARY_VOLUME_TAG = 0x80
_FULL, _IMPORT_EXPORT, _EXCEPT, _ACCESS = 0x01, 0x02, 0x04, 0x08
_EXPORT_ENABLED, _IMPORT_ENABLED = 0x10, 0x20
_SOURCE_VALID = 0x80
_ASCII, _T10_VENDOR_ID = 0x2, 0x1
_ANY_TYPE = 0
_DVCID, _MIXED = 0x01, 0x04


@dataclass(frozen=True, slots=True)
class Form:
    """What each descriptor holds; `drive_identities` are vendor and product of each drive by its
    address, 24 bytes."""

    volume_tags: bool
    device_identifiers: bool = False
    drive_identities: Mapping[int, bytes] = field(default_factory=dict)

    def encode(self, element: Element) -> bytes:
        """Return the descriptor of one element.

        Its last field is the length of a device identifier, 0 for none. Before SMC-3 these four
        bytes were reserved, so that every descriptor has always had them.
        """
        full = element.volume_tag is not None
        source = element.source_address if full else None
        valid = _SOURCE_VALID if source is not None else 0
        medium = element.medium_type if full else MediumType.UNSPECIFIED
        sense = element.exception.value if element.exception is not None else (0, 0)
        data = _DESCRIPTOR.pack(
            element.address, _flags(element), *sense, valid | medium, source or 0
        )
        if self.volume_tags:
            data += _VOLUME_TAG.pack((element.volume_tag or "").encode().ljust(32))
        return data + self._identifier(element)

    def _identifier(self, element: Element) -> bytes:
        """The T10 vendor ID of the drive, as in its VPD page 83h; nothing for other elements."""
        if not self.device_identifiers or element.drive_serial is None:
            return _IDENTIFIER_HEADER.pack(0, 0, 0)
        serial = element.drive_serial.encode()[:10].ljust(10)
        identifier = self.drive_identities[element.address] + serial
        return _IDENTIFIER_HEADER.pack(_ASCII, _T10_VENDOR_ID, len(identifier)) + identifier

    def encode_page(self, kind: ElementType, descriptors: Sequence[bytes]) -> list[bytes]:
        """Return one page in pieces that must not be cut: its header, and each descriptor."""
        length = len(descriptors[0])
        total = length * len(descriptors)
        tags = _PRIMARY_VOLUME_TAG if self.volume_tags else 0
        return [
            _PAGE_HEADER.pack(kind, tags, length, total >> 16, total & 0xFFFF),
            *descriptors,
        ]


def _flags(element: Element) -> int:
    flags = _FULL if element.volume_tag is not None else 0
    if element.exception is not None:
        flags |= _EXCEPT
    if element.element_type is ElementType.MEDIUM_TRANSPORT:
        return flags
    if element.accessible:
        flags |= _ACCESS
    if element.element_type is ElementType.IMPORT_EXPORT:
        flags |= _EXPORT_ENABLED | _IMPORT_ENABLED
        if element.placed_by_operator and element.volume_tag is not None:
            flags |= _IMPORT_EXPORT
    return flags


def read_element_status(changer: MediaChanger, task: Task) -> Reply:
    """READ ELEMENT STATUS; nothing moves for it, CURDATA or not."""
    cdb = task.cdb
    element_type = element_type_field(cdb)
    if cdb[6] & _MIXED:  # asks for descriptors with more about the medium than there is
        raise invalid_field_in_cdb(6, 2)
    first, count = struct.unpack_from(">HH", cdb, 2)
    elements = changer.elements(element_type, first, count)
    form = Form(bool(cdb[1] & 0x10), bool(cdb[6] & _DVCID), changer.drive_identities)
    return Reply(Status.GOOD, encode_report(form, elements, int.from_bytes(cdb[7:10], "big")))


def element_type_field(cdb: bytes) -> ElementType | None:
    """Return the ELEMENT TYPE CODE of a CDB, None for all types; raise CheckCondition."""
    kind = cdb[1] & 0x0F
    if kind > max(ElementType):
        raise invalid_field_in_cdb(1, 3)
    return ElementType(kind) if kind != _ANY_TYPE else None


def encode_report(
    form: Form, elements: Sequence[Element], allocation_length: int, *, fifth_byte: int = 0
) -> bytes:
    """Return the report, cut after the last whole descriptor that fits.

    "The BYTE COUNT OF REPORT AVAILABLE ... shall not be adjusted to match the allocation length".
    Descriptors of drives and of the rest differ in length, so each run of one length is a page.
    `fifth_byte` is the only one of the header in which reports differ.
    """
    pieces: list[bytes] = []
    for kind, group in itertools.groupby(elements, key=lambda element: element.element_type):
        descriptors = [form.encode(element) for element in group]
        for _, run in itertools.groupby(descriptors, key=len):
            pieces += form.encode_page(kind, list(run))
    total = sum(map(len, pieces))
    lowest = min((element.address for element in elements), default=0)
    report = bytearray(_HEADER.pack(lowest, len(elements), fifth_byte, total >> 16, total & 0xFFFF))
    for piece in pieces:
        if len(report) + len(piece) > allocation_length:
            break
        report += piece
    return bytes(report[:allocation_length])
