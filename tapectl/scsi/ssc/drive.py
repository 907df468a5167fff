"""The tape drive's device server: its state, and what its commands share (SSC-5)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Never

from tapectl.scsi.cartridge import (
    Cartridge,
    CartridgeBusyError,
    CartridgeReadError,
    CartridgeWriteError,
)
from tapectl.scsi.command_table import Command, Task
from tapectl.scsi.device_server import DeviceServer, ModeHeader, ModeSelection
from tapectl.scsi.inquiry import Identity, PeripheralType, VpdPage
from tapectl.scsi.log_pages import LogPage
from tapectl.scsi.logical_unit import Reply, Status
from tapectl.scsi.media import LTO_MEDIA, MediumGeneration
from tapectl.scsi.mode_pages import ModePages
from tapectl.scsi.nonvolatile import NonvolatileMemory
from tapectl.scsi.personality import DrivePersonality
from tapectl.scsi.sense import ASC, CheckCondition, Sense, SenseKey
from tapectl.scsi.spc import lun_not_there
from tapectl.scsi.ssc import compatibility, introductions
from tapectl.scsi.ssc import log_pages as ssc_log_pages
from tapectl.scsi.ssc.alerts import CLEARED_BY_LOAD, TapeAlert
from tapectl.scsi.ssc.block_protection import anybody_protects
from tapectl.scsi.ssc.commands import commands_of
from tapectl.scsi.ssc.counters import Counters
from tapectl.scsi.ssc.data_buffer import DataBuffer
from tapectl.scsi.ssc.early_warning import DEFAULT_PERCENT, EarlyWarning
from tapectl.scsi.ssc.encrypted_blocks import EncryptedBlocks
from tapectl.scsi.ssc.encryption import Encryption
from tapectl.scsi.ssc.failures import Failures, sense_of_unreadable
from tapectl.scsi.ssc.mode_pages import (
    DEVICE_CONFIGURATION_EXTENSION_PAGE,
    device_configuration_extension,
    drive_mode_pages,
    encode_mode_header,
    select_mode_header,
)
from tapectl.scsi.ssc.overwriting import Overwriting
from tapectl.scsi.ssc.partitions import MEDIUM_PARTITION_PAGE
from tapectl.scsi.ssc.statistics import Statistics
from tapectl.scsi.ssc.verify import UnfinishedVerify
from tapectl.scsi.ssc.vpd import Automation, drive_vpd_pages
from tapectl.scsi.tape_alerts import TapeAlerts

# FORMAT MEDIUM, WRITE(6), SET CAPACITY, WRITE FILEMARKS(6), ERASE(6).
_CHANGES_OF_MEDIA = frozenset((0x04, 0x0A, 0x0B, 0x10, 0x19))
NOT_READY = Sense(SenseKey.NOT_READY, ASC.MEDIUM_NOT_PRESENT)


@dataclass(slots=True)
class Parameters:
    """What the header and block descriptor of MODE SELECT set.

    `block_bytes` is the length of fixed blocks, 0 for none. Unless
    `buffered`, a WRITE returns when its data is on stable storage.
    """

    block_bytes: int = 0
    buffered: bool = True


class TapeDrive:
    """A tape drive; implements `tapectl.scsi.logical_unit.LogicalUnit`.

    `cartridge` is what is in the drive, `medium` the same while it is threaded. `memory` is kept
    while the drive is without power, `now_ms` tells the time since 1970. `random` returns so many
    unpredictable bytes; a drive without it does not encrypt.
    """

    def __init__(
        self,
        personality: DrivePersonality,
        *,
        serial: str,
        target_name: str = "",
        memory: NonvolatileMemory | None = None,
        random: Callable[[int], bytes] | None = None,
        now_ms: Callable[[], int] = lambda: 0,
        early_warning_percent: float = DEFAULT_PERCENT,
        automation: Automation | None = None,
    ) -> None:
        self.personality = personality
        identity = Identity(
            peripheral_type=PeripheralType.SEQUENTIAL_ACCESS,
            vendor=personality.vendor,
            product=personality.product,
            revision=personality.revision,
            serial=serial,
            target_name=target_name,
            vendor_bytes=personality.inquiry_vendor_bytes,
            protects_blocks=bool(personality.generation.protection_methods),
        )
        self.automation = automation
        self._vpd_pages = drive_vpd_pages(self)
        number = personality.generation.number
        self._commands = commands_of(number)
        mode_pages = ModePages(
            drive_mode_pages(self),
            memory,
            hidden=introductions.unknown_to(number, introductions.MODE_PAGES),
        )
        self.server: DeviceServer = DeviceServer(identity, mode_pages, memory, now_ms)
        self.parameters = Parameters()
        self.random = random
        # Whether blocks may have to be other bytes on the medium than for a client.
        self.coded = False
        self.encrypted_blocks = EncryptedBlocks(self.settle_coding)
        self.encryption = Encryption(self.server.attentions, self.settle_coding)
        self.server.mode_pages.changed = self.settle_mode_pages
        self.server.reservations.lost = self.encryption.reservation_lost
        self.counters = Counters()
        self.alerts = TapeAlerts(self.server.exceptions.activated)
        self.failures = Failures(self)
        self.now_ms = now_ms
        self.cartridge: Cartridge | None = None
        self.medium: Cartridge | None = None
        # What whoever needs a medium is told while there is none.
        self.not_ready = NOT_READY
        # Whether a write must be looked at before it is made (`overwriting`, generations).
        self.guarded = False
        self.overwriting = Overwriting()
        # Whether anything was written since the last synchronize().
        self.unsynchronised = False
        self.early_warning = EarlyWarning(early_warning_percent)
        # The reply to a write of which there is nothing to tell.
        self.written = Reply(Status.GOOD, afterwards=self._write_behind)
        self.data_buffer = DataBuffer()
        self.unfinished_verify: UnfinishedVerify | None = None
        self.statistics = Statistics(self)

    # What the library's robot and the worker do.

    @property
    def threaded(self) -> bool:
        """Whether the cartridge is ready for use; not, after an initiator has unloaded it."""
        return self.medium is not None

    @property
    def removal_prevented(self) -> bool:
        """Whether any nexus prevents medium removal."""
        return bool(self.server.removal_preventers)

    def load(self, cartridge: Cartridge, *, attention: bool = True) -> None:
        """Take a cartridge from the robot: threaded at the beginning of the partition.

        Every known nexus is told (28h/00h) unless not `attention`. A cleaning cartridge cleans,
        and one of another generation stays unthreaded. May raise CartridgeBusyError, and then has
        taken nothing.
        """
        cartridge.locate(0)
        obstacle = compatibility.take(self.personality, cartridge)
        self.cartridge = cartridge
        self.alerts.deactivate(CLEARED_BY_LOAD)
        if obstacle is not None:
            self.refuse(obstacle)
            return
        self.thread()
        if compatibility.read_only(self.personality, cartridge):
            self.alerts.add(TapeAlert.READ_ONLY_FORMAT)
        if attention:
            self.server.attentions.establish_all(ASC.NOT_READY_TO_READY_CHANGE)

    def unload(self) -> Cartridge | None:
        """Give the cartridge to the robot; the caller closes it, which synchronises it."""
        cartridge, self.cartridge = self.cartridge, None
        self.unthread()
        self.unsynchronised = False
        return cartridge

    def power_on_attention(self) -> None:
        """Tell every nexus, those still to come too, once, that the drive was restarted."""
        self.server.attentions.power_on()

    # LogicalUnit.

    def execute(self, nexus: str, cdb: bytes, data_out: memoryview, lun: int = 0) -> Reply:
        try:
            reply = self.server.run(self, self._commands, Task(nexus, cdb, data_out), lun)
        except CartridgeBusyError:
            self._give_back(cdb)
            raise
        except CartridgeReadError as error:
            # Where the filemarks are can be on a part of the tape that cannot be read.
            self._give_back(cdb)
            reply = self.server.check_condition(sense_of_unreadable(error))
        if reply.sense:
            self.failures.note(cdb, reply.sense)
        return reply

    def _give_back(self, cdb: bytes) -> None:
        """A command has changed nothing: what ALLOW OVERWRITE allowed it is still allowed."""
        if cdb[0] in _CHANGES_OF_MEDIA and self.medium is not None:
            self.overwriting.give_back(self.medium)

    def nexus_established(self, nexus: str) -> None:
        self.server.attentions.know(nexus)

    def nexus_lost(self, nexus: str) -> None:
        self.server.nexus_lost(nexus)
        self.encryption.nexus_lost(nexus)
        self.alerts.forget(nexus)

    def commands_cleared(self, nexus: str) -> None:
        self.server.commands_cleared(nexus)

    def abort_tasks_by(self, abort: Callable[[Collection[str]], None]) -> None:
        self.server.abort_tasks = abort

    def logical_unit_reset(self) -> None:
        """Settings go back to their defaults; the tape stays where it is."""
        self.server.reset()
        self.encryption.reset()
        self.parameters = Parameters()

    # Device: what the SPC commands ask for.

    @property
    def rows(self) -> Sequence[Command[Never]]:
        return self._commands.rows

    @property
    def vpd_pages(self) -> Mapping[int, VpdPage]:
        return self._vpd_pages

    def check_ready(self) -> None:
        if self.medium is None:
            raise CheckCondition(self.not_ready)

    def mode_header(self) -> ModeHeader:
        return encode_mode_header(self)

    def select_mode_header(self, selection: ModeSelection) -> Callable[[], bool]:
        return select_mode_header(self, selection)

    def log_pages(self, nexus: str) -> Mapping[tuple[int, int], LogPage]:
        return ssc_log_pages.pages(self, nexus)

    def log_page_read(self, page: int, nexus: str) -> None:
        ssc_log_pages.was_read(self, page, nexus)

    def answer_for_other_lun(self, task: Task) -> Reply:
        return lun_not_there(self, task)

    # What the drive's own commands share.

    def threaded_medium(self) -> Cartridge:
        """Return the medium; raise CheckCondition (NOT READY) where there is none."""
        if self.medium is None:
            raise CheckCondition(self.not_ready)
        return self.medium

    def cartridge_with_memory(self) -> Cartridge:
        """Return the cartridge whose auxiliary memory can be used; it need not be threaded.

        Raises CheckCondition (NOT READY) where there is none, or an initiator has unloaded it.
        """
        if self.cartridge is None or (self.medium is None and self.not_ready == NOT_READY):
            raise CheckCondition(NOT_READY)
        return self.cartridge

    @property
    def media(self) -> MediumGeneration:
        """The generation of the medium, where there is none of the media the drive is made for."""
        medium = self.medium
        return self.personality.native_medium if medium is None else LTO_MEDIA[medium.generation]

    def thread(self) -> None:
        """Make the cartridge, which the drive can use, ready."""
        cartridge, newly = self.cartridge, self.medium is None
        self.medium = cartridge
        self.early_warning.loaded()
        if newly:
            self.overwriting.loaded()
            self.server.mode_pages.reset_page(MEDIUM_PARTITION_PAGE)
            self.server.mode_pages.reset_page(DEVICE_CONFIGURATION_EXTENSION_PAGE)
            self.statistics.threaded()
            self.encrypted_blocks.threaded(cartridge)
        self.settle_guard()

    def refuse(self, obstacle: Sense) -> None:
        """Leave the cartridge unthreaded: the drive cannot use it."""
        self.not_ready = obstacle
        self.alerts.add(compatibility.ALERTS[obstacle])
        if obstacle == compatibility.CLEANING:
            self.statistics.cleaned()

    def unthread(self) -> None:
        """Take the tape off its path; the cartridge stays in the drive."""
        self.statistics.keep()
        self.medium = None
        self.not_ready = NOT_READY
        self.guarded = False
        self.encrypted_blocks.threaded(None)
        self.encryption.demounted()

    def settle_mode_pages(self) -> None:
        """Mode pages may have other values: take up those that something is kept of."""
        append_only, programmable_bytes = device_configuration_extension(self)
        self.overwriting.append_only = append_only
        self.early_warning.programmable_bytes = programmable_bytes
        self.early_warning.moved()
        self.settle_coding()
        self.settle_guard()

    def settle_coding(self) -> None:
        """Encryption, protection or the volume changed: find out anew if blocks are `coded`."""
        self.coded = (
            self.encryption.active
            or self.encrypted_blocks.any
            or anybody_protects(self.server.mode_pages)
        )

    def _write_behind(self) -> None:
        if self.medium is not None:
            self.medium.write_behind()

    def synchronise(self) -> None:
        """Bring everything written to stable storage, if anything was since the last time.

        Raises CheckCondition (MEDIUM ERROR, WRITE ERROR).
        """
        if not self.unsynchronised or self.cartridge is None:
            return
        try:
            self.cartridge.synchronize()
        except CartridgeWriteError as error:
            raise CheckCondition(Sense(SenseKey.MEDIUM_ERROR, ASC.WRITE_ERROR)) from error
        self.unsynchronised = False

    def synchronise_or_step_back(self, start: int) -> None:
        """Synchronise what a command has just written at `start`.

        When that has to wait, the command will be run again as a whole, so the position goes back
        to where it began: it must not write its objects twice.
        """
        try:
            self.synchronise()
        except CartridgeBusyError:
            self.threaded_medium().locate(start)
            raise

    def check_writable(self, *, appends: bool = True) -> None:
        """Raise CheckCondition where the medium must not be written; asked before each change.

        `appends`: what is written takes nothing away when it is written at end of data.
        """
        medium = self.check_unprotected()
        self.overwriting.check_write(medium, appends=appends)
        self.overwriting.change_reference(medium)
        self.settle_guard()

    def check_format(self) -> None:
        """Raise CheckCondition where the medium must not be made anew."""
        medium = self.check_unprotected()
        self.overwriting.check_format(medium)
        self.overwriting.change_reference(medium)

    def check_unprotected(self) -> Cartridge:
        """Return the medium; raise CheckCondition where nothing of it may be changed."""
        medium = self.threaded_medium()
        if compatibility.read_only(self.personality, medium):
            raise CheckCondition(compatibility.READ_ONLY)
        if medium.write_protected:
            raise CheckCondition(Sense(SenseKey.DATA_PROTECT, ASC.WRITE_PROTECTED))
        return medium

    def settle_guard(self) -> None:
        """Find out anew whether writes are `guarded`."""
        medium = self.medium
        self.guarded = medium is not None and (
            self.overwriting.guards(medium) or compatibility.read_only(self.personality, medium)
        )

    def formatted(self, nexus: str) -> None:
        """The medium has new partitions; `nexus` knows, because it has asked for them."""
        self.unsynchronised = False
        self.server.mode_pages.reset_page(MEDIUM_PARTITION_PAGE)
        self.early_warning.loaded()
        self.encrypted_blocks.threaded(self.medium)
        self.settle_guard()
        self.server.attentions.establish_all(ASC.MODE_PARAMETERS_CHANGED, but=nexus)
