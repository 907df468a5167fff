"""SEND DIAGNOSTIC and RECEIVE DIAGNOSTIC RESULTS (SPC-5 6.28, 6.42, 7.2)."""

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

SUPPORTED_PAGES = 0x00
# Of IBM's drives: asks for a dump of the drive's memory, which READ BUFFER would then return.
# LTFS sends it after an error. There is no memory to dump here, so nothing happens.
FORCE_DUMP = 0x80
_PAGES = bytes((SUPPORTED_PAGES, FORCE_DUMP))
_PAGE_BYTES = {SUPPORTED_PAGES: 0, FORCE_DUMP: 4}
_HEADER = struct.Struct(">BxH")
_PF, _SELF_TEST, _PCV = 0x10, 0x04, 0x01


def send_diagnostic(_device: Device, task: Task) -> Reply:
    """SEND DIAGNOSTIC: the default self-test, which finds what runs to be well, or one page.

    Other self-tests, in the background or the foreground, are not there.
    """
    cdb = task.cdb
    if cdb[1] >> 5:  # SELF-TEST CODE
        raise invalid_field_in_cdb(1, 7)
    length = int.from_bytes(cdb[3:5], "big")
    if not length:
        return GOOD
    if cdb[1] & _SELF_TEST:
        raise invalid_field_in_cdb(3)
    if not cdb[1] & _PF:
        raise invalid_field_in_cdb(1, 4)
    if len(task.data_out) < length or length < _HEADER.size:
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    page, page_bytes = _HEADER.unpack_from(task.data_out)
    if page not in _PAGE_BYTES:
        raise invalid_field_in_parameter_list(0)
    if page_bytes != _PAGE_BYTES[page]:
        raise invalid_field_in_parameter_list(2)
    if length != _HEADER.size + page_bytes:
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    return GOOD


def receive_diagnostic_results(_device: Device, task: Task) -> Reply:
    """RECEIVE DIAGNOSTIC RESULTS: the list of pages, for no other has results."""
    cdb = task.cdb
    if cdb[1] & _PCV and cdb[2] != SUPPORTED_PAGES:
        raise invalid_field_in_cdb(2)
    data = _HEADER.pack(SUPPORTED_PAGES, len(_PAGES)) + _PAGES
    return reply_truncated(data, int.from_bytes(cdb[3:5], "big"))
