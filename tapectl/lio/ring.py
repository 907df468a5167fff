"""TCMU's command ring in a buffer: entries out of it, responses into it. Pure but for that buffer.

The layout is that of linux/target_core_user.h, mailbox version 2. The kernel puts entries at the
head, we answer at the tail, always in the order in which they came: a tape works in that order
anyway, and a response out of order overwrites the request at the tail, which whoever takes over
from a dead process would then not find any more.
"""

from __future__ import annotations

import enum
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from tapectl.lio.errors import KernelTargetError

_MAILBOX = struct.Struct("<HHII")  # version, flags, cmdr_off, cmdr_size
_HEAD = struct.Struct("<I")
_HEAD_AT, _TAIL_AT = 12, 64
_HEADER = struct.Struct("<IHBB")  # length and operation, cmd_id, kernel's flags, ours
_REQUEST = struct.Struct("<III4xQ")  # iov_cnt, iov_bidi_cnt, iov_dif_cnt, cdb_off
_REQUEST_AT, _IOVECS_AT = 8, 48
_IOVEC = struct.Struct("<QQ")  # base, counted from the mailbox; length
_RESPONSE = struct.Struct("<BBHI96s")  # status, two of padding, read_len, sense
_RESPONSE_AT, _FLAGS_AT = 8, 7
_TASK_MANAGEMENT = struct.Struct("<B3xI")  # type, how many cmd_ids
_TASK_MANAGEMENT_AT, _COMMAND_IDS_AT = 8, 32
_OPERATION_MASK = 7
VERSION = 2
CDB_BYTES = 16
SENSE_BYTES_MAX = 96
# By the group code, the upper three bits of the operation code (SPC-5 4.2.5.1).
_CDB_BYTES_OF_GROUP = (6, 10, 10, 16, 16, 12, 16, 16)
_ZEROS = bytes(CDB_BYTES)


class RingError(KernelTargetError):
    """The ring is none that we know, or holds what the kernel never puts there."""


class Capability(enum.IntFlag):
    """What the kernel can do: flags of the mailbox."""

    OUT_OF_ORDER_COMPLETION = 1
    READ_LENGTH = 2
    TASK_MANAGEMENT = 4
    KEEP_BUFFER = 8


class Operation(enum.IntEnum):
    """Kind of an entry."""

    PAD = 0
    COMMAND = 1
    TASK_MANAGEMENT = 2


class _Flag(enum.IntFlag):
    UNKNOWN_OPERATION = 1
    READ_LENGTH = 2


class TaskManagementType(enum.IntEnum):
    """enum tcmu_tmr_type."""

    UNKNOWN = 0
    ABORT_TASK = 1
    ABORT_TASK_SET = 2
    CLEAR_ACA = 3
    CLEAR_TASK_SET = 4
    LOGICAL_UNIT_RESET = 5
    TARGET_WARM_RESET = 6
    TARGET_COLD_RESET = 7
    LOGICAL_UNIT_RESET_BY_PRO = 128


@dataclass(frozen=True, slots=True)
class RingCommand:
    """A command. `data` are views of the kernel's memory, in order: what the initiator sent, or
    room for what it gets; which of them it is TCMU does not tell, the CDB does.

    `at` is its place in the ring, the same for whoever looks at the ring later.
    """

    at: int
    command_id: int
    cdb: bytes
    data: Sequence[memoryview]
    data_bytes: int


@dataclass(frozen=True, slots=True)
class RingTaskManagement:
    """Something was done to commands that are in the ring; each of them is still to be answered."""

    function: int
    command_ids: Sequence[int]


class CommandRing:
    """The ring of one device. One thread at a time.

    `memory` is the whole mapping: mailbox, entries, data area.
    """

    def __init__(self, memory: memoryview) -> None:
        """Begin at the tail, with what is not answered yet; raise RingError."""
        self._memory = memory
        version, flags, self._entries_at, self._size_bytes = _MAILBOX.unpack_from(memory, 0)
        if version != VERSION:
            raise RingError(f"mailbox version {version}, {VERSION} is known")
        self.capabilities = Capability(flags)
        if Capability.READ_LENGTH not in self.capabilities:
            raise RingError("the kernel takes no length of short reads (READ_LEN, Linux 4.19)")
        self._next = self._tail = self._index(_TAIL_AT)
        # Entries between tail and `_next`: where each ends, and whether it is done with.
        self._passed: deque[list[int]] = deque()

    @property
    def tail(self) -> int:
        """The place of the first entry that is not answered."""
        return self._tail

    @property
    def unanswered(self) -> bool:
        """Whether there are entries that are not answered, taken out or not."""
        return self._index(_HEAD_AT) != self._tail

    def take(self) -> RingCommand | RingTaskManagement | None:
        """Return the next entry that nobody has taken yet, None for none; raise RingError."""
        while self._next != self._index(_HEAD_AT):
            at = self._next
            length_and_operation, command_id, _, _ = _HEADER.unpack_from(
                self._memory, self._entries_at + at
            )
            length = length_and_operation & ~_OPERATION_MASK
            operation = length_and_operation & _OPERATION_MASK
            if length < _HEADER.size or at + length > self._size_bytes:
                raise RingError(f"an entry of {length} bytes at {at}")
            self._next = (at + length) % self._size_bytes
            is_command = operation == Operation.COMMAND
            self._passed.append([self._next, not is_command])
            if is_command:
                return self._command(at, command_id)
            if operation == Operation.TASK_MANAGEMENT:
                found = self._task_management(at)
                self._advance()
                return found
            if operation != Operation.PAD:
                self._memory[self._entries_at + at + _FLAGS_AT] = _Flag.UNKNOWN_OPERATION
            self._advance()
        return None

    def answer(
        self, command: RingCommand, status: int, *, sense: bytes = b"", data_in_bytes: int = 0
    ) -> None:
        """Answer the command at the tail. `data_in_bytes` of its `data` hold what it returns.

        Data that comes with sense, or is shorter than was asked for, is told to the kernel by its
        length: else it returns none, or all of the area. A length of 0 cannot be told.
        """
        if command.at != self._tail:
            raise RingError(f"{command.at} is answered, {self._tail} is at the tail")
        at = self._entries_at + command.at
        short = bool(data_in_bytes) and (bool(status) or data_in_bytes < command.data_bytes)
        _RESPONSE.pack_into(
            self._memory, at + _RESPONSE_AT, status, 0, 0, data_in_bytes if short else 0, sense
        )
        self._memory[at + _FLAGS_AT] = _Flag.READ_LENGTH if short else 0
        self._passed[0][1] = True
        self._advance()

    def _advance(self) -> None:
        passed = self._passed
        tail = self._tail
        while passed and passed[0][1]:
            tail = passed.popleft()[0]
        if tail != self._tail:
            self._tail = tail
            # The kernel reads an entry once the tail has passed it: this goes last.
            _HEAD.pack_into(self._memory, _TAIL_AT, tail)

    def _index(self, at: int) -> int:
        index: int = _HEAD.unpack_from(self._memory, at)[0]
        return index

    def _command(self, at: int, command_id: int) -> RingCommand:
        memory, entry = self._memory, self._entries_at + at
        iovecs, _, _, cdb_at = _REQUEST.unpack_from(memory, entry + _REQUEST_AT)
        data = []
        data_bytes = 0
        for number in range(iovecs):
            base, size = _IOVEC.unpack_from(memory, entry + _IOVECS_AT + number * _IOVEC.size)
            data.append(memory[base : base + size])
            data_bytes += size
        # What stands after a shorter CDB is no part of it.
        size = _CDB_BYTES_OF_GROUP[memory[cdb_at] >> 5]
        cdb = (bytes(memory[cdb_at : cdb_at + size]) + _ZEROS)[:CDB_BYTES]
        return RingCommand(at, command_id, cdb, data, data_bytes)

    def _task_management(self, at: int) -> RingTaskManagement:
        entry = self._entries_at + at
        function, count = _TASK_MANAGEMENT.unpack_from(self._memory, entry + _TASK_MANAGEMENT_AT)
        ids = struct.unpack_from(f"<{count}H", self._memory, entry + _COMMAND_IDS_AT)
        return RingTaskManagement(function, ids)
