"""REPORT and SET IDENTIFYING INFORMATION: names that users give a device (SPC-5 6.31, 6.44)."""

from __future__ import annotations

import struct

from tapectl.scsi.command_table import GOOD, Task, reply_truncated
from tapectl.scsi.device_server import Device
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.sense import (
    ASC,
    illegal_request,
    invalid_field_in_cdb,
    invalid_field_in_parameter_list,
)

_TEXT = 0b0000010
_SUPPORTED_TYPES = 0b1111111
# Peripheral device identifying information, and text: a null-terminated UTF-8 string. The
# standard asks for at least 64 and 256 bytes (SPC-5 5.7).
_MAX_BYTES = {0b0000000: 512, _TEXT: 256}


def _type(task: Task) -> int:
    return task.cdb[10] >> 1


def _name(kind: int) -> str:
    return f"identifying information {kind}"


def report_identifying_information(device: Device, task: Task) -> Reply:
    """REPORT IDENTIFYING INFORMATION: nothing was set is a length of zero."""
    kind = _type(task)
    if kind == _SUPPORTED_TYPES:
        value = b"".join(struct.pack(">BxH", row << 1, size) for row, size in _MAX_BYTES.items())
    elif kind in _MAX_BYTES:
        value = device.server.memory.get(_name(kind)) or b""
    else:
        raise invalid_field_in_cdb(10, 7)
    data = struct.pack(">2xH", len(value)) + value
    return reply_truncated(data, int.from_bytes(task.cdb[6:10], "big"))


def set_identifying_information(device: Device, task: Task) -> Reply:
    """SET IDENTIFYING INFORMATION: kept through power loss; an empty list takes it away."""
    kind = _type(task)
    if kind not in _MAX_BYTES:
        raise invalid_field_in_cdb(10, 7)
    length = int.from_bytes(task.cdb[6:10], "big")
    if length > _MAX_BYTES[kind]:
        raise invalid_field_in_cdb(6)
    value = bytes(task.data_out[:length])
    if len(value) < length:
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    if kind == _TEXT and value and not _is_text(value):
        raise invalid_field_in_parameter_list(0)
    device.server.memory.put(_name(kind), value or None)
    device.server.attentions.establish_all(ASC.DEVICE_IDENTIFIER_CHANGED, but=task.nexus)
    return GOOD


def _is_text(value: bytes) -> bool:
    try:
        return value.decode().endswith("\0")
    except UnicodeDecodeError:
        return False
