"""The command table: what a device server accepts, as data.

Dispatch, reservation conflicts, readiness and REPORT SUPPORTED OPERATION CODES
all read the same rows, so they cannot disagree.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tapectl.scsi.logical_unit import Reply, Status
from tapectl.scsi.sense import ASC, illegal_request, invalid_field_in_cdb

D = TypeVar("D")
D_contra = TypeVar("D_contra", contravariant=True)

GOOD = Reply(Status.GOOD)


class Access(enum.Enum):
    """Who may use a command while another nexus holds a reservation.

    (SPC-5 tables of commands allowed in the presence of reservations; SSC and SMC for theirs.)
    """

    ALWAYS = "whoever"
    PERSISTENT = "whoever, but for a RESERVE(6) reservation"
    READ = "whoever, while the reservation is write exclusive"
    HOLDER = "the holder, and registrants where the type says so"


@dataclass(slots=True)
class Task:
    """One command on its way: from whom, its 16 bytes, and the data it brought (the caller's).

    Not frozen, only because that makes it several times cheaper to build.
    """

    nexus: str
    cdb: bytes
    data_out: memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Generic[D_contra]):
    """One row. `usage` is the CDB usage data of REPORT SUPPORTED OPERATION CODES (SPC-5 6.34.3).

    Its length is the length of the CDB and its first byte the operation code; with a service
    action the low five bits of byte 1 hold it. `harmless`, where some forms of a command may be
    used by whoever and others not, tells the former by their CDB.
    """

    name: str
    usage: bytes
    handler: Callable[[D_contra, Task], Reply]
    service_action: int | None = None
    access: Access = Access.HOLDER
    harmless: Callable[[bytes], bool] | None = None
    needs_medium: bool = False
    past_attention: bool = False
    timeout_s: int = 60
    operation_code: int = field(init=False)
    cdb_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        if self.service_action is not None:
            # "The SERVICE ACTION field ... shall contain the service action code."
            second = self.usage[1] & 0xE0 | self.service_action
            usage = self.usage[:1] + bytes((second,)) + self.usage[2:]
            object.__setattr__(self, "usage", usage)
        object.__setattr__(self, "operation_code", self.usage[0])
        object.__setattr__(self, "cdb_bytes", len(self.usage))

    def access_of(self, cdb: bytes) -> Access:
        """Who may use the command in the form that a CDB asks for."""
        if self.harmless is not None and self.harmless(cdb):
            return Access.ALWAYS
        return self.access


class CommandTable(Generic[D]):
    """The rows of one kind of device, found by CDB."""

    def __init__(self, rows: Iterable[Command[D]]) -> None:
        self.rows: Sequence[Command[D]] = tuple(
            sorted(rows, key=lambda row: (row.operation_code, row.service_action or 0))
        )
        self._plain: dict[int, Command[D]] = {}
        self._by_action: dict[int, dict[int, Command[D]]] = {}
        for row in self.rows:
            if row.service_action is None:
                self._plain[row.operation_code] = row
            else:
                actions = self._by_action.setdefault(row.operation_code, {})
                actions[row.service_action] = row

    def find(self, cdb: bytes) -> Command[D]:
        """Return the row of a CDB; raise CheckCondition if there is none."""
        row = self._plain.get(cdb[0])
        if row is not None:
            return row
        actions = self._by_action.get(cdb[0])
        if actions is None:
            raise illegal_request(ASC.INVALID_COMMAND_OPERATION_CODE)
        row = actions.get(cdb[1] & 0x1F)
        if row is None:
            raise invalid_field_in_cdb(1, 4)
        return row

    def has_service_actions(self, operation_code: int) -> bool:
        return operation_code in self._by_action

    def supported(self, operation_code: int, service_action: int | None) -> Command[D] | None:
        """Return a row by its codes, None if the device does not support it."""
        if service_action is None:
            return self._plain.get(operation_code)
        return self._by_action.get(operation_code, {}).get(service_action)


def reply_truncated(data: bytes, allocation_length: int) -> Reply:
    """Return GOOD with at most `allocation_length` bytes, which "shall not be an error"."""
    return Reply(Status.GOOD, data[:allocation_length])
