"""Element addresses in CDBs, checked against the library's (SMC-3 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tapectl.scsi.library import ElementRange, ElementType
from tapectl.scsi.sense import ASC, CheckCondition, FieldPointer, Sense, SenseKey

if TYPE_CHECKING:
    from tapectl.scsi.smc.changer import MediaChanger

HOLDERS = (ElementType.STORAGE, ElementType.IMPORT_EXPORT, ElementType.DATA_TRANSFER)
"""Where cartridges can stay; none stays in the transport."""

DEFAULT_TRANSPORT = 0


def type_at(ranges: Sequence[ElementRange], address: int) -> ElementType | None:
    """Return the type of the element at an address, None if there is no element."""
    for span in ranges:
        if address in span:
            return span.element_type
    return None


def element_address(
    changer: MediaChanger, cdb: bytes, at: int, kinds: Sequence[ElementType] = HOLDERS
) -> int:
    """Return the element address in two bytes of a CDB.

    Raises CheckCondition, with a pointer to the field, if it is not that of an element of one of
    these types.
    """
    address = int.from_bytes(cdb[at : at + 2], "big")
    if type_at(changer.library.ranges(), address) not in kinds:
        code, pointer = ASC.INVALID_ELEMENT_ADDRESS, FieldPointer(byte=at)
        raise CheckCondition(Sense(SenseKey.ILLEGAL_REQUEST, code, field=pointer))
    return address


def check_transport(changer: MediaChanger, cdb: bytes, at: int) -> None:
    """Refuse what is no medium transport element; "the default transport element address"
    is zero, whatever else is there."""
    if int.from_bytes(cdb[at : at + 2], "big") != DEFAULT_TRANSPORT:
        element_address(changer, cdb, at, (ElementType.MEDIUM_TRANSPORT,))
