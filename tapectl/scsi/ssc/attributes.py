"""READ ATTRIBUTE and WRITE ATTRIBUTE (SPC-5 6.17, 6.49)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tapectl.scsi.cartridge import (
    AttributeKey,
    Cartridge,
    CartridgeWriteError,
    StoredAttribute,
)
from tapectl.scsi.command_table import GOOD, Task, reply_truncated
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.sense import (
    ASC,
    CheckCondition,
    Sense,
    SenseKey,
    illegal_request,
    invalid_field_in_cdb,
    invalid_field_in_parameter_list,
)
from tapectl.scsi.ssc.auxiliary_memory import (
    AttributeRow,
    existing,
    find_row,
    kept_attributes,
    kept_bytes,
    memory_bytes,
    supported,
)
from tapectl.scsi.ssc.overwriting import VOLUME_CHANGE_REFERENCE

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

_HEADER = struct.Struct(">HBH")
_READ_ONLY, _FORMAT_MASK = 0x80, 0x03


def read_attribute_values(drive: TapeDrive, task: Task) -> Reply:
    """READ ATTRIBUTE, ATTRIBUTE VALUES, from FIRST ATTRIBUTE IDENTIFIER on."""
    medium, partition = _addressed(drive, task.cdb)
    rows = existing(drive, medium, partition)
    first = _first(task.cdb, (row.identifier for row in rows))
    if first <= VOLUME_CHANGE_REFERENCE:
        # "Change ... if the attribute was read since": clients compare it with what they wrote.
        drive.overwriting.reference_seen = True
        drive.settle_guard()
    body = b"".join(
        _HEADER.pack(
            identifier,
            (0 if writable else _READ_ONLY) | stored.format,
            len(stored.value),
        )
        + stored.value
        for identifier, stored, writable in rows
        if identifier >= first
    )
    return _counted(body, task.cdb)


def read_attribute_list(drive: TapeDrive, task: Task) -> Reply:
    """READ ATTRIBUTE, ATTRIBUTE LIST: those that have a value."""
    medium, partition = _addressed(drive, task.cdb)
    return _identifiers([row.identifier for row in existing(drive, medium, partition)], task.cdb)


def read_supported_attributes(drive: TapeDrive, task: Task) -> Reply:
    """READ ATTRIBUTE, SUPPORTED ATTRIBUTES: those that may have a value."""
    _addressed(drive, task.cdb)
    return _identifiers(list(supported()), task.cdb)


def _identifiers(found: list[int], cdb: bytes) -> Reply:
    first = _first(cdb, found)
    return _counted(b"".join(struct.pack(">H", one) for one in found if one >= first), cdb)


def read_logical_volume_list(drive: TapeDrive, task: Task) -> Reply:
    """READ ATTRIBUTE, LOGICAL VOLUME LIST: number 0, one of them."""
    drive.cartridge_with_memory()
    return _range(1, task.cdb)


def read_partition_list(drive: TapeDrive, task: Task) -> Reply:
    """READ ATTRIBUTE, PARTITION LIST: from number 0, so many."""
    return _range(len(drive.cartridge_with_memory().partitions), task.cdb)


def _range(count: int, cdb: bytes) -> Reply:
    data = struct.pack(">HBB", 2, 0, count)
    return reply_truncated(data, int.from_bytes(cdb[10:14], "big"))


def _addressed(drive: TapeDrive, cdb: bytes) -> tuple[Cartridge, int]:
    """Return medium and partition that a CDB names; raise CheckCondition if there are none."""
    medium = drive.cartridge_with_memory()
    if cdb[5]:  # logical volume number
        raise invalid_field_in_cdb(5)
    if cdb[7] >= len(medium.partitions):
        raise invalid_field_in_cdb(7)
    return medium, cdb[7]


def _first(cdb: bytes, found: Iterable[int]) -> int:
    """Return FIRST ATTRIBUTE IDENTIFIER; raise CheckCondition unless it has a value."""
    first = int.from_bytes(cdb[8:10], "big")
    if first not in found:
        raise invalid_field_in_cdb(8)
    return first


def _counted(body: bytes, cdb: bytes) -> Reply:
    """AVAILABLE DATA does not count its own four bytes."""
    data = struct.pack(">I", len(body)) + body
    return reply_truncated(data, int.from_bytes(cdb[10:14], "big"))


def write_attribute(drive: TapeDrive, task: Task) -> Reply:
    """WRITE ATTRIBUTE: all of the list or nothing; a value without bytes takes the attribute away.

    What is written is on stable storage, so WTC (write through) makes no difference.
    """
    medium, partition = _addressed(drive, task.cdb)
    length = int.from_bytes(task.cdb[10:14], "big")
    if not length:
        return GOOD
    if len(task.data_out) < length or length < 4:
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    parameters = task.data_out[:length]
    drive.check_unprotected()
    changes: dict[AttributeKey, StoredAttribute | None] = {}
    for row, stored in _parse(parameters):
        changes[row.key(partition)] = stored if stored.value else None
    kept = {**kept_attributes(medium), **changes}
    if kept_bytes(kept) > memory_bytes(medium):
        raise illegal_request(ASC.AUXILIARY_MEMORY_OUT_OF_SPACE)
    try:
        medium.set_attributes(changes)
    except CartridgeWriteError as error:
        code = ASC.AUXILIARY_MEMORY_WRITE_ERROR
        raise CheckCondition(Sense(SenseKey.MEDIUM_ERROR, code)) from error
    return GOOD


def _parse(parameters: memoryview) -> Iterator[tuple[AttributeRow, StoredAttribute]]:
    """Yield the attributes of a parameter list, each checked; raise CheckCondition.

    LTFS counts the length field's own bytes in it, so the list's end stands where it is earlier.
    """
    offset, end = 4, min(4 + int.from_bytes(parameters[:4], "big"), len(parameters))
    last = -1
    while offset < end:
        if offset + _HEADER.size > end:
            raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
        identifier, flags, length = _HEADER.unpack_from(parameters, offset)
        value = bytes(parameters[offset + _HEADER.size : end][:length])
        if len(value) != length:
            raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
        row = find_row(identifier)
        # "In ascending numerical order".
        if row is None or identifier <= last or not row.writable:
            raise invalid_field_in_parameter_list(offset)
        kind = flags & _FORMAT_MASK
        if length and not row.accepts(kind, length):
            wrong_format = row.format not in (None, kind)
            raise invalid_field_in_parameter_list(offset + (2 if wrong_format else 3))
        last = identifier
        yield row, StoredAttribute(kind, value)
        offset += _HEADER.size + length
