"""REPORT TARGET PORT GROUPS: one port in one group, always active (SPC-5 6.36)."""

from __future__ import annotations

import struct

from tapectl.scsi.command_table import Task, reply_truncated
from tapectl.scsi.device_server import Device
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.sense import invalid_field_in_cdb

# The same as the designators of VPD page 83h.
_GROUP, _RELATIVE_TARGET_PORT = 1, 1
_ACTIVE_OPTIMIZED, _AO_SUP = 0x00, 0x01
_LENGTH_ONLY_HEADER, _EXTENDED_HEADER = 0, 1


def report_target_port_groups(_device: Device, task: Task) -> Reply:
    """REPORT TARGET PORT GROUPS, with either header."""
    parameter_data_format = task.cdb[1] >> 5
    if parameter_data_format not in (_LENGTH_ONLY_HEADER, _EXTENDED_HEADER):
        raise invalid_field_in_cdb(1, 7)
    body = struct.pack(">BBHxBxB", _ACTIVE_OPTIMIZED, _AO_SUP, _GROUP, 0, 1)
    body += struct.pack(">2xH", _RELATIVE_TARGET_PORT)
    if parameter_data_format == _EXTENDED_HEADER:
        body = bytes((_EXTENDED_HEADER << 4, 0, 0, 0)) + body
    data = struct.pack(">I", len(body)) + body
    return reply_truncated(data, int.from_bytes(task.cdb[6:10], "big"))
