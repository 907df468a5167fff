"""A removable disk in memory behind the project's own device server: what `iscsi-test-cu` needs.

For tests only. iscsi-test-cu begins with READ CAPACITY and so cannot test a tape drive, but what
it tests of SPC and of iSCSI is the same code here and there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Never

from tapectl.scsi.command_table import Command, Task
from tapectl.scsi.device_server import DeviceServer, ModeHeader, ModeSelection
from tapectl.scsi.inquiry import Identity, PeripheralType, VpdPage
from tapectl.scsi.log_pages import LogPage, with_supported_lists
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.mode_pages import ModePages
from tapectl.scsi.sense import ASC, CheckCondition, Sense, SenseKey
from tapectl.scsi.spc import lun_not_there
from tests.support.disk_commands import COMMANDS
from tests.support.disk_pages import BLOCK_BYTES, CONTROL_PAGE, MODE_PAGES, VPD_PAGES

_DPOFUA, _WRITE_PROTECTED = 0x10, 0x80


class DiskUnit:
    """A disk of `blocks` blocks; implements `tapectl.scsi.logical_unit.LogicalUnit` and `Device`.

    `loaded`: whether the medium is there. `started`: what START STOP UNIT said last.
    """

    def __init__(self, blocks: int, *, serial: str, target_name: str) -> None:
        # Any type of which the version descriptors know; `disk_pages` says what this is.
        identity = Identity(
            peripheral_type=PeripheralType.SEQUENTIAL_ACCESS,
            vendor="TAPECTL",
            product="TEST DISK",
            revision="0001",
            serial=serial,
            target_name=target_name,
        )
        self.server = DeviceServer(identity, ModePages(MODE_PAGES))
        self.blocks = blocks
        self.content = bytearray(blocks * BLOCK_BYTES)
        self.loaded = True
        self.started = True

    # LogicalUnit.

    def execute(self, nexus: str, cdb: bytes, data_out: memoryview, lun: int = 0) -> Reply:
        return self.server.run(self, COMMANDS, Task(nexus, cdb, data_out), lun)

    def nexus_established(self, nexus: str) -> None:
        self.server.attentions.know(nexus)

    def nexus_lost(self, nexus: str) -> None:
        self.server.nexus_lost(nexus)

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
        return VPD_PAGES

    @property
    def write_protected(self) -> bool:
        """Whether SWP of the Control mode page is set."""
        return self.server.mode_pages.bit(CONTROL_PAGE, 4, 3)

    def check_ready(self) -> None:
        if not self.loaded:
            raise CheckCondition(Sense(SenseKey.NOT_READY, ASC.MEDIUM_NOT_PRESENT))

    def mode_header(self) -> ModeHeader:
        descriptor = struct.pack(">II", self.blocks, BLOCK_BYTES)
        protected = _WRITE_PROTECTED if self.write_protected else 0
        return ModeHeader(0, _DPOFUA | protected, descriptor)

    def select_mode_header(self, selection: ModeSelection) -> Callable[[], bool]:
        """Capacity and block length are what they are, whatever the block descriptor says."""
        del selection
        return lambda: False

    def log_pages(self, nexus: str) -> Mapping[tuple[int, int], LogPage]:
        del nexus
        return with_supported_lists(())

    def log_page_read(self, page: int, nexus: str) -> None:
        """No page is cleared by being read."""

    def answer_for_other_lun(self, task: Task) -> Reply:
        return lun_not_there(self, task)
