"""READ BUFFER and WRITE BUFFER: memory to try the way to the device with (SPC-5 6.18, 6.49)."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from tapectl.scsi.command_table import GOOD, Task, reply_truncated
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.sense import ASC, illegal_request, invalid_field_in_cdb

if TYPE_CHECKING:
    from tapectl.scsi.device_server import Device

_DATA_BYTES = 64 << 10
_ECHO_BYTES = 4096  # "shall not exceed 4 096"
_EBOS = 0x01


class _Mode(enum.IntEnum):
    DATA = 0x02
    DESCRIPTOR = 0x03
    ECHO = 0x0A
    ECHO_DESCRIPTOR = 0x0B


class Buffers:
    """Buffer 0, which all nexuses share, and an echo buffer for each nexus."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.echoes: dict[str, bytes] = {}

    def forget(self, nexus: str) -> None:
        self.echoes.pop(nexus, None)


def read_buffer(device: Device, task: Task) -> Reply:
    """READ BUFFER(10). A buffer that is not there has a descriptor of zeros: no capacity.

    LTFS asks for the descriptor of buffer 1, its drive's dump, after an error, and takes an error
    of this command for the next reason to ask.
    """
    cdb, buffers = task.cdb, device.server.buffers
    mode, buffer_id = cdb[1] & 0x1F, cdb[2]
    allocation_length = int.from_bytes(cdb[6:9], "big")
    if mode == _Mode.DESCRIPTOR:
        capacity = _DATA_BYTES if buffer_id == 0 else 0
        data = b"\0" + capacity.to_bytes(3, "big")
    elif mode == _Mode.DATA:
        offset = _check_buffer_offset(cdb)
        data = bytes(buffers.data[offset : offset + allocation_length])
        data = data.ljust(min(allocation_length, _DATA_BYTES - offset), b"\0")
    elif mode == _Mode.ECHO_DESCRIPTOR:
        data = bytes((_EBOS, 0)) + _ECHO_BYTES.to_bytes(2, "big")
    elif mode == _Mode.ECHO:
        if task.nexus not in buffers.echoes:
            raise illegal_request(ASC.COMMAND_SEQUENCE_ERROR)
        data = buffers.echoes[task.nexus]
    else:
        raise invalid_field_in_cdb(1, 4)
    return reply_truncated(data, allocation_length)


def write_buffer(device: Device, task: Task) -> Reply:
    """WRITE BUFFER, data and echo; every way to download microcode is refused."""
    cdb, buffers = task.cdb, device.server.buffers
    mode = cdb[1] & 0x1F
    if mode not in (_Mode.DATA, _Mode.ECHO):
        raise invalid_field_in_cdb(1, 4)
    length = int.from_bytes(cdb[6:9], "big")
    offset = _check_buffer_offset(cdb) if mode == _Mode.DATA else 0
    if length > (_DATA_BYTES if mode == _Mode.DATA else _ECHO_BYTES) - offset:
        raise invalid_field_in_cdb(6)
    data = bytes(task.data_out[:length])
    if len(data) < length:
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    if mode == _Mode.ECHO:
        buffers.echoes[task.nexus] = data
    elif data:
        if not buffers.data:
            buffers.data = bytearray(_DATA_BYTES)
        buffers.data[offset : offset + length] = data
    return GOOD


def _check_buffer_offset(cdb: bytes) -> int:
    if cdb[2]:
        raise invalid_field_in_cdb(2)
    offset = int.from_bytes(cdb[3:6], "big")
    if offset > _DATA_BYTES:
        raise invalid_field_in_cdb(3)
    return offset
