"""MODE SENSE and MODE SELECT (SPC-5 6.11 to 6.14)."""

from __future__ import annotations

import struct

from tapectl.scsi.command_table import GOOD, Task, reply_truncated
from tapectl.scsi.device_server import Device, ModeSelection
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.mode_pages import PageControl
from tapectl.scsi.sense import (
    ASC,
    illegal_request,
    invalid_field_in_cdb,
    invalid_field_in_parameter_list,
)

_DISABLE_BLOCK_DESCRIPTORS = 0x08
_SAVE_PAGES, _REVERT_TO_DEFAULTS = 0x01, 0x02
_BLOCK_DESCRIPTOR_BYTES = 8


def mode_sense_6(device: Device, task: Task) -> Reply:
    """MODE SENSE(6)."""
    header, descriptor, pages = _sense(device, task)
    total = 3 + len(descriptor) + len(pages)
    if total > 0xFF:
        total = 0xFF  # the field cannot say more; MODE SENSE(10) does
    data = struct.pack(">BBBB", total, header[0], header[1], len(descriptor)) + descriptor + pages
    return reply_truncated(data, task.cdb[4])


def mode_sense_10(device: Device, task: Task) -> Reply:
    """MODE SENSE(10)."""
    header, descriptor, pages = _sense(device, task)
    total = 6 + len(descriptor) + len(pages)
    data = struct.pack(">HBBxxH", total, header[0], header[1], len(descriptor))
    data += descriptor + pages
    return reply_truncated(data, int.from_bytes(task.cdb[7:9], "big"))


def _sense(device: Device, task: Task) -> tuple[tuple[int, int], bytes, bytes]:
    cdb = task.cdb
    header = device.mode_header()
    code, control = cdb[2] & 0x3F, PageControl(cdb[2] >> 6)
    pages = device.server.mode_pages.sense(code, cdb[3], control, task.nexus)
    if pages is None:
        # Page 00h, of which nothing is known, is how st asks for header and descriptor alone.
        if code != 0 or cdb[3]:
            raise invalid_field_in_cdb(2 if not cdb[3] else 3)
        pages = b""
    descriptor = b"" if cdb[1] & _DISABLE_BLOCK_DESCRIPTORS else header.block_descriptor
    if control is PageControl.CHANGEABLE:
        descriptor = bytes(len(descriptor))
    return (header.medium_type, header.device_specific), descriptor, pages


def mode_select_6(device: Device, task: Task) -> Reply:
    """MODE SELECT(6)."""
    parameters = _parameter_list(task, task.cdb[4])
    if parameters:
        if len(parameters) < 4:
            raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
        _select(device, task, parameters, (2, 4, parameters[3]))
    return GOOD


def mode_select_10(device: Device, task: Task) -> Reply:
    """MODE SELECT(10)."""
    parameters = _parameter_list(task, int.from_bytes(task.cdb[7:9], "big"))
    if parameters:
        if len(parameters) < 8:
            raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
        descriptor_bytes = int.from_bytes(parameters[6:8], "big")
        _select(device, task, parameters, (3, 8, descriptor_bytes))
    return GOOD


def _parameter_list(task: Task, length: int) -> memoryview:
    if task.cdb[1] & _REVERT_TO_DEFAULTS:
        raise invalid_field_in_cdb(1, 1)
    if len(task.data_out) < length:
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    return task.data_out[:length]


def _select(
    device: Device, task: Task, parameters: memoryview, layout: tuple[int, int, int]
) -> None:
    """Check everything, then change it. `layout`: where the device-specific byte is, how long the
    header is, and how long the block descriptors are.
    """
    device_specific_at, header_bytes, descriptor_bytes = layout
    if descriptor_bytes not in (0, _BLOCK_DESCRIPTOR_BYTES):
        raise invalid_field_in_parameter_list(header_bytes - 1)
    pages_at = header_bytes + descriptor_bytes
    if pages_at > len(parameters):
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    apply_header = device.select_mode_header(
        ModeSelection(
            parameters[device_specific_at],
            device_specific_at,
            parameters[header_bytes:pages_at],
            header_bytes,
        )
    )
    server = device.server
    changes = server.mode_pages.check(parameters, pages_at, task.nexus)
    if task.cdb[1] & _SAVE_PAGES:
        server.mode_pages.save(changes)
    changed = apply_header()
    changed |= server.mode_pages.apply(changes, task.nexus)
    if changed:
        server.attentions.establish_all(ASC.MODE_PARAMETERS_CHANGED, but=task.nexus)
