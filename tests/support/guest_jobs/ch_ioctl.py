"""Checks by the ioctls of Linux's changer driver (linux/chio.h); runs in the guest."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import time
from ctypes import addressof, c_ubyte

TRANSPORT, STORAGE, IMPORT_EXPORT, DRIVE = range(4)
FULL, IMP_EXP, EXCEPT, ACCESS, EX_ENAB, IN_ENAB = (1 << bit for bit in range(6))
SOURCE, PRIMARY_TAG = 0x04, 0x10
_READ, _WRITE = 2, 1


def _ioctl_number(direction: int, number: int, size_bytes: int) -> int:
    return direction << 30 | size_bytes << 16 | ord("c") << 8 | number


_MOVE = struct.Struct("5i")
_EXCHANGE = struct.Struct("7i")
_POSITION = struct.Struct("3i")
_PARAMETERS = struct.Struct("5i")
_STATUS = struct.Struct("iP")
_ELEMENT = struct.Struct("8i36s36si")
_TAG = struct.Struct("2i36si")


class Changer:
    """One open changer device; elements are named by type and number from 0."""

    def __init__(self) -> None:
        self._fd = os.open("/dev/sch0", os.O_RDWR)
        values = _PARAMETERS.unpack(self._get(6, bytes(_PARAMETERS.size), _READ))
        self.picker, self.transports, self.slots, self.mail, self.drives = values

    def _get(self, number: int, argument: bytes, direction: int) -> bytes:
        buffer = bytearray(argument)
        fcntl.ioctl(self._fd, _ioctl_number(direction, number, len(argument)), buffer)
        return bytes(buffer)

    def move(self, source: tuple[int, int], destination: tuple[int, int]) -> None:
        self._get(1, _MOVE.pack(*source, *destination, 0), _WRITE)

    def exchange(self, *elements: tuple[int, int]) -> None:
        source, first, second = elements
        self._get(2, _EXCHANGE.pack(*source, *first, *second, 0), _WRITE)

    def position(self, element: tuple[int, int]) -> None:
        self._get(3, _POSITION.pack(*element, 0), _WRITE)

    def initialize(self) -> None:
        fcntl.ioctl(self._fd, _ioctl_number(0, 17, 0))

    def set_tag(self, element: tuple[int, int], tag: bytes) -> None:
        self._get(18, _TAG.pack(*element, tag, 1), _WRITE)

    def flags(self, kind: int, count: int) -> list[int]:
        """Return the flags of all elements of a type; the driver reads them one by one."""
        data = (c_ubyte * count)()
        self._get(8, _STATUS.pack(kind, addressof(data)), _WRITE)
        return list(data)

    def element(self, element: tuple[int, int]) -> tuple[int, str, tuple[int, int] | None]:
        """Return flags, volume tag and source of one element."""
        request = _ELEMENT.pack(*element, 0, 0, 0, 0, 0, 0, b"", b"", 0)
        values = _ELEMENT.unpack(self._get(16, request, _WRITE))
        tag = values[8][:32].decode().rstrip(" \0") if values[10] & PRIMARY_TAG else ""
        return values[2], tag, (values[4], values[5]) if values[10] & SOURCE else None

    def slots_by(self, full: bool) -> list[tuple[int, int]]:
        flags = self.flags(STORAGE, self.slots)
        return [(STORAGE, n) for n, value in enumerate(flags) if bool(value & FULL) is full]


def refused(action: object, *arguments: object) -> None:
    try:
        action(*arguments)  # type: ignore[operator]
    except OSError as exc:
        print(f"refused: {exc}")
    else:
        raise AssertionError("it was not refused")


def parameters(changer: Changer) -> None:
    print(vars(changer))
    assert changer.transports == 1
    assert min(changer.slots, changer.mail, changer.drives) > 0


def every_element(changer: Changer) -> None:
    begun = time.monotonic()
    flags = changer.flags(STORAGE, changer.slots)
    print(f"{changer.slots} slots in {time.monotonic() - begun:.1f} s")
    assert all(value & ~FULL == ACCESS for value in flags), flags
    assert all(value & ~FULL == ACCESS for value in changer.flags(DRIVE, changer.drives))
    mail = changer.flags(IMPORT_EXPORT, changer.mail)
    assert all(value & (EX_ENAB | IN_ENAB | ACCESS) == EX_ENAB | IN_ENAB | ACCESS for value in mail)
    assert changer.flags(TRANSPORT, 1) == [0]


def tag_and_source(changer: Changer) -> None:
    full, empty = changer.slots_by(True)[0], changer.slots_by(False)[0]
    _, tag, _ = changer.element(full)
    assert tag
    changer.move(full, (DRIVE, 0))
    assert changer.element((DRIVE, 0)) == (FULL | ACCESS, tag, full)
    changer.move((DRIVE, 0), full)
    assert changer.element(full)[1] == tag
    assert changer.element(empty)[:2] == (ACCESS, "")


def move(changer: Changer) -> None:
    full, empty = changer.slots_by(True)[0], changer.slots_by(False)[-1]
    tag = changer.element(full)[1]
    changer.move(full, empty)
    assert changer.element(empty)[1] == tag
    changer.move(empty, full)


def refused_moves(changer: Changer) -> None:
    full, empty = changer.slots_by(True), changer.slots_by(False)
    refused(changer.move, empty[0], empty[1])
    refused(changer.move, full[0], full[1])
    refused(changer.move, full[0], (TRANSPORT, 0))
    assert changer.slots_by(True) == full


def exchange(changer: Changer) -> None:
    first, second = changer.slots_by(True)[:2]
    tags = changer.element(first)[1], changer.element(second)[1]
    changer.exchange(first, second, first)
    assert (changer.element(second)[1], changer.element(first)[1]) == tags
    changer.exchange(first, second, first)


def position(changer: Changer) -> None:
    for kind in (STORAGE, IMPORT_EXPORT, DRIVE):
        changer.position((kind, 0))


def import_export(changer: Changer) -> None:
    slot = changer.slots_by(True)[0]
    mail = changer.flags(IMPORT_EXPORT, changer.mail)
    place = IMPORT_EXPORT, next(n for n, value in enumerate(mail) if not value & FULL)
    changer.move(slot, place)
    assert changer.element(place)[0] == FULL | ACCESS | EX_ENAB | IN_ENAB
    changer.move(place, slot)


def inventory(changer: Changer) -> None:
    before = changer.slots_by(True)
    changer.initialize()
    assert changer.slots_by(True) == before


def labels_stay(changer: Changer) -> None:
    full = changer.slots_by(True)[0]
    tag = changer.element(full)[1]
    refused(changer.set_tag, full, b"OTHER1L5")
    assert changer.element(full)[1] == tag


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")](Changer())
