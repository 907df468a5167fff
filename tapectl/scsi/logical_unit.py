"""The face of a logical unit to whatever transport carries its commands."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

IMPLICIT_HEAD_OF_QUEUE = frozenset((0x03, 0x12, 0xA0))
"""Operation codes of commands that need not stand behind those of the task set, whatever their
task attribute (SAM-6 8.2): REQUEST SENSE, INQUIRY, REPORT LUNS. They wait for nothing."""


class Status(enum.IntEnum):
    """SAM-6 status codes."""

    GOOD = 0x00
    CHECK_CONDITION = 0x02
    BUSY = 0x08
    RESERVATION_CONFLICT = 0x18
    TASK_SET_FULL = 0x28
    TASK_ABORTED = 0x40


@dataclass(frozen=True, slots=True)
class Reply:
    """The outcome of one command.

    `data_in` may come with CHECK CONDITION too (a short block with ILI). It is
    a view of the device server's own buffer where it is a memoryview, and valid
    until the next command of the same logical unit. `data_out_bytes` is how much data
    the CDB asks for where that is not what came; the transport makes it a residual count.
    `afterwards` is work that the initiator need not wait for: to be called once the reply is on
    its way to it, as the unit is (one thread at a time), or not at all. It raises nothing.
    """

    status: Status
    data_in: bytes | memoryview = b""
    sense: bytes = b""
    data_out_bytes: int | None = None
    afterwards: Callable[[], None] | None = field(default=None, compare=False)


class LogicalUnit(Protocol):
    """A device server. Only one thread may call it at a time (its owner keeps a lock)."""

    def execute(self, nexus: str, cdb: bytes, data_out: memoryview, lun: int = 0) -> Reply:
        """Run one command for the I_T nexus named `nexus`.

        `cdb` is 16 bytes; `data_out` holds all the data the initiator sent (as much as it had
        declared) and belongs to the caller. Never raises for anything an initiator can send, but
        may raise cartridge.CartridgeBusyError: nothing has changed, run it again later, with the
        same `cdb` object, by which a command is known that goes on where it was.
        """
        ...

    def nexus_established(self, nexus: str) -> None:
        """A session began."""
        ...

    def nexus_lost(self, nexus: str) -> None:
        """A session ended: SAM-6 I_T nexus loss. Reservations, prevention and attentions go."""
        ...

    def commands_cleared(self, nexus: str) -> None:
        """Commands of a nexus are gone without an answer: another one cleared the task set."""
        ...

    def abort_tasks_by(self, abort: Callable[[Collection[str]], None]) -> None:
        """Tell it what ends the commands of other nexuses, unanswered (PREEMPT AND ABORT).

        It is called from within `execute`.
        """
        ...

    def logical_unit_reset(self) -> None:
        """SAM-6 logical unit reset (LOGICAL UNIT RESET, TARGET WARM/COLD RESET)."""
        ...
