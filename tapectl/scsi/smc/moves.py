"""MOVE MEDIUM, EXCHANGE MEDIUM, POSITION TO ELEMENT, INITIALIZE ELEMENT STATUS (SMC-3 6)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tapectl.scsi.command_table import GOOD, Task
from tapectl.scsi.library import ElementType, MoveError, MoveRefusal
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.sense import ASC, CheckCondition, Sense, SenseKey, invalid_field_in_cdb
from tapectl.scsi.smc.addresses import check_transport, element_address, type_at

if TYPE_CHECKING:
    from tapectl.scsi.smc.changer import MediaChanger

_ILLEGAL, _HARDWARE = SenseKey.ILLEGAL_REQUEST, SenseKey.HARDWARE_ERROR
_REFUSALS = {
    MoveRefusal.NO_SUCH_ELEMENT: (_ILLEGAL, ASC.INVALID_ELEMENT_ADDRESS),
    MoveRefusal.SOURCE_EMPTY: (_ILLEGAL, ASC.MEDIUM_SOURCE_ELEMENT_EMPTY),
    MoveRefusal.DESTINATION_FULL: (_ILLEGAL, ASC.MEDIUM_DESTINATION_ELEMENT_FULL),
    MoveRefusal.REMOVAL_PREVENTED: (_ILLEGAL, ASC.MEDIUM_REMOVAL_PREVENTED),
    MoveRefusal.NOT_ACCESSIBLE: (_ILLEGAL, ASC.MEDIUM_MAGAZINE_NOT_ACCESSIBLE),
    MoveRefusal.DRIVE_FAILED: (_HARDWARE, ASC.MEDIA_LOAD_OR_EJECT_FAILED),
}
_RANGE, _EITHER_INVERT = 0x01, 0x03
_ANY_ELEMENT = tuple(ElementType)


@contextmanager
def _refusals_as_sense(changer: MediaChanger) -> Iterator[None]:
    try:
        yield
    except MoveError as error:
        if error.refusal is MoveRefusal.DRIVE_FAILED:
            changer.drive_failed(f"drive failed: {error}")
        raise CheckCondition(Sense(*_REFUSALS[error.refusal])) from error


def _check_mailbox(changer: MediaChanger, *addresses: int) -> None:
    """While the import/export elements are open to the operator, the transport is kept out."""
    ranges = changer.library.ranges()
    if changer.import_export_open and any(
        type_at(ranges, address) is ElementType.IMPORT_EXPORT for address in addresses
    ):
        raise CheckCondition(Sense(*_REFUSALS[MoveRefusal.NOT_ACCESSIBLE]))


def move_medium(changer: MediaChanger, task: Task) -> Reply:
    """MOVE MEDIUM."""
    cdb = task.cdb
    if cdb[10] & 0x01:  # INVERT: the transport cannot rotate (page 1Eh)
        raise invalid_field_in_cdb(10, 0)
    check_transport(changer, cdb, 2)
    source, destination = (element_address(changer, cdb, at) for at in (4, 6))
    _check_mailbox(changer, source, destination)
    with _refusals_as_sense(changer):
        changer.library.move(source, destination, nexus=task.nexus)
    if source != destination:
        changer.moved(((source, destination),))
    return GOOD


def exchange_medium(changer: MediaChanger, task: Task) -> Reply:
    """EXCHANGE MEDIUM."""
    cdb = task.cdb
    if cdb[10] & _EITHER_INVERT:
        raise invalid_field_in_cdb(10, (cdb[10] & _EITHER_INVERT).bit_length() - 1)
    check_transport(changer, cdb, 2)
    source, first, second = (element_address(changer, cdb, at) for at in (4, 6, 8))
    if source == first:  # nothing would make room for what is there
        raise invalid_field_in_cdb(6)
    _check_mailbox(changer, source, first, second)
    with _refusals_as_sense(changer):
        changer.library.exchange(source, first, second, nexus=task.nexus)
    changer.moved(((first, second), (source, first)))
    return GOOD


def position_to_element(changer: MediaChanger, task: Task) -> Reply:
    """POSITION TO ELEMENT: an address is checked; a transport without a place is already there."""
    cdb = task.cdb
    if cdb[8] & 0x01:  # INVERT
        raise invalid_field_in_cdb(8, 0)
    check_transport(changer, cdb, 2)
    element_address(changer, cdb, 4, _ANY_ELEMENT)
    return GOOD


def initialize_element_status(changer: MediaChanger, _task: Task) -> Reply:
    """INITIALIZE ELEMENT STATUS: the inventory is always known, so nothing has to move for it."""
    changer.statistics.count_inventory()
    return GOOD


def initialize_element_status_with_range(changer: MediaChanger, task: Task) -> Reply:
    """INITIALIZE ELEMENT STATUS WITH RANGE, and the vendors' command that it was made from.

    "A RANGE bit set to zero": all elements, the address is ignored. FAST, and NBL of the vendors'
    (no bar codes), say how to look, and nothing has to be looked at. NUMBER OF ELEMENTS zero
    means all from there on.
    """
    if task.cdb[1] & _RANGE:
        element_address(changer, task.cdb, 2, _ANY_ELEMENT)
    changer.statistics.count_inventory()
    return GOOD


def rezero_unit(_changer: MediaChanger, _task: Task) -> Reply:
    """REZERO UNIT (SCSI-2): the transport goes home."""
    return GOOD
