"""REPORT SUPPORTED OPERATION CODES and TASK MANAGEMENT FUNCTIONS (SPC-5 6.34, 6.35).

Whatever unit attention waits comes before them, as before any command that SAM-6 5.14 does not
except (INQUIRY, REPORT LUNS, REQUEST SENSE): an initiator that asks while a tape is being loaded
hears of the tape first, from real drives too, and asks again.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from typing import Never

from tapectl.scsi.command_table import Command, Task, reply_truncated
from tapectl.scsi.device_server import Device
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.sense import invalid_field_in_cdb


class _ReportingOption(enum.IntEnum):
    ALL = 0
    OPCODE = 1
    OPCODE_AND_SERVICE_ACTION = 2
    EITHER = 3


_NOT_SUPPORTED, _SUPPORTED = 0x01, 0x03
_RCTD, _REPD = 0x80, 0x80
_TIMEOUTS_BYTES = 12
# SPC-5 table 287. ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET, TARGET RESET.
_TASK_MANAGEMENT_FUNCTIONS = 0x80 | 0x40 | 0x10 | 0x08 | 0x02


def report_supported_operation_codes(device: Device, task: Task) -> Reply:
    """REPORT SUPPORTED OPERATION CODES, made from the command table."""
    cdb = task.cdb
    timeouts = bool(cdb[2] & _RCTD)
    allocation_length = int.from_bytes(cdb[6:10], "big")
    option = cdb[2] & 0x07
    if option == _ReportingOption.ALL:
        data = b"".join(_all_commands_descriptor(row, timeouts) for row in device.rows)
        return reply_truncated(struct.pack(">I", len(data)) + data, allocation_length)
    if option > _ReportingOption.EITHER:
        raise invalid_field_in_cdb(2, 2)
    action = int.from_bytes(cdb[4:6], "big")
    row = _find_row(device.rows, _ReportingOption(option), cdb[3], action)
    if row is None:
        return reply_truncated(bytes((0, _NOT_SUPPORTED, 0, 0)), allocation_length)
    timeout = _timeouts(row) if timeouts else b""
    head = struct.pack(">BBH", 0, (0x80 if timeouts else 0) | _SUPPORTED, row.cdb_bytes)
    return reply_truncated(head + row.usage + timeout, allocation_length)


def _find_row(
    rows: Sequence[Command[Never]], option: _ReportingOption, opcode: int, action: int
) -> Command[Never] | None:
    """Return the row of one command; raise CheckCondition where the option does not fit it."""
    of_opcode = [row for row in rows if row.operation_code == opcode]
    if not of_opcode:
        return None
    has_actions = of_opcode[0].service_action is not None
    if option is _ReportingOption.OPCODE and has_actions:
        raise invalid_field_in_cdb(2, 2)
    if option is _ReportingOption.OPCODE_AND_SERVICE_ACTION and not has_actions:
        raise invalid_field_in_cdb(2, 2)
    wanted = action if has_actions else None
    if option is _ReportingOption.EITHER and not has_actions and action:
        return None
    return next((row for row in of_opcode if row.service_action == wanted), None)


def _all_commands_descriptor(row: Command[Never], timeouts: bool) -> bytes:
    flags = (0x02 if timeouts else 0) | (0x01 if row.service_action is not None else 0)
    head = struct.pack(">BxHxBH", row.operation_code, row.service_action or 0, flags, row.cdb_bytes)
    return head + (_timeouts(row) if timeouts else b"")


def _timeouts(row: Command[Never]) -> bytes:
    """The command timeouts descriptor: no nominal time is claimed, a recommended one is."""
    return struct.pack(">HxBII", _TIMEOUTS_BYTES - 2, 0, 0, row.timeout_s)


def report_supported_task_management_functions(_device: Device, task: Task) -> Reply:
    """REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS; timeouts are not known (all zero)."""
    extended = task.cdb[2] & _REPD
    data = bytes((_TASK_MANAGEMENT_FUNCTIONS, 0, 0, 0x0C if extended else 0))
    data += bytes(12) if extended else b""
    return reply_truncated(data, int.from_bytes(task.cdb[6:10], "big"))
