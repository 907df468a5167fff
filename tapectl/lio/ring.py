"""TCMU's command ring in a buffer: entries out of it, responses into it. Pure but for that buffer.

The layout is that of linux/target_core_user.h, mailbox version 2. The kernel puts entries at the
head, we answer at the tail: the entry there takes the answer to any command, which it names. A
command that is not the next to be answered so takes the entry of another one (`disorder`).
"""

from __future__ import annotations

import enum
import itertools
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from tapectl.lio.disorder import CDB_BYTES, Disorder, DisplacedRequest
from tapectl.lio.errors import KernelTargetError

_MAILBOX = struct.Struct("<HHII")  # version, flags, cmdr_off, cmdr_size
_HEAD = struct.Struct("<I")
_HEAD_AT, _TAIL_AT = 12, 64
_HEADER = struct.Struct("<IHBB")  # length and operation, cmd_id, kernel's flags, ours
_REQUEST = struct.Struct("<III4xQ")  # iov_cnt, iov_bidi_cnt, iov_dif_cnt, cdb_off
_REQUEST_AT, _IOVECS_AT = 8, 48
_IOVEC = struct.Struct("<QQ")  # base, counted from the mailbox; length
_RESPONSE = struct.Struct("<BBHI96s")  # status, two of padding, read_len, sense
_COMMAND_ID = struct.Struct("<H")
_COMMAND_ID_AT, _RESPONSE_AT, _FLAGS_AT = 4, 8, 7
_TASK_MANAGEMENT = struct.Struct("<B3xI")  # type, how many cmd_ids
_TASK_MANAGEMENT_AT, _COMMAND_IDS_AT = 8, 32
_OPERATION_MASK = 7
VERSION = 2
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


@dataclass(slots=True, eq=False)
class RingCommand:
    """A command. `data` are views of the kernel's memory, in order: what the initiator sent, or
    room for what it gets; which of them it is TCMU does not tell, the CDB does. `pieces` are the
    same as offsets and lengths.

    `command_id` is that of no other command that is not answered yet. The CDB is empty where a
    response stands in place of the request: whoever was here before has died before the tail.

    Not frozen, only because that makes it several times cheaper to build.
    """

    command_id: int
    cdb: bytes
    data: Sequence[memoryview]
    data_bytes: int
    pieces: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class RingTaskManagement:
    """Something was done to commands that are in the ring; each of them is still to be answered."""

    function: int
    command_ids: Sequence[int]


@dataclass(slots=True)
class _Slot:
    """An entry of a command between tail and head. `command` is None where it is spent: what stands
    there has been answered, by way of an earlier entry."""

    at: int
    end: int
    command: RingCommand | None


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
        # As many as there are commands that are taken and not answered.
        self._slots: deque[_Slot] = deque()
        self._displaced: list[RingCommand] = []
        # Spent entries that a predecessor knew of, until they are passed.
        self._spent: set[int] = set()

    @property
    def tail(self) -> int:
        """The place of the first entry that has taken no answer."""
        return self._tail

    @property
    def next_tail(self) -> int:
        """Where the tail will be once the next answer is given."""
        return self._slots[0].end

    @property
    def in_order(self) -> bool:
        """Whether every command that is not answered is in the ring, and nothing else."""
        return not self._displaced

    @property
    def used(self) -> bool:
        """Whether anybody has used the ring before."""
        return self._tail != 0 or self.unanswered

    @property
    def unanswered(self) -> bool:
        """Whether there are entries that are not answered, taken out or not."""
        return self._index(_HEAD_AT) != self._tail

    def take(self) -> RingCommand | RingTaskManagement | None:
        """Return the next entry that nobody has taken yet, None for none; raise RingError."""
        while self._next != self._index(_HEAD_AT):
            at = self._next
            length, operation, command_id = self._header(at)
            self._next = (at + length) % self._size_bytes
            if operation == Operation.COMMAND:
                if at in self._spent:
                    self._spent.remove(at)
                    self._slots.append(_Slot(at, self._next, None))
                    continue
                command = self._command(at, length, command_id)
                self._slots.append(_Slot(at, self._next, command))
                return command
            if operation == Operation.TASK_MANAGEMENT:
                return self._task_management(at)
            if operation != Operation.PAD:
                self._memory[self._entries_at + at + _FLAGS_AT] = _Flag.UNKNOWN_OPERATION
        self._pass()
        return None

    def answer(
        self, command: RingCommand, status: int, *, sense: bytes = b"", data_in_bytes: int = 0
    ) -> None:
        """Answer a command that was taken. `data_in_bytes` of its `data` hold what it returns.

        Data that comes with sense, or is shorter than was asked for, is told to the kernel by its
        length: else it returns none, or all of the area. A length of 0 cannot be told.
        """
        slot = self._slots.popleft()
        if slot.command is not command:
            self._answer_by_other_entry(slot, command)
        self._respond(slot.at, command.command_id, command.data_bytes, status, sense, data_in_bytes)
        self._set_tail(slot.end)
        self._pass()

    def finish(
        self, command_id: int, data_bytes: int, status: int, *, sense: bytes, data_in_bytes: int
    ) -> None:
        """Answer, before anything was taken, the command that a predecessor died answering; its
        response may stand in part over the request at the tail."""
        end = self._tail
        operation = int(Operation.PAD)
        while operation != Operation.COMMAND:
            at = end
            length, operation, _ = self._header(at)
            end = (at + length) % self._size_bytes
        self._respond(at, command_id, data_bytes, status, sense, data_in_bytes)
        self._next = end
        self._set_tail(end)

    def resume(self, disorder: Disorder) -> Sequence[RingCommand]:
        """Go on, before anything was taken, where a predecessor has answered commands ahead of
        others; return those that are displaced."""
        self._spent = set(disorder.spent)
        self._displaced = [
            self._request(one.command_id, one.cdb, one.pieces) for one in disorder.displaced
        ]
        return list(self._displaced)

    def disorder_after(self, command: RingCommand) -> Disorder | None:
        """Return how the ring will be once this command is answered, None for in order."""
        first = self._slots[0]
        if first.command is command and not self._displaced:
            return None
        displaced = [one for one in self._displaced if one is not command]
        if first.command is not None and first.command is not command:
            displaced.append(first.command)
        # There are as many of these as of those.
        if not displaced:
            return None
        later = itertools.islice(self._slots, 1, None)
        return Disorder(
            [DisplacedRequest(one.command_id, one.cdb, one.pieces) for one in displaced],
            [slot.at for slot in later if slot.command is None or slot.command is command],
        )

    def _answer_by_other_entry(self, slot: _Slot, command: RingCommand) -> None:
        if slot.command is not None:
            self._displaced.append(slot.command)
        if command in self._displaced:
            self._displaced.remove(command)
            return
        for other in self._slots:
            if other.command is command:
                other.command = None
                return
        raise RingError(f"command {command.command_id} is answered, which was not taken")

    def _respond(
        self,
        at: int,
        command_id: int,
        data_bytes: int,
        status: int,
        sense: bytes,
        data_in_bytes: int,
    ) -> None:
        """Write an answer into an entry, over the request that stands there."""
        entry = self._entries_at + at
        short = bool(data_in_bytes) and (bool(status) or data_in_bytes < data_bytes)
        _RESPONSE.pack_into(
            self._memory, entry + _RESPONSE_AT, status, 0, 0, data_in_bytes if short else 0, sense
        )
        _COMMAND_ID.pack_into(self._memory, entry + _COMMAND_ID_AT, command_id)
        self._memory[entry + _FLAGS_AT] = _Flag.READ_LENGTH if short else 0

    def _pass(self) -> None:
        """Pass entries that are no commands, once there is nothing else. Not before: by the tail
        it is known whether a command was answered, and what of the ring is in disorder."""
        if not self._slots and not self._displaced and self._next != self._tail:
            self._set_tail(self._next)

    def _set_tail(self, tail: int) -> None:
        self._tail = tail
        # The kernel reads an entry once the tail has passed it: this goes last.
        _HEAD.pack_into(self._memory, _TAIL_AT, tail)

    def _index(self, at: int) -> int:
        index: int = _HEAD.unpack_from(self._memory, at)[0]
        return index

    def _header(self, at: int) -> tuple[int, int, int]:
        """Return length, operation and cmd_id of an entry; raise RingError."""
        length_and_operation, command_id, _, _ = _HEADER.unpack_from(
            self._memory, self._entries_at + at
        )
        length = length_and_operation & ~_OPERATION_MASK
        if length < _HEADER.size or at + length > self._size_bytes:
            raise RingError(f"an entry of {length} bytes at {at}")
        return length, length_and_operation & _OPERATION_MASK, command_id

    def _command(self, at: int, length: int, command_id: int) -> RingCommand:
        memory, entry = self._memory, self._entries_at + at
        count, _, _, cdb_at = _REQUEST.unpack_from(memory, entry + _REQUEST_AT)
        if not entry + _IOVECS_AT + count * _IOVEC.size <= cdb_at < entry + length:
            return RingCommand(command_id, b"", (), 0, ())
        pieces = [
            _IOVEC.unpack_from(memory, entry + _IOVECS_AT + number * _IOVEC.size)
            for number in range(count)
        ]
        # What stands after a shorter CDB is no part of it.
        size = _CDB_BYTES_OF_GROUP[memory[cdb_at] >> 5]
        cdb = (bytes(memory[cdb_at : cdb_at + size]) + _ZEROS)[:CDB_BYTES]
        return self._request(command_id, cdb, pieces)

    def _request(
        self, command_id: int, cdb: bytes, pieces: Sequence[tuple[int, int]]
    ) -> RingCommand:
        data = [self._memory[base : base + size] for base, size in pieces]
        size_bytes = sum(size for _, size in pieces)
        return RingCommand(command_id, cdb, data, size_bytes, pieces)

    def _task_management(self, at: int) -> RingTaskManagement:
        entry = self._entries_at + at
        function, count = _TASK_MANAGEMENT.unpack_from(self._memory, entry + _TASK_MANAGEMENT_AT)
        ids = struct.unpack_from(f"<{count}H", self._memory, entry + _COMMAND_IDS_AT)
        return RingTaskManagement(function, ids)
