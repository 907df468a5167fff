"""What a drive's worker leaves behind when it is killed: which command it was at, and the drive.

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

from tapectl.scsi.ssc.continuation import Place

FOLDER = "rings"
"""Beside the state."""

_IDENTITY = struct.Struct("<8s248s")
_MAGIC = b"tplring1"
# Phase of the command, and in bit 4 which continuation counts: they change as one byte.
_STATE_AT = 256
_SELECTOR = 0x10
# How often it was tried, its place in the ring; status, bytes of data and of sense, sense.
_ATTEMPT = struct.Struct("<B3xI")
_OUTCOME = struct.Struct("<BxHI96s")
_ATTEMPT_AT, _OUTCOME_AT = 264, 272
# Two places, before and after the command: whether there is a cartridge, partition, object, end.
_PLACE = struct.Struct("<B3xIQQ")
_BEFORE_AT, _AFTER_AT = 512, 576
# Two continuations; length and CRC before each.
_BLOB = struct.Struct("<II")
_BLOB_AT, _BLOB_BYTES = 1024, 16 << 10
_SIZE_BYTES = _BLOB_AT + 2 * _BLOB_BYTES


class Phase(enum.IntEnum):
    """How far the command is."""

    NONE = 0
    BEGUN = 1
    DONE = 2


@dataclass(frozen=True, slots=True)
class Left:
    """What the last process left. `at` is the command's place in the ring; `place` is that before
    the command where it was only begun, else the last one."""

    phase: Phase
    at: int
    attempts: int
    status: int
    sense: bytes
    data_in_bytes: int
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

    def begin(self, at: int, place: Place | None, *, attempts: int) -> None:
        """The command at that place in the ring is being run, for the how many-th time."""
        _put_place(self._view, _BEFORE_AT, place)
        _ATTEMPT.pack_into(self._view, _ATTEMPT_AT, attempts, at)
        self._set(Phase.BEGUN, self._state & _SELECTOR)

    def done(
        self,
        outcome: tuple[int, bytes, int],
        place: Place | None,
        continuation: bytes | None,
    ) -> None:
        """It has run, and its data are in the ring's memory; it is not answered yet.

        `outcome` are status, sense and bytes of data; `continuation` is None where it is unchanged.
        """
        status, sense, data_in_bytes = outcome
        _OUTCOME.pack_into(self._view, _OUTCOME_AT, status, len(sense), data_in_bytes, sense)
        _put_place(self._view, _AFTER_AT, place)
        self._set(Phase.DONE, self._put(continuation))

    def answered(self) -> None:
        """The ring's tail is past it."""
        self._set(Phase.NONE, self._state & _SELECTOR)

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

    def _set(self, phase: Phase, selector: int) -> None:
        self._view[_STATE_AT] = self._state = phase | selector

    def _read(self) -> Left:
        view = self._view
        state = view[_STATE_AT]
        phase = Phase(state & ~_SELECTOR)
        attempts, at = _ATTEMPT.unpack_from(view, _ATTEMPT_AT)
        status, sense_bytes, data_in_bytes, sense = _OUTCOME.unpack_from(view, _OUTCOME_AT)
        place_at = _BEFORE_AT if phase is Phase.BEGUN else _AFTER_AT
        has_cartridge, partition, position, end_of_data = _PLACE.unpack_from(view, place_at)
        blob_at = _blob_at(state & _SELECTOR)
        length, crc = _BLOB.unpack_from(view, blob_at)
        continuation = bytes(view[blob_at + _BLOB.size :][: min(length, _BLOB_BYTES)])
        return Left(
            phase=phase,
            at=at,
            attempts=attempts,
            status=status,
            sense=sense[:sense_bytes],
            data_in_bytes=data_in_bytes,
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
