"""SEND VOLUME TAG and REQUEST VOLUME ELEMENT ADDRESS: cartridges by template (SMC-3 6.13, 6.17)."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tapectl.scsi.command_table import GOOD, Task
from tapectl.scsi.library import Element, ElementType
from tapectl.scsi.logical_unit import Reply, Status
from tapectl.scsi.sense import ASC, illegal_request, invalid_field_in_cdb
from tapectl.scsi.smc.element_status import Form, element_type_field, encode_report

if TYPE_CHECKING:
    from tapectl.scsi.smc.changer import MediaChanger

_PARAMETERS = struct.Struct(">32sxxHxxH")
# Bar codes carry no sequence number, so each volume's is zero.
_VOLUME_SEQUENCE_NUMBER = 0
_ALL_ELEMENTS = 0xFFFF


class SendAction(enum.IntEnum):
    """SEND ACTION CODE: which tags a template is compared with."""

    ALL_TAGS = 0x0
    PRIMARY_TAGS = 0x1
    ALTERNATE_TAGS = 0x2
    ALL_TAGS_ANY_SEQUENCE = 0x4
    PRIMARY_TAGS_ANY_SEQUENCE = 0x5
    ALTERNATE_TAGS_ANY_SEQUENCE = 0x6


_PRIMARY = frozenset(
    {
        SendAction.ALL_TAGS,
        SendAction.PRIMARY_TAGS,
        SendAction.ALL_TAGS_ANY_SEQUENCE,
        SendAction.PRIMARY_TAGS_ANY_SEQUENCE,
    }
)
_ANY_SEQUENCE = 0x4


@dataclass(frozen=True, slots=True)
class VolumeSearch:
    """What an I_T nexus looks for: a template, and the elements in which it is looked for."""

    action: SendAction
    element_type: ElementType | None
    first: int
    template: str

    def finds(self, element: Element) -> bool:
        """Whether the cartridge in an element is one of those."""
        return (
            element.volume_tag is not None
            and self.action in _PRIMARY
            and element.address >= self.first
            and self.element_type in (None, element.element_type)
            and matches(self.template, element.volume_tag)
        )


def send_volume_tag(changer: MediaChanger, task: Task) -> Reply:
    """SEND VOLUME TAG, the translate functions.

    A tag here is the bar code of the cartridge's label, so none is asserted, replaced or undefined.
    "A parameter list length of zero ... shall not be considered as an error."
    """
    cdb = task.cdb
    element_type = element_type_field(cdb)
    try:
        action = SendAction(cdb[5] & 0x1F)
    except ValueError:
        raise invalid_field_in_cdb(5, 4) from None
    length = int.from_bytes(cdb[8:10], "big")
    if not length:
        return GOOD
    if length != _PARAMETERS.size or len(task.data_out) < length:
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    field, lowest, highest = _PARAMETERS.unpack_from(task.data_out)
    template = field.split(b"\0", 1)[0].decode("ascii", "replace").rstrip(" ")
    if not action & _ANY_SEQUENCE and not lowest <= _VOLUME_SEQUENCE_NUMBER <= highest:
        template = ""  # matches no tag
    first = int.from_bytes(cdb[2:4], "big")
    changer.searches[task.nexus] = VolumeSearch(action, element_type, first, template)
    return GOOD


def request_volume_element_address(changer: MediaChanger, task: Task) -> Reply:
    """REQUEST VOLUME ELEMENT ADDRESS: what the last SEND VOLUME TAG of this nexus finds.

    It is looked for now, so that what has moved since is where it is said to be.
    """
    cdb = task.cdb
    element_type = element_type_field(cdb)
    search = changer.searches.get(task.nexus)
    if search is None:
        raise illegal_request(ASC.COMMAND_SEQUENCE_ERROR)
    first, count = struct.unpack_from(">HH", cdb, 2)
    elements = changer.elements(element_type, first, _ALL_ELEMENTS)
    found = [element for element in elements if search.finds(element)][:count]
    form = Form(volume_tags=bool(cdb[1] & 0x10))
    allocation_length = int.from_bytes(cdb[7:10], "big")
    report = encode_report(form, found, allocation_length, fifth_byte=search.action)
    return Reply(Status.GOOD, report)


def matches(template: str, volume_tag: str) -> bool:
    """Whether a tag is as a template says: `?` is any character, `*` any number of them.

    Takes time in proportion to both, whatever the template.
    """
    at = star = resume = 0
    seen_star = False
    for_tag = 0
    while for_tag < len(volume_tag):
        if at < len(template) and template[at] == "*":
            seen_star, star, resume = True, at, for_tag
            at += 1
        elif at < len(template) and template[at] in ("?", volume_tag[for_tag]):
            at += 1
            for_tag += 1
        elif seen_star:
            # The last star takes one character more.
            resume += 1
            at, for_tag = star + 1, resume
        else:
            return False
    return not template[at:].strip("*")
