"""MANAGEMENT PROTOCOL IN: nothing is managed over SCSI, and it says so (SPC-5 6.10)."""

from __future__ import annotations

import struct

from tapectl.scsi.command_table import Task, reply_truncated
from tapectl.scsi.device_server import Device
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.sense import invalid_field_in_cdb

_INFORMATION = 0x00
_SUPPORTED_PROTOCOLS = 0x000000


def management_protocol_in(_device: Device, task: Task) -> Reply:
    """MANAGEMENT PROTOCOL IN: the list of management protocols, which is itself the only one."""
    protocol, specific = task.cdb[2], int.from_bytes(task.cdb[3:6], "big")
    if protocol != _INFORMATION:
        raise invalid_field_in_cdb(2)
    if specific != _SUPPORTED_PROTOCOLS:
        raise invalid_field_in_cdb(3)
    protocols = bytes((_INFORMATION,))
    data = struct.pack(">6xH", len(protocols)) + protocols
    return reply_truncated(data, int.from_bytes(task.cdb[6:10], "big"))
