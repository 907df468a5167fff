"""LOG SENSE and LOG SELECT (SPC-5 6.8, 6.9)."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from tapectl.scsi.command_table import GOOD, Task, reply_truncated
from tapectl.scsi.device_server import Device
from tapectl.scsi.log_pages import ALL_SUBPAGES, LogPage, LogValues
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.sense import (
    ASC,
    illegal_request,
    invalid_field_in_cdb,
    invalid_field_in_parameter_list,
)

_SP, _PCR = 0x01, 0x02
_SUBPAGE_FORMAT = 0x40
_HEADER = struct.Struct(">BBH")
_PARAMETER = struct.Struct(">HBB")

_Pages = Mapping[tuple[int, int], LogPage]


def log_sense(device: Device, task: Task) -> Reply:
    """LOG SENSE; no parameter is saved, and PPC, obsolete since SPC-4, is refused."""
    cdb = task.cdb
    if cdb[1] & _SP:
        raise invalid_field_in_cdb(1, 0)
    if cdb[1] & 0x02:  # PPC
        raise invalid_field_in_cdb(1, 1)
    code, subpage = cdb[2] & 0x3F, cdb[3]
    page = device.log_pages(task.nexus).get((code, subpage))
    if page is None:
        raise invalid_field_in_cdb(2 if subpage in (0, ALL_SUBPAGES) else 3)
    data = page.encode(int.from_bytes(cdb[5:7], "big"), LogValues(cdb[2] >> 6))
    allocation_length = int.from_bytes(cdb[7:9], "big")
    if allocation_length >= len(data):
        # Whoever asks for the header first, as sg_logs does, has not been told yet.
        device.log_page_read(code, task.nexus)
    return reply_truncated(data, allocation_length)


def log_select(device: Device, task: Task) -> Reply:
    """LOG SELECT: resets pages; a parameter list is accepted as long as it changes nothing."""
    cdb = task.cdb
    if cdb[1] & _SP:
        raise invalid_field_in_cdb(1, 0)
    reset = bool(cdb[1] & _PCR)
    values = LogValues(cdb[2] >> 6)
    code, subpage = cdb[2] & 0x3F, cdb[3]
    length = int.from_bytes(cdb[7:9], "big")
    pages = device.log_pages(task.nexus)
    if length:
        # "If the PARAMETER LIST LENGTH field contains a non-zero value", neither may be set.
        if reset:
            raise invalid_field_in_cdb(1, 1)
        if code or subpage:
            raise invalid_field_in_cdb(2 if code else 3)
        if len(task.data_out) < length:
            raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
        _check_unchanged(pages, task.data_out[:length], values)
        return GOOD
    chosen = _chosen(pages, code, subpage)
    if reset or values is LogValues.DEFAULT_CUMULATIVE:
        resets = dict.fromkeys(page.reset for page in chosen if page.reset is not None)
        for reset_page in resets:
            reset_page()
        if resets:
            attentions = device.server.attentions
            attentions.establish_all(ASC.LOG_PARAMETERS_CHANGED, but=task.nexus)
    return GOOD


def _chosen(pages: _Pages, code: int, subpage: int) -> list[LogPage]:
    """Return the pages that a LOG SELECT without parameter list is about; all for 00h/00h."""
    if code == 0 and subpage in (0, ALL_SUBPAGES):
        return list(pages.values())
    chosen = [
        page for key, page in pages.items() if key[0] == code and subpage in (key[1], ALL_SUBPAGES)
    ]
    if not chosen:
        raise invalid_field_in_cdb(2 if not subpage else 3)
    return chosen


def _check_unchanged(pages: _Pages, parameters: memoryview, values: LogValues) -> None:
    """Raise CheckCondition unless every parameter of the list is what it is already."""
    at = 0
    while at < len(parameters):
        if at + _HEADER.size > len(parameters):
            raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
        flags, subpage, length = _HEADER.unpack_from(parameters, at)
        page = pages.get((flags & 0x3F, subpage if flags & _SUBPAGE_FORMAT else 0))
        if page is None:
            raise invalid_field_in_parameter_list(at)
        body_at, at = at + _HEADER.size, at + _HEADER.size + length
        if at > len(parameters):
            raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
        _check_parameters(page, parameters[:at], body_at, values)


def _check_parameters(page: LogPage, parameters: memoryview, at: int, values: LogValues) -> None:
    known = {row.code: row.encode(values) for row in page.parameters}
    while at < len(parameters):
        if at + _PARAMETER.size > len(parameters):
            raise invalid_field_in_parameter_list(at)
        code, _, length = _PARAMETER.unpack_from(parameters, at)
        if code not in known:
            raise invalid_field_in_parameter_list(at)
        end = at + _PARAMETER.size + length
        if bytes(parameters[at:end]) != known[code]:
            raise invalid_field_in_parameter_list(at + 2)
        at = end
