"""The media changer's device server (SMC-3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Never

from tapectl.scsi.changer_personality import ChangerPersonality
from tapectl.scsi.command_table import Command, Task
from tapectl.scsi.device_server import DeviceServer, ModeHeader, ModeSelection
from tapectl.scsi.inquiry import Identity, PeripheralType, VpdPage, vpd_pages
from tapectl.scsi.library import ElementType, Library
from tapectl.scsi.log_pages import LogPage, tape_alert, with_supported_lists
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.mode_pages import ModePages
from tapectl.scsi.nonvolatile import NonvolatileMemory
from tapectl.scsi.personality import DRIVE_PERSONALITIES, DrivePersonality
from tapectl.scsi.sense import ASC, invalid_field_in_parameter_list
from tapectl.scsi.smc.commands import COMMANDS
from tapectl.scsi.smc.mode_pages import changer_mode_pages
from tapectl.scsi.spc import lun_not_there

_NO_HEADER = ModeHeader(0, 0, b"")
_VPD_PAGES = vpd_pages({})


def _first_slot(library: Library) -> int:
    return next(span.first for span in library.ranges() if span.element_type is ElementType.STORAGE)


class MediaChanger:
    """A media changer; implements `tapectl.scsi.logical_unit.LogicalUnit`.

    `drives` is the identity of the library's drives, which READ ELEMENT STATUS tells with DVCID;
    `memory` is kept while the changer is without power.
    """

    def __init__(
        self,
        personality: ChangerPersonality,
        library: Library,
        *,
        serial: str,
        target_name: str = "",
        drives: DrivePersonality = DRIVE_PERSONALITIES["IBM-ULT3580-TD5"],
        memory: NonvolatileMemory | None = None,
    ) -> None:
        self.personality = personality
        self.library = library
        self.drives = drives
        identity = Identity(
            peripheral_type=PeripheralType.MEDIUM_CHANGER,
            vendor=personality.vendor,
            product=personality.product,
            revision=personality.revision,
            serial=personality.unit_serial(serial, _first_slot(library)),
            target_name=target_name,
            vendor_bytes=personality.inquiry_vendor_bytes,
        )
        self.server = DeviceServer(identity, ModePages(changer_mode_pages(library), memory), memory)

    def inventory_changed(self) -> None:
        """A cartridge came to or left an import/export element other than by MOVE MEDIUM."""
        self.server.attentions.establish_all(ASC.IMPORT_OR_EXPORT_ELEMENT_ACCESSED)

    # LogicalUnit.

    def execute(self, nexus: str, cdb: bytes, data_out: memoryview, lun: int = 0) -> Reply:
        return self.server.run(self, COMMANDS, Task(nexus, cdb, data_out), lun)

    def nexus_established(self, nexus: str) -> None:
        self.server.attentions.know(nexus)

    def nexus_lost(self, nexus: str) -> None:
        self.server.nexus_lost(nexus)

    def logical_unit_reset(self) -> None:
        self.server.reset()

    # Device: what the SPC commands ask for.

    @property
    def rows(self) -> Sequence[Command[Never]]:
        return COMMANDS.rows

    @property
    def vpd_pages(self) -> Mapping[int, VpdPage]:
        return _VPD_PAGES

    def check_ready(self) -> None:
        """A library without moving parts is ready as long as it is there."""

    def mode_header(self) -> ModeHeader:
        return _NO_HEADER

    def select_mode_header(self, selection: ModeSelection) -> Callable[[], bool]:
        """A changer has no block descriptor, and nothing in its header that could be set."""
        if selection.block_descriptor:
            raise invalid_field_in_parameter_list(selection.block_descriptor_at - 1)
        return lambda: False

    def log_pages(self, nexus: str) -> Mapping[tuple[int, int], LogPage]:
        """TapeAlert alone; nothing in this library can raise one."""
        return with_supported_lists((tape_alert(frozenset()),))

    def log_page_read(self, page: int, nexus: str) -> None:
        """No page of a changer is cleared by reading it."""

    def answer_for_other_lun(self, task: Task) -> Reply:
        return lun_not_there(self, task)
