"""READ ATTRIBUTE: what the medium auxiliary memory says (SPC-5 6.17, 7.4; SSC-5 for LTO's)."""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tapectl.scsi.cartridge import Cartridge
from tapectl.scsi.command_table import Task, reply_truncated
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.media import CLEANINGS, LTO_MEDIA
from tapectl.scsi.sense import invalid_field_in_cdb

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

# Capacities are told in "increments of 1 048 576 bytes".
_MEBIBYTE = 1 << 20
_READ_ONLY = 0x80
# MEDIUM TYPE; MEDIUM TYPE INFORMATION is how often a cleaning cartridge cleans.
_DATA, _CLEANING, _WORM = 0x00, 0x01, 0x80


class _Format(enum.IntEnum):
    BINARY = 0
    ASCII = 1


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute; all of them are read only here."""

    identifier: int
    value: bytes
    format: int = _Format.BINARY

    def encode(self) -> bytes:
        flags = _READ_ONLY | self.format
        return struct.pack(">HBH", self.identifier, flags, len(self.value)) + self.value


def _number(identifier: int, value: int, size_bytes: int) -> Attribute:
    return Attribute(identifier, value.to_bytes(size_bytes, "big"))


def _text(identifier: int, text: str, size_bytes: int) -> Attribute:
    value = text.encode("ascii", "replace")[:size_bytes].ljust(size_bytes)
    return Attribute(identifier, value, _Format.ASCII)


def attributes(drive: TapeDrive) -> Sequence[Attribute]:
    """Return the attributes of the mounted volume, in ascending order of identifier."""
    medium = drive.cartridge_with_memory()
    density = LTO_MEDIA[medium.generation].density
    capacity = medium.capacity_bytes // _MEBIBYTE
    remaining = max(medium.capacity_bytes - medium.used_bytes, 0) // _MEBIBYTE
    identity = drive.server.identity
    return (
        _number(0x0000, remaining, 8),
        _number(0x0001, capacity, 8),
        _text(0x0005, density.assigning_organization, 8),
        _number(0x0006, density.code, 1),
        _text(0x020A, identity.vendor.ljust(8) + identity.serial, 40),
        _text(0x0400, identity.vendor, 8),
        _text(0x0401, medium.barcode, 32),
        _number(0x0403, density.media_width_tenths_mm, 4),
        _text(0x0404, density.assigning_organization, 8),
        _number(0x0405, density.code, 1),
        _number(0x0408, _medium_type(medium), 1),
        *((_number(0x0409, CLEANINGS, 2),) if medium.cleaning else ()),
        _text(0x0806, medium.barcode, 32),
    )


def _medium_type(medium: Cartridge) -> int:
    if medium.cleaning:
        return _CLEANING
    return _WORM if medium.worm else _DATA


def read_attribute_values(drive: TapeDrive, task: Task) -> Reply:
    """READ ATTRIBUTE, ATTRIBUTE VALUES, from FIRST ATTRIBUTE IDENTIFIER on."""
    wanted = _from_first(drive, task.cdb)
    return _counted(b"".join(row.encode() for row in wanted), task.cdb)


def read_attribute_list(drive: TapeDrive, task: Task) -> Reply:
    """READ ATTRIBUTE, ATTRIBUTE LIST and SUPPORTED ATTRIBUTES: here the two are the same."""
    wanted = _from_first(drive, task.cdb)
    return _counted(b"".join(struct.pack(">H", row.identifier) for row in wanted), task.cdb)


def read_volume_or_partition_list(_drive: TapeDrive, task: Task) -> Reply:
    """READ ATTRIBUTE, LOGICAL VOLUME LIST and PARTITION LIST: number 0, one of them."""
    data = struct.pack(">HBB", 2, 0, 1)
    return reply_truncated(data, int.from_bytes(task.cdb[10:14], "big"))


def _from_first(drive: TapeDrive, cdb: bytes) -> Sequence[Attribute]:
    if cdb[5]:  # logical volume number
        raise invalid_field_in_cdb(5)
    if cdb[7]:  # partition number
        raise invalid_field_in_cdb(7)
    first = int.from_bytes(cdb[8:10], "big")
    wanted = [row for row in attributes(drive) if row.identifier >= first]
    if not wanted:
        raise invalid_field_in_cdb(8)
    return wanted


def _counted(body: bytes, cdb: bytes) -> Reply:
    """AVAILABLE DATA does not count its own four bytes."""
    data = struct.pack(">I", len(body)) + body
    return reply_truncated(data, int.from_bytes(cdb[10:14], "big"))
