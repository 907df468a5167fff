"""What every device server does around a command: find it, guard it, turn refusals into sense."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Never, Protocol, TypeVar

from tapectl.scsi.buffers import Buffers
from tapectl.scsi.command_table import Command, CommandTable, Task
from tapectl.scsi.informational_exceptions import InformationalExceptions
from tapectl.scsi.inquiry import Identity, VpdPage
from tapectl.scsi.log_pages import LogPage
from tapectl.scsi.logical_unit import Reply, Status
from tapectl.scsi.mode_pages import ModePages
from tapectl.scsi.nonvolatile import NonvolatileMemory, NonvolatileMemoryError, VolatileMemory
from tapectl.scsi.reservations import ReservationConflict, Reservations
from tapectl.scsi.sense import (
    ASC,
    CheckCondition,
    Sense,
    SenseKey,
    invalid_field_in_cdb,
)
from tapectl.scsi.timestamps import Timestamp
from tapectl.scsi.unit_attention import UnitAttentions

_NACA = 0x04
_CONTROL_MODE_PAGE = (0x0A, 0x00)
_CONFLICT = Reply(Status.RESERVATION_CONFLICT)
_NO_DATA = b""
_INTERNAL_FAILURE = Sense(SenseKey.HARDWARE_ERROR, ASC.INTERNAL_TARGET_FAILURE)


@dataclass(frozen=True, slots=True)
class ModeHeader:
    """The parts of a mode parameter list before the pages (SPC-5 7.5.5)."""

    medium_type: int
    device_specific: int
    block_descriptor: bytes


@dataclass(frozen=True, slots=True)
class ModeSelection:
    """The same parts of a MODE SELECT parameter list, and where in it they stand."""

    device_specific: int
    device_specific_at: int
    block_descriptor: memoryview
    block_descriptor_at: int


class Device(Protocol):
    """A device server as the SPC commands see it."""

    @property
    def server(self) -> DeviceServer: ...

    @property
    def rows(self) -> Sequence[Command[Never]]:
        """The command table, for REPORT SUPPORTED OPERATION CODES."""
        ...

    @property
    def vpd_pages(self) -> Mapping[int, VpdPage]: ...

    def check_ready(self) -> None:
        """Raise CheckCondition (NOT READY) where TEST UNIT READY would end with it."""
        ...

    def mode_header(self) -> ModeHeader: ...

    def select_mode_header(self, selection: ModeSelection) -> Callable[[], bool]:
        """Check what comes before the pages of MODE SELECT; change nothing.

        Returns what makes it current, and then tells whether it is another than before. Raises
        CheckCondition.
        """
        ...

    def log_pages(self, nexus: str) -> Mapping[tuple[int, int], LogPage]:
        """Return the log pages as they are now for one nexus, by page and subpage code."""
        ...

    def log_page_read(self, page: int, nexus: str) -> None:
        """A page was reported to a nexus, whole: what is cleared by reading is cleared."""
        ...

    def answer_for_other_lun(self, task: Task) -> Reply:
        """Run a command that was sent to a LUN other than 0; raise CheckCondition to refuse it."""
        ...


D = TypeVar("D", bound=Device)


class DeviceServer:
    """State that SPC gives every logical unit, and the way of a command through it.

    `removal_preventers` are the nexuses whose PREVENT ALLOW MEDIUM REMOVAL holds; `memory` keeps
    what outlives the device server, `now_ms` tells the time since 1970.
    """

    def __init__(
        self,
        identity: Identity,
        mode_pages: ModePages,
        memory: NonvolatileMemory | None = None,
        now_ms: Callable[[], int] = lambda: 0,
    ) -> None:
        self.identity = identity
        self.mode_pages = mode_pages
        self.memory = memory if memory is not None else VolatileMemory()
        self.attentions = UnitAttentions()
        self.reservations = Reservations(self.memory)
        # Ends what the transport still holds of other nexuses (PREEMPT AND ABORT).
        self.abort_tasks: Callable[[Collection[str]], None] = lambda _nexuses: None
        # How many logical units a nexus finds at its target, from LUN 0 on.
        self.luns: Callable[[str], int] = lambda _nexus: 1
        self.removal_preventers: set[str] = set()
        self.exceptions = InformationalExceptions(mode_pages, self.attentions)
        self.timestamp = Timestamp(now_ms)
        self.buffers = Buffers()

    def run(self, device: D, table: CommandTable[D], task: Task, lun: int) -> Reply:
        """Run one command of `table` on `device`; only CartridgeBusyError comes out of it."""
        attentions, cdb = self.attentions, task.cdb
        if task.nexus not in attentions.known:
            attentions.know(task.nexus)
        try:
            if lun:
                return device.answer_for_other_lun(task)
            command = table.find(cdb)
            if cdb[command.cdb_bytes - 1] & _NACA:
                raise invalid_field_in_cdb(command.cdb_bytes - 1, 2)
            # Asked here and not in _guard: on the way of every block there is nothing to guard.
            if attentions.pending or self.reservations.any:
                self._guard(command, task)
            if command.needs_medium:
                device.check_ready()
            reply = command.handler(device, task)
            if self.exceptions.waiting and not command.past_attention:
                return self._report_exception(task.nexus, reply)
            return reply
        except CheckCondition as refusal:
            return self.check_condition(refusal.sense)
        except ReservationConflict:
            return _CONFLICT
        except NonvolatileMemoryError:
            return self.check_condition(_INTERNAL_FAILURE)

    def _guard(self, command: Command[D], task: Task) -> None:
        """Report what waits and refuse what is reserved, in SAM-6 5.3.3's order of precedence."""
        attentions, nexus = self.attentions, task.nexus
        reportable = not command.past_attention and attentions.waiting(nexus) is not None
        if reportable and attentions.has_reset(nexus):
            self._report_attention(nexus)
        reservations = self.reservations
        if reservations.conflicts(task.nexus, command.access_of(task.cdb)):
            raise ReservationConflict
        if reportable:
            self._report_attention(nexus)

    def _report_attention(self, nexus: str) -> None:
        code = self.attentions.report(nexus)
        if code is not None:
            raise CheckCondition(Sense(SenseKey.UNIT_ATTENTION, code))

    def _report_exception(self, nexus: str, reply: Reply) -> Reply:
        """Tell of an informational exception with a command that "completed without error"."""
        if reply.status is not Status.GOOD or nexus not in self.exceptions.waiting:
            return reply
        sense = self.encode_sense(self.exceptions.waiting.pop(nexus))
        return replace(reply, status=Status.CHECK_CONDITION, sense=sense)

    def encode_sense(self, sense: Sense) -> bytes:
        """Return sense in the format that the D_SENSE bit of the Control mode page asks for."""
        if self.mode_pages.bit(_CONTROL_MODE_PAGE, 2, 2):
            return sense.encode_descriptor()
        return sense.encode_fixed()

    def check_condition(self, sense: Sense, data_in: bytes | memoryview = _NO_DATA) -> Reply:
        """Return CHECK CONDITION with the data that came before the condition."""
        return Reply(Status.CHECK_CONDITION, data_in, self.encode_sense(sense))

    def nexus_lost(self, nexus: str) -> None:
        """SAM-6 6.3.4: what the nexus held by itself goes; a persistent reservation stays."""
        self.reservations.end_legacy(nexus)
        self.removal_preventers.discard(nexus)
        self.mode_pages.forget(nexus)
        self.exceptions.forget(nexus)
        self.buffers.forget(nexus)
        self.attentions.forget(nexus)

    def commands_cleared(self, nexus: str) -> None:
        """SAM-6 7.4: another nexus cleared the task set, commands of this one are gone."""
        self.attentions.establish(nexus, ASC.COMMANDS_CLEARED_BY_ANOTHER_INITIATOR)

    def reset(self) -> None:
        """SAM-6 6.3.3 logical unit reset; persistent reservations stay."""
        self.reservations.end_legacy()
        self.removal_preventers.clear()
        self.mode_pages.reset()
        self.exceptions.clear()
        self.attentions.establish_all(ASC.BUS_DEVICE_RESET_OCCURRED)
