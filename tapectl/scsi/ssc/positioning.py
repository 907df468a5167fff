"""REWIND, SPACE, LOCATE and READ POSITION (SSC-5 6, 7).

Each of them synchronises what was written before: SSC lets a buffered block wait for these
commands and no longer.
"""

from __future__ import annotations

import enum
import struct
from typing import TYPE_CHECKING

from tapectl.scsi.cartridge import Cartridge, CartridgeBusyError, CartridgeReadError, Mark
from tapectl.scsi.command_table import GOOD, Task
from tapectl.scsi.logical_unit import Reply, Status
from tapectl.scsi.sense import ASC, CheckCondition, Sense, SenseKey, invalid_field_in_cdb

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

_MAX_SHORT_OBJECT_NUMBER = (1 << 32) - 1
_CHANGE_PARTITION = 0x02  # CP


def rewind(drive: TapeDrive, _task: Task) -> Reply:
    """REWIND; IMMED makes no difference to something that takes no time."""
    medium = drive.threaded_medium()
    drive.synchronise()
    drive.early_warning.moved()
    medium.locate(0)
    return GOOD


class _SpaceCode(enum.IntEnum):
    LOGICAL_BLOCKS = 0
    FILEMARKS = 1
    END_OF_DATA = 3


def space_6(drive: TapeDrive, task: Task) -> Reply:
    """SPACE(6)."""
    return _space(drive, task.cdb, int.from_bytes(task.cdb[2:5], "big", signed=True))


def space_16(drive: TapeDrive, task: Task) -> Reply:
    """SPACE(16)."""
    return _space(drive, task.cdb, int.from_bytes(task.cdb[4:12], "big", signed=True))


def _space(drive: TapeDrive, cdb: bytes, count: int) -> Reply:
    medium = drive.threaded_medium()
    try:
        code = _SpaceCode(cdb[1] & 0x0F)
    except ValueError:
        raise invalid_field_in_cdb(1, 3) from None
    drive.synchronise()
    drive.early_warning.moved()
    if code is _SpaceCode.END_OF_DATA:
        medium.space_end_of_data()
        return GOOD
    if not count:
        return GOOD
    move = medium.space_blocks if code is _SpaceCode.LOGICAL_BLOCKS else medium.space_filemarks
    passed, stopped_by = move(count)
    if stopped_by is None:
        return GOOD
    raise CheckCondition(_space_stopped_by(stopped_by, abs(count) - passed))


def _space_stopped_by(mark: Mark, residue: int) -> Sense:
    """INFORMATION is "the requested count minus the actual number", without a sign."""
    if mark is Mark.FILEMARK:
        return Sense(SenseKey.NO_SENSE, ASC.FILEMARK_DETECTED, residue, filemark=True)
    if mark is Mark.BEGINNING_OF_PARTITION:
        code = ASC.BEGINNING_OF_PARTITION_MEDIUM_DETECTED
        return Sense(SenseKey.NO_SENSE, code, residue, end_of_medium=True)
    return Sense(SenseKey.BLANK_CHECK, ASC.END_OF_DATA_DETECTED, residue)


def locate_10(drive: TapeDrive, task: Task) -> Reply:
    """LOCATE(10). With BT the address is the vendor's own, which here is the object number too."""
    cdb = task.cdb
    partition = _named_partition(drive, cdb, 8)
    return _locate(drive, partition, int.from_bytes(cdb[3:7], "big"), _Destination.OBJECT)


def _named_partition(drive: TapeDrive, cdb: bytes, at: int) -> int:
    """Return the partition that byte `at` of the CDB names if CP says so, else the current one."""
    medium = drive.threaded_medium()
    if not cdb[1] & _CHANGE_PARTITION:
        return medium.partition
    if cdb[at] >= len(medium.partitions):
        raise invalid_field_in_cdb(at)
    return cdb[at]


class _Destination(enum.IntEnum):
    OBJECT = 0
    FILE = 1
    END_OF_DATA = 3


def locate_16(drive: TapeDrive, task: Task) -> Reply:
    """LOCATE(16), to an object, to a file or to end of data."""
    cdb = task.cdb
    if cdb[2] & 0x01:  # BAM: explicit address mode
        raise invalid_field_in_cdb(2, 0)
    try:
        destination = _Destination(cdb[1] >> 3 & 0x07)
    except ValueError:
        raise invalid_field_in_cdb(1, 5) from None
    partition = _named_partition(drive, cdb, 3)
    return _locate(drive, partition, int.from_bytes(cdb[4:12], "big"), destination)


def _locate(drive: TapeDrive, partition: int, identifier: int, destination: _Destination) -> Reply:
    medium = drive.threaded_medium()
    drive.synchronise()
    start = medium.partition, medium.position
    if partition != start[0]:
        medium.select_partition(partition)
    try:
        stopped_by = _go(medium, identifier, destination)
    except (CartridgeBusyError, CartridgeReadError):
        if partition != start[0]:
            medium.select_partition(start[0])
            medium.locate(start[1])
        raise
    if partition != start[0]:
        drive.early_warning.loaded()
    drive.early_warning.moved()
    if stopped_by is Mark.END_OF_DATA:
        raise CheckCondition(Sense(SenseKey.BLANK_CHECK, ASC.END_OF_DATA_DETECTED))
    return GOOD


def _go(medium: Cartridge, identifier: int, destination: _Destination) -> Mark | None:
    match destination:
        case _Destination.OBJECT:
            return medium.locate(identifier)
        case _Destination.FILE:
            return medium.locate_file(identifier)
        case _Destination.END_OF_DATA:
            medium.space_end_of_data()
            return None


_BOP, _EOP = 0x80, 0x40
_POSITION_ERROR, _BEYOND_PROGRAMMABLE_EARLY_WARNING = 0x02, 0x01
_SHORT = struct.Struct(">BBxxIIxBHI")
_LONG = struct.Struct(">B3xIQQQ")
_EXTENDED = struct.Struct(">BBHxBHQQQ")


def _position_flags(drive: TapeDrive) -> int:
    medium = drive.threaded_medium()
    flags = _BOP if medium.position == 0 else 0
    room, zone = drive.early_warning.room_bytes(drive), drive.early_warning.zone_bytes(drive)
    programmable_bytes = drive.early_warning.programmable_bytes
    if room <= zone:
        flags |= _EOP
    if programmable_bytes and room <= zone + programmable_bytes:
        flags |= _BEYOND_PROGRAMMABLE_EARLY_WARNING
    return flags


def read_position_short(drive: TapeDrive, _task: Task) -> Reply:
    """READ POSITION, short form, and its vendor-specific sister (service action 01h)."""
    drive.synchronise()
    medium = drive.threaded_medium()
    position, number = medium.position, medium.partition
    flags = _position_flags(drive)
    if position > _MAX_SHORT_OBJECT_NUMBER:
        # PERR: "the logical object number ... would overflow" its four bytes.
        return Reply(Status.GOOD, _SHORT.pack(flags | _POSITION_ERROR, number, 0, 0, 0, 0, 0))
    return Reply(Status.GOOD, _SHORT.pack(flags, number, position, position, 0, 0, 0))


def read_position_long(drive: TapeDrive, _task: Task) -> Reply:
    """READ POSITION, long form: object number and file number of the position."""
    drive.synchronise()
    medium = drive.threaded_medium()
    flags = _position_flags(drive)
    place = medium.partition, medium.position, medium.file_number
    return Reply(Status.GOOD, _LONG.pack(flags, *place, 0))


def read_position_extended(drive: TapeDrive, task: Task) -> Reply:
    """READ POSITION, extended form; the only one with an ALLOCATION LENGTH."""
    drive.synchronise()
    medium = drive.threaded_medium()
    position = medium.position
    additional_length = _EXTENDED.size - 4
    flags = _position_flags(drive)
    data = _EXTENDED.pack(flags, medium.partition, additional_length, 0, 0, position, position, 0)
    return Reply(Status.GOOD, data[: int.from_bytes(task.cdb[7:9], "big")])
