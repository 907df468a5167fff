"""The media changer's device server (SMC-3)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Never

from tapectl.scsi.changer_personality import ChangerPersonality
from tapectl.scsi.command_table import Command, Task
from tapectl.scsi.device_server import DeviceServer, ModeHeader, ModeSelection
from tapectl.scsi.informational_exceptions import exceptions_page, run_alert_test
from tapectl.scsi.inquiry import Identity, PeripheralType, VpdPage, vpd_pages
from tapectl.scsi.library import Element, ElementType, Library, LibraryError
from tapectl.scsi.log_pages import LogPage, tape_alert, with_supported_lists
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.mode_pages import ModePages
from tapectl.scsi.nonvolatile import NonvolatileMemory
from tapectl.scsi.personality import DRIVE_PERSONALITIES, DrivePersonality
from tapectl.scsi.sense import ASC, Sense, SenseKey, invalid_field_in_parameter_list
from tapectl.scsi.smc.alerts import LibraryAlert
from tapectl.scsi.smc.commands import COMMANDS
from tapectl.scsi.smc.inventory import KnownInventory, Move
from tapectl.scsi.smc.mode_pages import changer_mode_pages
from tapectl.scsi.smc.statistics import ChangerStatistics
from tapectl.scsi.smc.volume_search import VolumeSearch
from tapectl.scsi.spc import lun_not_there
from tapectl.scsi.tape_alerts import TapeAlerts

_TAPE_ALERT_PAGE = 0x2E
_ALL_ELEMENTS = 0xFFFF
_LIBRARY_FAILURE = Sense(SenseKey.HARDWARE_ERROR, ASC.INTERNAL_TARGET_FAILURE)
_NO_HEADER = ModeHeader(0, 0, b"")
_VPD_PAGES = vpd_pages({})


def _first_slot(library: Library) -> int:
    return next(span.first for span in library.ranges() if span.element_type is ElementType.STORAGE)


def _drive_identities(library: Library, drives: Sequence[DrivePersonality]) -> Mapping[int, bytes]:
    """Return vendor and product of each drive, 24 bytes, by its element address."""
    texts = [f"{drive.vendor:<8}{drive.product:<16}".encode() for drive in drives]
    spans = (s for s in library.ranges() if s.element_type is ElementType.DATA_TRANSFER)
    return {
        span.first + number: texts[number % len(texts)]
        for span in spans
        for number in range(span.count)
    }


class MediaChanger:
    """A media changer; implements `tapectl.scsi.logical_unit.LogicalUnit`.

    `drives` are the identities of the library's drives, dealt out to them in turn, which READ
    ELEMENT STATUS tells with DVCID;
    `memory` is kept while the changer is without power, `now_ms` tells the time since 1970.
    """

    def __init__(
        self,
        personality: ChangerPersonality,
        library: Library,
        *,
        serial: str,
        target_name: str = "",
        drives: Sequence[DrivePersonality] = (DRIVE_PERSONALITIES["IBM-ULT3580-TD5"],),
        memory: NonvolatileMemory | None = None,
        now_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self.personality = personality
        self.library = library
        self.drive_identities = _drive_identities(library, drives)
        identity = Identity(
            peripheral_type=PeripheralType.MEDIUM_CHANGER,
            vendor=personality.vendor,
            product=personality.product,
            revision=personality.revision,
            serial=personality.unit_serial(serial, _first_slot(library)),
            target_name=target_name,
            vendor_bytes=personality.inquiry_vendor_bytes,
        )
        exceptions = exceptions_page(
            lambda flag: run_alert_test(flag, self.alerts, LibraryAlert, self.server.exceptions)
        )
        mode_pages = ModePages((*changer_mode_pages(library), exceptions), memory)
        self.server = DeviceServer(identity, mode_pages, memory, now_ms)
        self.import_export_open = False
        self.searches: dict[str, VolumeSearch] = {}
        self.statistics = ChangerStatistics(self.server.memory)
        self.alerts = TapeAlerts(self.server.exceptions.activated)
        self._known_inventory = KnownInventory(library)

    def elements(
        self, element_type: ElementType | None, first: int, count: int
    ) -> Sequence[Element]:
        """Return elements as `Library.elements`, without access to an open mailbox."""
        found = self.library.elements(element_type, first, count)
        if not self.import_export_open:
            return found
        return [
            replace(element, accessible=False)
            if element.element_type is ElementType.IMPORT_EXPORT
            else element
            for element in found
        ]

    def moved(self, moves: Sequence[Move]) -> None:
        """An initiator has moved cartridges, which is no news to initiators."""
        self._known_inventory.moved(moves)
        self.statistics.count_moves(moves)

    def drive_failed(self, why: str) -> None:
        """The robot could not bring a drive to take or give a cartridge."""
        self.statistics.count_error(why)
        self.alerts.add(LibraryAlert.HARDWARE_A)

    def hold_alerts(self, flags: Iterable[int]) -> None:
        """Take the TapeAlert flags of what is wrong behind the library, as long as it is."""
        self.alerts.hold(flags, watcher="gateway")

    def library_grew(self, drives: Sequence[DrivePersonality]) -> None:
        """Tell every nexus that there are more elements, and maybe at other addresses."""
        drives_before = len(self.drive_identities)
        self.drive_identities = _drive_identities(self.library, drives)
        self._known_inventory = KnownInventory(self.library)
        self.server.attentions.establish_all(ASC.NOT_READY_TO_READY_CHANGE)
        self.server.attentions.establish_all(ASC.MODE_PARAMETERS_CHANGED)
        if len(self.drive_identities) != drives_before:
            for nexus in self.server.attentions.known:
                if self.server.luns(nexus) > 1:  # each drive is one of its logical units
                    self.server.attentions.establish(nexus, ASC.REPORTED_LUNS_DATA_HAS_CHANGED)

    def look_at_inventory(self) -> None:
        """Tell every nexus, once, what came, left or moved other than by an initiator."""
        for condition in self._known_inventory.look():
            self.server.attentions.establish_all(condition)

    # LogicalUnit.

    def execute(self, nexus: str, cdb: bytes, data_out: memoryview, lun: int = 0) -> Reply:
        try:
            # Before the nexus is known: who is new has nothing to be told of what was before.
            self.look_at_inventory()
            return self.server.run(self, COMMANDS, Task(nexus, cdb, data_out), lun)
        except LibraryError:
            return self.server.check_condition(_LIBRARY_FAILURE)

    def nexus_established(self, nexus: str) -> None:
        with contextlib.suppress(LibraryError):  # its first command will meet it too
            self.look_at_inventory()
        self.server.attentions.know(nexus)

    def nexus_lost(self, nexus: str) -> None:
        self.server.nexus_lost(nexus)
        self.searches.pop(nexus, None)
        self.alerts.forget(nexus)

    def commands_cleared(self, nexus: str) -> None:
        self.server.commands_cleared(nexus)

    def abort_tasks_by(self, abort: Callable[[Collection[str]], None]) -> None:
        self.server.abort_tasks = abort

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
        """Return what the robot has done, and TapeAlert."""
        offline = {LibraryAlert.DRIVE_OFFLINE} if self._drive_offline() else set()
        self.alerts.hold(offline)
        flags = tape_alert(self.alerts.flags_for(nexus))
        return with_supported_lists((*self.statistics.log_pages(), flags))

    def log_page_read(self, page: int, nexus: str) -> None:
        """Reading TapeAlert clears for its reader what it has read."""
        if page == _TAPE_ALERT_PAGE:
            self.alerts.read_by(nexus)

    def _drive_offline(self) -> bool:
        drives = self.library.elements(ElementType.DATA_TRANSFER, 0, _ALL_ELEMENTS)
        return any(drive.exception is not None for drive in drives)

    def answer_for_other_lun(self, task: Task) -> Reply:
        return lun_not_there(self, task)
