"""Commands that every device server has (SPC-5 6; RESERVE and RELEASE: SPC-2 7.21)."""

from __future__ import annotations

import struct
from dataclasses import replace

from tapectl.scsi import inquiry
from tapectl.scsi.buffers import read_buffer, write_buffer
from tapectl.scsi.command_table import GOOD, Access, Command, Task, reply_truncated
from tapectl.scsi.device_server import Device
from tapectl.scsi.diagnostics import receive_diagnostic_results, send_diagnostic
from tapectl.scsi.identifying_information import (
    report_identifying_information,
    set_identifying_information,
)
from tapectl.scsi.log_parameters import log_select, log_sense
from tapectl.scsi.logical_unit import Reply, Status
from tapectl.scsi.management_protocol import management_protocol_in
from tapectl.scsi.mode_parameters import (
    mode_select_6,
    mode_select_10,
    mode_sense_6,
    mode_sense_10,
)
from tapectl.scsi.persistent_reserve import ServiceAction, persistent_reserve_out
from tapectl.scsi.persistent_reserve_in import (
    read_full_status,
    read_keys,
    read_reservation,
    report_capabilities,
)
from tapectl.scsi.sense import (
    ASC,
    NO_SENSE,
    CheckCondition,
    Sense,
    SenseKey,
    illegal_request,
    invalid_field_in_cdb,
)
from tapectl.scsi.supported_commands import (
    report_supported_operation_codes,
    report_supported_task_management_functions,
)
from tapectl.scsi.target_port_groups import report_target_port_groups
from tapectl.scsi.timestamps import report_timestamp, set_timestamp
from tapectl.scsi.transport_id import target_node


def unit_ready(device: Device, _task: Task) -> Reply:
    """TEST UNIT READY."""
    device.check_ready()
    return GOOD


def request_sense(device: Device, task: Task) -> Reply:
    """REQUEST SENSE: what waits for this nexus as parameter data, with GOOD (SPC-5 6.39).

    Sense of a command that failed went back with its status, so there is none to keep.
    """
    server = device.server
    sense = NO_SENSE
    code = server.attentions.report(task.nexus)
    exception = server.exceptions.requested(task.nexus) if code is None else None
    if code is not None:
        sense = Sense(SenseKey.UNIT_ATTENTION, code)
    elif exception is not None:
        sense = exception
    else:
        try:
            device.check_ready()
        except CheckCondition as condition:
            sense = condition.sense
    descriptor_format = task.cdb[1] & 0x01
    data = sense.encode_descriptor() if descriptor_format else sense.encode_fixed()
    return reply_truncated(data, task.cdb[4])


def send_inquiry(device: Device, task: Task) -> Reply:
    """INQUIRY, standard data and VPD."""
    cdb = task.cdb
    identity = device.server.identity
    allocation_length = int.from_bytes(cdb[3:5], "big")
    if cdb[1] & 0x02:  # CMDDT, obsolete
        raise invalid_field_in_cdb(1, 1)
    if not cdb[1] & 0x01:
        if cdb[2]:
            raise invalid_field_in_cdb(2)
        return reply_truncated(inquiry.encode_standard(identity), allocation_length)
    identity = replace(identity, reached_at=target_node(task.nexus))
    page = inquiry.encode_vpd(identity, cdb[2], device.vpd_pages)
    if page is None:
        raise invalid_field_in_cdb(2)
    return reply_truncated(page, allocation_length)


def report_luns(device: Device, task: Task) -> Reply:
    """REPORT LUNS: from LUN 0 on, at most 255, and no well known or administrative ones."""
    select = task.cdb[2]
    if select not in _LUN_SELECTIONS:
        raise invalid_field_in_cdb(2)
    count = device.server.luns(task.nexus) if _LUN_SELECTIONS[select] else 0
    # SAM-6 4.7.7.2, peripheral device addressing.
    luns = b"".join(struct.pack(">BB6x", 0, lun) for lun in range(count))
    data = struct.pack(">I4x", len(luns)) + luns
    return reply_truncated(data, int.from_bytes(task.cdb[6:10], "big"))


# SELECT REPORT, and whether it names such LUNs (SPC-5 table 242).
_LUN_SELECTIONS = {0x00: True, 0x01: False, 0x02: True, 0x10: False, 0x11: True, 0x12: False}


def reserve(device: Device, task: Task) -> Reply:
    """RESERVE(6) and (10), of the whole logical unit, not for a third party."""
    if task.cdb[1] & 0x1F:
        raise invalid_field_in_cdb(1)
    device.server.reservations.reserve(task.nexus)
    return GOOD


def release(device: Device, task: Task) -> Reply:
    """RELEASE(6) and (10)."""
    if task.cdb[1] & 0x1F:
        raise invalid_field_in_cdb(1)
    device.server.reservations.release(task.nexus)
    return GOOD


def prevent_allow_medium_removal(device: Device, task: Task) -> Reply:
    """PREVENT ALLOW MEDIUM REMOVAL: removal is prevented while any nexus prevents it."""
    prevent = task.cdb[4] & 0x03
    if prevent > 1:
        raise invalid_field_in_cdb(4, 1)
    if prevent:
        device.server.removal_preventers.add(task.nexus)
    else:
        device.server.removal_preventers.discard(task.nexus)
    return GOOD


# fmt: off
SPC_COMMANDS: tuple[Command[Device], ...] = (
    Command(name="TEST UNIT READY", usage=bytes.fromhex("000000000000"),
            handler=unit_ready, access=Access.PERSISTENT),
    Command(name="REQUEST SENSE", usage=bytes.fromhex("03010000ff00"),
            handler=request_sense, access=Access.ALWAYS, past_attention=True),
    Command(name="INQUIRY", usage=bytes.fromhex("1201ffffff00"),
            handler=send_inquiry, access=Access.ALWAYS, past_attention=True),
    Command(name="MODE SELECT(6)", usage=bytes.fromhex("15110000ff00"), handler=mode_select_6),
    Command(name="RESERVE(6)", usage=bytes.fromhex("160000000000"),
            handler=reserve, access=Access.PERSISTENT),
    Command(name="RELEASE(6)", usage=bytes.fromhex("170000000000"),
            handler=release, access=Access.ALWAYS),
    Command(name="MODE SENSE(6)", usage=bytes.fromhex("1a08ffffff00"), handler=mode_sense_6),
    Command(name="RECEIVE DIAGNOSTIC RESULTS", usage=bytes.fromhex("1c01ffffff00"),
            handler=receive_diagnostic_results),
    Command(name="SEND DIAGNOSTIC", usage=bytes.fromhex("1df400ffff00"),
            handler=send_diagnostic),
    Command(name="PREVENT ALLOW MEDIUM REMOVAL", usage=bytes.fromhex("1e0000000300"),
            handler=prevent_allow_medium_removal, harmless=lambda cdb: not cdb[4] & 0x03),
    Command(name="WRITE BUFFER", usage=bytes.fromhex("3b1fffffffffffffff00"),
            handler=write_buffer),
    Command(name="READ BUFFER(10)", usage=bytes.fromhex("3c1fffffffffffffff00"),
            handler=read_buffer),
    Command(name="LOG SELECT", usage=bytes.fromhex("4c02ffff000000ffff00"),
            handler=log_select),
    Command(name="LOG SENSE", usage=bytes.fromhex("4d00ffff00ffffffff00"),
            handler=log_sense, access=Access.ALWAYS),
    Command(name="MODE SELECT(10)", usage=bytes.fromhex("55110000000000ffff00"),
            handler=mode_select_10),
    Command(name="RESERVE(10)", usage=bytes.fromhex("56000000000000000000"),
            handler=reserve, access=Access.PERSISTENT),
    Command(name="RELEASE(10)", usage=bytes.fromhex("57000000000000000000"),
            handler=release, access=Access.ALWAYS),
    Command(name="MODE SENSE(10)", usage=bytes.fromhex("5a08ffff000000ffff00"),
            handler=mode_sense_10),
    Command(name="PERSISTENT RESERVE IN, READ KEYS", service_action=0x00,
            usage=bytes.fromhex("5e1f0000000000ffff00"),
            handler=read_keys, access=Access.PERSISTENT),
    Command(name="PERSISTENT RESERVE IN, READ RESERVATION", service_action=0x01,
            usage=bytes.fromhex("5e1f0000000000ffff00"),
            handler=read_reservation, access=Access.PERSISTENT),
    Command(name="PERSISTENT RESERVE IN, REPORT CAPABILITIES", service_action=0x02,
            usage=bytes.fromhex("5e1f0000000000ffff00"),
            handler=report_capabilities, access=Access.PERSISTENT),
    Command(name="PERSISTENT RESERVE IN, READ FULL STATUS", service_action=0x03,
            usage=bytes.fromhex("5e1f0000000000ffff00"),
            handler=read_full_status, access=Access.PERSISTENT),
    *(Command(name=f"PERSISTENT RESERVE OUT, {action.name.replace('_', ' ')}",
              service_action=action, usage=bytes.fromhex("5f1fff0000ffffffff00"),
              handler=persistent_reserve_out, access=Access.PERSISTENT)
      for action in ServiceAction),
    Command(name="REPORT LUNS", usage=bytes.fromhex("a000ff000000ffffffff0000"),
            handler=report_luns, access=Access.ALWAYS, past_attention=True),
    Command(name="REPORT IDENTIFYING INFORMATION", service_action=0x05,
            usage=bytes.fromhex("a31f00000000fffffffffe00"),
            handler=report_identifying_information, access=Access.PERSISTENT),
    Command(name="REPORT TARGET PORT GROUPS", service_action=0x0A,
            usage=bytes.fromhex("a3ff00000000ffffffff0000"),
            handler=report_target_port_groups, access=Access.PERSISTENT),
    Command(name="REPORT SUPPORTED OPERATION CODES", service_action=0x0C,
            usage=bytes.fromhex("a31f87ffffffffffffff0000"),
            handler=report_supported_operation_codes),
    Command(name="REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", service_action=0x0D,
            usage=bytes.fromhex("a31f80000000ffffffff0000"),
            handler=report_supported_task_management_functions),
    Command(name="REPORT TIMESTAMP", service_action=0x0F,
            usage=bytes.fromhex("a31f00000000ffffffff0000"),
            handler=report_timestamp, access=Access.PERSISTENT),
    Command(name="MANAGEMENT PROTOCOL IN", service_action=0x10,
            usage=bytes.fromhex("a31fffffffffffffffffff00"),
            handler=management_protocol_in),
    Command(name="SET IDENTIFYING INFORMATION", service_action=0x06,
            usage=bytes.fromhex("a41f00000000fffffffffe00"),
            handler=set_identifying_information),
    Command(name="SET TIMESTAMP", service_action=0x0F,
            usage=bytes.fromhex("a41f00000000ffffffff0000"),
            handler=set_timestamp),
)
# fmt: on


def lun_not_there(device: Device, task: Task) -> Reply:
    """Answer for a LUN other than 0: INQUIRY with qualifier 3, REPORT LUNS, REQUEST SENSE.

    Everything else ends with LOGICAL UNIT NOT SUPPORTED (SPC-5 6.7.2, 6.33, 6.39).
    """
    opcode = task.cdb[0]
    if opcode == 0xA0:
        return report_luns(device, task)
    if opcode == 0x12 and not task.cdb[1] & 0x03 and not task.cdb[2]:
        data = inquiry.encode_standard(device.server.identity, present=False)
        return reply_truncated(data, int.from_bytes(task.cdb[3:5], "big"))
    if opcode == 0x03:
        sense = Sense(SenseKey.ILLEGAL_REQUEST, ASC.LOGICAL_UNIT_NOT_SUPPORTED)
        descriptor_format = task.cdb[1] & 0x01
        data = sense.encode_descriptor() if descriptor_format else sense.encode_fixed()
        return Reply(Status.GOOD, data[: task.cdb[4]])
    raise illegal_request(ASC.LOGICAL_UNIT_NOT_SUPPORTED)
