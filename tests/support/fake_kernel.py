"""The kernel's side of a TCMU ring, in a bytearray: puts entries at the head, takes answers."""

from __future__ import annotations

import itertools
import mmap
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass

ENTRIES_AT = 128
PAGE = 4096
ALL_CAPABILITIES = 0xF


@dataclass(frozen=True, slots=True)
class Answer:
    """What the kernel makes of an answered entry: `data_in` is what the initiator gets."""

    status: int
    sense: bytes
    data_in: bytes
    read_length_told: bool


class FakeKernel:
    """One device. `pieces` of the data area are as long as `piece_bytes`, apart from each other."""

    def __init__(
        self,
        *,
        ring_bytes: int = 4096,
        data_bytes: int = 1 << 20,
        piece_bytes: int = 1 << 18,
        version: int = 2,
        flags: int = ALL_CAPABILITIES,
    ) -> None:
        self._ring_bytes = ring_bytes
        self._map = mmap.mmap(-1, ENTRIES_AT + ring_bytes + data_bytes)
        self.memory = memoryview(self._map)
        self._data_at = ENTRIES_AT + ring_bytes
        self._data_bytes = data_bytes
        self._piece_bytes = piece_bytes
        struct.pack_into("<HHII", self.memory, 0, version, flags, ENTRIES_AT, ring_bytes)
        self._head = self._done = 0
        self._next_data = 0
        self._living: dict[int, list[tuple[int, int]]] = {}
        self._asked = threading.Condition()
        self._wakes = 0

    # What a service sees of its device.

    def ring(self) -> None:
        with self._asked:
            self._asked.notify_all()

    def wait(self, timeout_s: float | None = None) -> None:
        with self._asked:
            self._asked.wait_for(lambda: self._wakes, timeout_s)
            self._wakes = 0

    def wake(self) -> None:
        with self._asked:
            self._wakes += 1
            self._asked.notify_all()

    def close(self) -> None:
        self._asked = threading.Condition()

    # What the kernel does.

    def put(self, cdb: bytes, data_out: bytes = b"", *, room: int = 0) -> int:
        """Put a command into the ring; return its id. `data_out` is sent, or there is `room`."""
        size = len(data_out) or room
        pieces = self._allocate(size)
        at = 0
        for base, length in pieces:
            fill = data_out[at : at + length] if data_out else b"\xa5" * length
            self.memory[base : base + length] = fill
            at += length
        entry_bytes = max(112, 48 + 16 * len(pieces) + ((len(cdb) + 7) & ~7))
        entry_bytes = (entry_bytes + 7) & ~7
        entry = self._make_room(entry_bytes)
        # The lowest that is free, as xa_alloc gives it.
        command_id = next(number for number in itertools.count(1) if number not in self._living)
        cdb_at = entry + 48 + 16 * len(pieces)
        self.memory[entry : entry + entry_bytes] = b"\xee" * entry_bytes
        struct.pack_into("<IHBB", self.memory, entry, entry_bytes | 1, command_id, 0, 0)
        struct.pack_into("<III4xQ", self.memory, entry + 8, len(pieces), 0, 0, cdb_at)
        for number, piece in enumerate(pieces):
            struct.pack_into("<QQ", self.memory, entry + 48 + 16 * number, *piece)
        self.memory[cdb_at : cdb_at + len(cdb)] = cdb
        self._living[command_id] = pieces
        self._move_head(entry_bytes)
        return command_id

    def put_task_management(self, function: int, command_ids: Sequence[int]) -> None:
        entry_bytes = (32 + 2 * len(command_ids) + 7) & ~7
        entry = self._make_room(entry_bytes)
        struct.pack_into("<IHBB", self.memory, entry, entry_bytes | 2, 0, 0, 0)
        struct.pack_into("<B3xI16x", self.memory, entry + 8, function, len(command_ids))
        struct.pack_into(f"<{len(command_ids)}H", self.memory, entry + 32, *command_ids)
        self._move_head(entry_bytes)

    def put_unknown(self) -> int:
        """Put an entry of a kind that nobody knows; return where its flags are."""
        entry = self._make_room(16)
        struct.pack_into("<IHBB8x", self.memory, entry, 16 | 5, 0, 0, 0)
        self._move_head(16)
        return entry + 7

    def answers(self) -> dict[int, Answer]:
        """Take what is answered by now: the entries up to the tail."""
        tail = self.tail
        found: dict[int, Answer] = {}
        while self._done != tail:
            entry = ENTRIES_AT + self._done
            header, command_id, _, flags = struct.unpack_from("<IHBB", self.memory, entry)
            if header & 7 == 1:
                found[command_id] = self._answer(entry, flags, self._living.pop(command_id))
            self._done = (self._done + (header & ~7)) % self._ring_bytes
        return found

    def await_answers(self, *command_ids: int) -> list[Answer]:
        """Wait for the answers to these, and no others."""
        found: dict[int, Answer] = {}
        with self._asked:
            assert self._asked.wait_for(
                lambda: found.update(self.answers()) or len(found) >= len(command_ids), 30
            )
        assert found.keys() == set(command_ids)
        return [found[command_id] for command_id in command_ids]

    @property
    def tail(self) -> int:
        tail: int = struct.unpack_from("<I", self.memory, 64)[0]
        return tail

    def spoil_first(self, command_id: int = 0xFFFF) -> None:
        """Let a response to a command stand in part over the request of the first entry that has
        no answer."""
        at = self.tail
        while (header := struct.unpack_from("<I", self.memory, ENTRIES_AT + at)[0]) & 7 != 1:
            at = (at + (header & ~7)) % self._ring_bytes
        entry = ENTRIES_AT + at
        self.memory[entry + 4 : entry + 6] = command_id.to_bytes(2, "little")
        self.memory[entry + 8 : entry + 112] = b"\xff" * 104

    def _answer(self, entry: int, flags: int, pieces: list[tuple[int, int]]) -> Answer:
        status, read_len = struct.unpack_from("<B3xI", self.memory, entry + 8)
        sense = bytes(self.memory[entry + 16 : entry + 16 + 96])
        data = b"".join(bytes(self.memory[base : base + size]) for base, size in pieces)
        told = bool(flags & 2) and read_len != 0
        if told:
            data = data[:read_len]
        elif status:
            data = b""
        return Answer(status, sense.rstrip(b"\0"), data, told)

    def _allocate(self, size: int) -> list[tuple[int, int]]:
        pieces = []
        while size > 0:
            length = min(size, self._piece_bytes)
            if self._next_data + length > self._data_bytes:
                self._next_data = 0
            pieces.append((self._data_at + self._next_data, length))
            # A page is left between two pieces: they cannot be taken for one.
            self._next_data += length + PAGE
            size -= length
        return pieces

    def has_room(self, entry_bytes: int) -> bool:
        """Say whether an entry, and what pads the ring's end before it, goes into the ring."""
        used = (self._head - self._done) % self._ring_bytes
        return used + 2 * entry_bytes < self._ring_bytes

    def _make_room(self, entry_bytes: int) -> int:
        assert self.has_room(entry_bytes), "the ring is full"
        left = self._ring_bytes - self._head
        if left < entry_bytes:
            struct.pack_into("<IHBB", self.memory, ENTRIES_AT + self._head, left, 0, 0, 0)
            self._move_head(left)
        return ENTRIES_AT + self._head

    def _move_head(self, entry_bytes: int) -> None:
        self._head = (self._head + entry_bytes) % self._ring_bytes
        struct.pack_into("<I", self.memory, 12, self._head)
        self.wake()
