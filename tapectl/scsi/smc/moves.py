"""MOVE MEDIUM, EXCHANGE MEDIUM, POSITION TO ELEMENT, INITIALIZE ELEMENT STATUS (SMC-3 6)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tapectl.scsi.command_table import GOOD, Task
from tapectl.scsi.library import ElementType, MoveError, MoveRefusal
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.sense import (
    ASC,
    CheckCondition,
    Sense,
    SenseKey,
    illegal_request,
    invalid_field_in_cdb,
)

if TYPE_CHECKING:
    from tapectl.scsi.smc.changer import MediaChanger

_REFUSALS = {
    MoveRefusal.NO_SUCH_ELEMENT: (SenseKey.ILLEGAL_REQUEST, ASC.INVALID_ELEMENT_ADDRESS),
    MoveRefusal.SOURCE_EMPTY: (SenseKey.ILLEGAL_REQUEST, ASC.MEDIUM_SOURCE_ELEMENT_EMPTY),
    MoveRefusal.DESTINATION_FULL: (
        SenseKey.ILLEGAL_REQUEST,
        ASC.MEDIUM_DESTINATION_ELEMENT_FULL,
    ),
    MoveRefusal.REMOVAL_PREVENTED: (SenseKey.ILLEGAL_REQUEST, ASC.MEDIUM_REMOVAL_PREVENTED),
    MoveRefusal.NOT_ACCESSIBLE: (SenseKey.ILLEGAL_REQUEST, ASC.MEDIUM_MAGAZINE_NOT_ACCESSIBLE),
    MoveRefusal.DRIVE_FAILED: (SenseKey.HARDWARE_ERROR, ASC.MEDIA_LOAD_OR_EJECT_FAILED),
}


@contextmanager
def _refusals_as_sense() -> Iterator[None]:
    try:
        yield
    except MoveError as error:
        raise CheckCondition(Sense(*_REFUSALS[error.refusal])) from error


def _address(cdb: bytes, at: int) -> int:
    return int.from_bytes(cdb[at : at + 2], "big")


def _check_transport(changer: MediaChanger, address: int) -> None:
    """Address 0 is the default transport (SMC-3 6.5), another must be one."""
    if address:
        _check_element(changer, address, (ElementType.MEDIUM_TRANSPORT,))


def _check_element(changer: MediaChanger, address: int, kinds: tuple[ElementType, ...]) -> None:
    for span in changer.library.ranges():
        if span.element_type in kinds and 0 <= address - span.first < span.count:
            return
    raise illegal_request(ASC.INVALID_ELEMENT_ADDRESS)


_HOLDERS = (ElementType.STORAGE, ElementType.IMPORT_EXPORT, ElementType.DATA_TRANSFER)


def move_medium(changer: MediaChanger, task: Task) -> Reply:
    """MOVE MEDIUM."""
    cdb = task.cdb
    if cdb[10] & 0x01:  # INVERT: the transport cannot rotate (page 1Eh)
        raise invalid_field_in_cdb(10, 0)
    _check_transport(changer, _address(cdb, 2))
    source, destination = _address(cdb, 4), _address(cdb, 6)
    for element in (source, destination):
        _check_element(changer, element, _HOLDERS)
    with _refusals_as_sense():
        changer.library.move(source, destination)
    return GOOD


def exchange_medium(changer: MediaChanger, task: Task) -> Reply:
    """EXCHANGE MEDIUM."""
    cdb = task.cdb
    if cdb[10] & 0x03:  # INV1, INV2
        raise invalid_field_in_cdb(10, 1)
    _check_transport(changer, _address(cdb, 2))
    source, first, second = (_address(cdb, at) for at in (4, 6, 8))
    for element in (source, first, second):
        _check_element(changer, element, _HOLDERS)
    with _refusals_as_sense():
        changer.library.exchange(source, first, second)
    return GOOD


def position_to_element(changer: MediaChanger, task: Task) -> Reply:
    """POSITION TO ELEMENT: an address is checked; a transport without a place is already there."""
    cdb = task.cdb
    if cdb[8] & 0x01:  # INVERT
        raise invalid_field_in_cdb(8, 0)
    _check_transport(changer, _address(cdb, 2))
    _check_element(changer, _address(cdb, 4), _HOLDERS)
    return GOOD


def initialize_element_status(_changer: MediaChanger, _task: Task) -> Reply:
    """INITIALIZE ELEMENT STATUS, with or without a range, and REZERO UNIT.

    The inventory is always known, so nothing has to be looked at.
    """
    return GOOD
