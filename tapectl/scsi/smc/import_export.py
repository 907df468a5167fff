"""OPEN/CLOSE IMPORT/EXPORT ELEMENT (SMC-3 6.8): the mailbox, open to the operator or closed."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from tapectl.scsi.command_table import GOOD, Task
from tapectl.scsi.library import ElementType
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.sense import ASC, illegal_request, invalid_field_in_cdb
from tapectl.scsi.smc.addresses import element_address

if TYPE_CHECKING:
    from tapectl.scsi.smc.changer import MediaChanger


class _Action(enum.IntEnum):
    OPEN = 0
    CLOSE = 1


def open_close_import_export_element(changer: MediaChanger, task: Task) -> Reply:
    """OPEN/CLOSE IMPORT/EXPORT ELEMENT.

    All import/export elements are one mailbox, so any of their addresses will do. What is open or
    closed already stays so. Medium removal that is prevented keeps it closed; closing it tells the
    other initiators that somebody was there.
    """
    element_address(changer, task.cdb, 2, (ElementType.IMPORT_EXPORT,))
    action = task.cdb[4] & 0x1F
    if action > max(_Action):
        raise invalid_field_in_cdb(4, 4)
    attentions = changer.server.attentions
    if action == _Action.OPEN:
        if changer.server.removal_preventers:
            raise illegal_request(ASC.MEDIUM_REMOVAL_PREVENTED)
        if not changer.import_export_open:
            changer.statistics.count_door_open()
        changer.import_export_open = True
    elif changer.import_export_open:
        changer.import_export_open = False
        attentions.establish_all(ASC.IMPORT_OR_EXPORT_ELEMENT_ACCESSED, but=task.nexus)
    return GOOD
