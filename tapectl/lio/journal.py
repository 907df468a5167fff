"""What a drive's worker leaves behind when it is killed: which command it was at, the drive, and
what of its ring is not as the ring says.

A mapped file of fixed size, whose bytes are the kernel's at once, so that no death of ours takes
them. It is good for one ring only, which no reboot survives: nothing needs to reach a disk.
"""

from __future__ import annotations

import enum
import mmap
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from tapectl.lio.disorder import Disorder, decode_disorder, encode_disorder
from tapectl.scsi.ssc.continuation import Place

FOLDER = "rings"
"""Beside the state."""

_IDENTITY = struct.Struct("<8s248s")
_MAGIC = b"tplring2"
# Phase of the command, and in bit 4 which continuation counts: they change as one byte.
_STATE_AT = 256
_SELECTOR = 0x10
# How often it was tried, its id, where the ring's tail is; status, bytes of sense, of what it
# returns and of room for that, sense.
_ATTEMPT = struct.Struct("<BxHI")
_OUTCOME = struct.Struct("<BxHII96s")
_ATTEMPT_AT, _OUTCOME_AT = 264, 272
# Two places, before and after the command: whether there is a cartridge, partition, object, end.
_PLACE = struct.Struct("<B3xIQQ")
_BEFORE_AT, _AFTER_AT = 512, 576
# Two continuations; length and CRC before each.
_BLOB = struct.Struct("<II")
_BLOB_AT, _BLOB_BYTES = 1024, 16 << 10
# Two disorders, before and after an answer; whether it is one, the tail that it is of, length.
_DISORDER = struct.Struct("<B3xII")
_DISORDER_AT, _DISORDER_BYTES = _BLOB_AT + 2 * _BLOB_BYTES, 32 << 10
_DISORDERS_AT = (_DISORDER_AT, _DISORDER_AT + _DISORDER_BYTES)
_SIZE_BYTES = _DISORDER_AT + 2 * _DISORDER_BYTES


class Phase(enum.IntEnum):
    """How far the command is."""

    NONE = 0
    BEGUN = 1
    DONE = 2
    ANSWERING = 3
    """Its response may stand in the ring, in part: a request that was there is gone."""


@dataclass(frozen=True, slots=True)
class Left:
    """What the last process left of a command, if the ring's tail still is where it was (`tail`):
    else it was answered. `data_bytes` is the room for what it returns. `place` is that before the
    command where it was only begun, else the last one."""

    phase: Phase
    command_id: int
    tail: int
    attempts: int
    status: int
    sense: bytes
    data_in_bytes: int
    data_bytes: int
    place: Place | None
    continuation: bytes


class Journal:
    """The journal of one drive. One thread at a time.

    `left` is what another process left at the same ring, None if none did.
    """

    def __init__(self, path: Path, identity: str) -> None:
        """Open or make it; raise OSError."""
        path.parent.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Without this, a disk that has run full would be a SIGBUS later.
            os.posix_fallocate(fd, 0, _SIZE_BYTES)
            self._view = memoryview(mmap.mmap(fd, _SIZE_BYTES))
        finally:
            os.close(fd)
        named = (_MAGIC, identity.encode().ljust(248, b"\0"))
        self.left: Left | None = None
        if _IDENTITY.unpack_from(self._view) == named:
            self.left = self._read()
        else:
            self._view[_IDENTITY.size :] = bytes(_SIZE_BYTES - _IDENTITY.size)
            _IDENTITY.pack_into(self._view, 0, *named)
        self._state = self._view[_STATE_AT]

    def begin(self, command_id: int, tail: int, place: Place | None, *, attempts: int) -> None:
        """A command is being run, for the how many-th time, while the ring's tail is there."""
        _put_place(self._view, _BEFORE_AT, place)
        _ATTEMPT.pack_into(self._view, _ATTEMPT_AT, attempts, command_id, tail)
        self._set(Phase.BEGUN, self._state & _SELECTOR)

    def done(
        self,
        outcome: tuple[int, bytes, int],
        data_bytes: int,
        place: Place | None,
        continuation: bytes | None,
    ) -> None:
        """It has run, and its data are in the ring's memory; it is not answered yet.

        `outcome` are status, sense and bytes of data; `continuation` is None where it is unchanged.
        """
        self._put_outcome(outcome, data_bytes)
        _put_place(self._view, _AFTER_AT, place)
        self._set(Phase.DONE, self._put(continuation))

    def refused(
        self, command_id: int, tail: int, outcome: tuple[int, bytes, int], data_bytes: int
    ) -> None:
        """A command is not run, but answered, after it was `answered` how the last one ended."""
        _ATTEMPT.pack_into(self._view, _ATTEMPT_AT, 0, command_id, tail)
        self._put_outcome(outcome, data_bytes)
        self._set(Phase.DONE, self._state & _SELECTOR)

    def answering(self) -> None:
        """What is done is put into the ring now."""
        self._set(Phase.ANSWERING, self._state & _SELECTOR)

    def answered(self) -> None:
        """The ring's tail is past it, or it is put off."""
        self._set(Phase.NONE, self._state & _SELECTOR)

    def has_room_for(self, disorder: Disorder | None) -> bool:
        """Whether `put_disorder` takes it."""
        if disorder is None:
            return True
        return _DISORDER.size + len(encode_disorder(disorder)) <= _DISORDER_BYTES

    def put_disorder(self, disorder: Disorder, tail: int, *, now: int) -> None:
        """Write down how the ring will be once its tail is at `tail`; `now` it is elsewhere."""
        view = self._view
        at = next(at for at in _DISORDERS_AT if self._disorder_tail(at) != now)
        encoded = encode_disorder(disorder)
        _DISORDER.pack_into(view, at, 0, tail, len(encoded))
        view[at + _DISORDER.size : at + _DISORDER.size + len(encoded)] = encoded
        view[at] = 1

    def disorder_at(self, tail: int) -> Disorder | None:
        """Return what was written down of the ring with its tail there, None if it is in order;
        nothing else is written down then."""
        found = None
        for at in _DISORDERS_AT:
            if self._disorder_tail(at) == tail:
                start = at + _DISORDER.size
                size = _DISORDER.unpack_from(self._view, at)[2]
                found = decode_disorder(bytes(self._view[start : start + size]))
            else:
                self._view[at] = 0
        return found

    def put_no_disorder(self) -> None:
        """The ring is in order."""
        for at in _DISORDERS_AT:
            self._view[at] = 0

    def _disorder_tail(self, at: int) -> int | None:
        there, tail, _ = _DISORDER.unpack_from(self._view, at)
        return tail if there else None

    def changed(self, place: Place | None, continuation: bytes) -> None:
        """The drive is another than a command left it: a robot has been here."""
        _put_place(self._view, _BEFORE_AT, place)
        _put_place(self._view, _AFTER_AT, place)
        self._set(Phase(self._state & ~_SELECTOR), self._put(continuation))

    def _put(self, continuation: bytes | None) -> int:
        """Write a continuation beside the one that counts; return the selector that makes it count.

        One that is too long counts as none.
        """
        selector = self._state & _SELECTOR
        if continuation is None:
            return selector
        if len(continuation) > _BLOB_BYTES - _BLOB.size:
            continuation = b""
        selector ^= _SELECTOR
        at = _blob_at(selector)
        _BLOB.pack_into(self._view, at, len(continuation), zlib.crc32(continuation))
        start = at + _BLOB.size
        self._view[start : start + len(continuation)] = continuation
        return selector

    def _put_outcome(self, outcome: tuple[int, bytes, int], data_bytes: int) -> None:
        status, sense, data_in_bytes = outcome
        _OUTCOME.pack_into(
            self._view, _OUTCOME_AT, status, len(sense), data_in_bytes, data_bytes, sense
        )

    def _set(self, phase: Phase, selector: int) -> None:
        self._view[_STATE_AT] = self._state = phase | selector

    def _read(self) -> Left:
        view = self._view
        state = view[_STATE_AT]
        phase = Phase(state & ~_SELECTOR)
        attempts, command_id, tail = _ATTEMPT.unpack_from(view, _ATTEMPT_AT)
        outcome = _OUTCOME.unpack_from(view, _OUTCOME_AT)
        status, sense_bytes, data_in_bytes, data_bytes, sense = outcome
        place_at = _BEFORE_AT if phase is Phase.BEGUN else _AFTER_AT
        has_cartridge, partition, position, end_of_data = _PLACE.unpack_from(view, place_at)
        blob_at = _blob_at(state & _SELECTOR)
        length, crc = _BLOB.unpack_from(view, blob_at)
        continuation = bytes(view[blob_at + _BLOB.size :][: min(length, _BLOB_BYTES)])
        return Left(
            phase=phase,
            command_id=command_id,
            tail=tail,
            attempts=attempts,
            status=status,
            sense=sense[:sense_bytes],
            data_in_bytes=data_in_bytes,
            data_bytes=data_bytes,
            place=Place(partition, position, end_of_data) if has_cartridge else None,
            continuation=continuation if zlib.crc32(continuation) == crc else b"",
        )


def journal_path(state_path: Path, device_name: str) -> Path:
    """Return where the journal of a device is."""
    return state_path.with_name(FOLDER) / device_name


def _blob_at(selector: int) -> int:
    return _BLOB_AT + (_BLOB_BYTES if selector else 0)


def _put_place(view: memoryview, at: int, place: Place | None) -> None:
    if place is None:
        _PLACE.pack_into(view, at, 0, 0, 0, 0)
    else:
        _PLACE.pack_into(view, at, 1, place.partition, place.position, place.end_of_data)
