"""Every command the suite sends, built from its fields as the standards lay them out.

Nothing here knows the target's own command table. `raw` sends any bytes, `but` changes a byte of
a command that is right, for the tests of what must be refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

ALLOCATION_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One CDB with what it sends or how much it has room for."""

    name: str
    cdb: bytes
    data_in_bytes: int = 0
    data_out: bytes = b""

    def but(self, byte: int, value: int) -> Command:
        """Return the same command with one byte of its CDB replaced."""
        cdb = bytearray(self.cdb)
        cdb[byte] = value
        return replace(self, cdb=bytes(cdb))


def raw(cdb: str | bytes, *, data_in_bytes: int = 0, data_out: bytes = b"") -> Command:
    """Return a command of any bytes."""
    encoded = bytes.fromhex(cdb) if isinstance(cdb, str) else cdb
    name = f"operation code {encoded[0]:02X}h"
    return Command(name=name, cdb=encoded, data_in_bytes=data_in_bytes, data_out=data_out)


def _data_in(name: str, cdb: bytes, data_in_bytes: int) -> Command:
    return Command(name=name, cdb=cdb, data_in_bytes=data_in_bytes)


def _data_out(name: str, cdb: bytes, data: bytes) -> Command:
    return Command(name=name, cdb=cdb, data_out=data)


def _no_data(name: str, cdb: bytes) -> Command:
    return Command(name=name, cdb=cdb)


def _signed(value: int, size_bytes: int) -> bytes:
    return value.to_bytes(size_bytes, "big", signed=True)


# -- SPC ------------------------------------------------------------------------------------
def test_unit_ready() -> Command:
    return _no_data("TEST UNIT READY", bytes(6))


test_unit_ready.__test__ = False  # type: ignore[attr-defined]  # its name is the command's


def inquiry(page: int | None = None, length: int = 255) -> Command:
    """Return INQUIRY for standard data, or for a VPD page."""
    evpd = page is not None
    return _data_in("INQUIRY", struct.pack(">BBBHB", 0x12, evpd, page or 0, length, 0), length)


def request_sense(length: int = 252, *, descriptors: bool = False) -> Command:
    return _data_in("REQUEST SENSE", bytes((0x03, descriptors, 0, 0, length, 0)), length)


def report_luns(select: int = 0, length: int = ALLOCATION_BYTES) -> Command:
    return _data_in("REPORT LUNS", struct.pack(">BxB3xIxx", 0xA0, select, length), length)


def mode_sense_6(
    page: int, subpage: int = 0, *, control: int = 0, dbd: bool = False, length: int = 255
) -> Command:
    cdb = bytes((0x1A, dbd << 3, control << 6 | page, subpage, length, 0))
    return _data_in("MODE SENSE(6)", cdb, length)


def mode_sense_10(
    page: int,
    subpage: int = 0,
    *,
    control: int = 0,
    dbd: bool = False,
    length: int = ALLOCATION_BYTES,
) -> Command:
    cdb = struct.pack(">BBBB3xHB", 0x5A, dbd << 3, control << 6 | page, subpage, length, 0)
    return _data_in("MODE SENSE(10)", cdb, length)


def mode_select_6(parameters: bytes, *, pf: bool = True, save: bool = False) -> Command:
    cdb = bytes((0x15, pf << 4 | save, 0, 0, len(parameters), 0))
    return _data_out("MODE SELECT(6)", cdb, parameters)


def mode_select_10(parameters: bytes, *, pf: bool = True, save: bool = False) -> Command:
    cdb = struct.pack(">BB5xHB", 0x55, pf << 4 | save, len(parameters), 0)
    return _data_out("MODE SELECT(10)", cdb, parameters)


def log_sense(
    page: int,
    subpage: int = 0,
    *,
    control: int = 1,
    pointer: int = 0,
    length: int = ALLOCATION_BYTES,
) -> Command:
    cdb = struct.pack(">BBBBxHHB", 0x4D, 0, control << 6 | page, subpage, pointer, length, 0)
    return _data_in("LOG SENSE", cdb, length)


def log_select(
    page: int = 0,
    subpage: int = 0,
    *,
    pcr: bool = False,
    save: bool = False,
    control: int = 1,
    parameters: bytes = b"",
) -> Command:
    flags = pcr << 1 | save
    head = (0x4C, flags, control << 6 | page, subpage)
    cdb = struct.pack(">BBBB3xHB", *head, len(parameters), 0)
    return _data_out("LOG SELECT", cdb, parameters)


def prevent_allow(prevent: int) -> Command:
    return _no_data("PREVENT ALLOW MEDIUM REMOVAL", bytes((0x1E, 0, 0, 0, prevent, 0)))


def reserve_6() -> Command:
    return _no_data("RESERVE(6)", bytes((0x16, 0, 0, 0, 0, 0)))


def release_6() -> Command:
    return _no_data("RELEASE(6)", bytes((0x17, 0, 0, 0, 0, 0)))


def reserve_10() -> Command:
    return _no_data("RESERVE(10)", bytes((0x56,)) + bytes(9))


def release_10() -> Command:
    return _no_data("RELEASE(10)", bytes((0x57,)) + bytes(9))


READ_KEYS, READ_RESERVATION, REPORT_CAPABILITIES, READ_FULL_STATUS = range(4)
REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, REGISTER_AND_IGNORE = range(7)
WRITE_EXCLUSIVE, EXCLUSIVE_ACCESS = 1, 3
WRITE_EXCLUSIVE_REGISTRANTS_ONLY, EXCLUSIVE_ACCESS_REGISTRANTS_ONLY = 5, 6
WRITE_EXCLUSIVE_ALL_REGISTRANTS, EXCLUSIVE_ACCESS_ALL_REGISTRANTS = 7, 8


def persistent_reserve_in(action: int, length: int = ALLOCATION_BYTES) -> Command:
    cdb = struct.pack(">BB5xHB", 0x5E, action, length, 0)
    return _data_in("PERSISTENT RESERVE IN", cdb, length)


def persistent_reserve_out(
    action: int,
    *,
    key: int = 0,
    service_action_key: int = 0,
    kind: int = 0,
    scope: int = 0,
    flags: int = 0,
) -> Command:
    """`kind` is the TYPE field, `flags` byte 20 of the parameter list (APTPL is bit 0)."""
    parameters = struct.pack(">QQ4xB3x", key, service_action_key, flags)
    cdb = struct.pack(">BBBxxIB", 0x5F, action, scope << 4 | kind, len(parameters), 0)
    return _data_out("PERSISTENT RESERVE OUT", cdb, parameters)


def report_supported_operation_codes(
    option: int = 0,
    opcode: int = 0,
    action: int = 0,
    *,
    timeouts: bool = False,
    length: int = 16384,
) -> Command:
    cdb = struct.pack(">BBBBHIxx", 0xA3, 0x0C, timeouts << 7 | option, opcode, action, length)
    return _data_in("REPORT SUPPORTED OPERATION CODES", cdb, length)


def report_supported_task_management(*, extended: bool = False, length: int = 64) -> Command:
    cdb = struct.pack(">BBB3xIxx", 0xA3, 0x0D, extended << 7, length)
    return _data_in("REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", cdb, length)


def management_protocol_in(protocol: int = 0, *, length: int = 64) -> Command:
    cdb = struct.pack(">BBB3xIxx", 0xA3, 0x10, protocol, length)
    return _data_in("MANAGEMENT PROTOCOL IN", cdb, length)


def report_timestamp(length: int = 64) -> Command:
    return _data_in("REPORT TIMESTAMP", struct.pack(">BB4xIxx", 0xA3, 0x0F, length), length)


def set_timestamp(milliseconds: int) -> Command:
    parameters = bytes(4) + milliseconds.to_bytes(6, "big") + bytes(2)
    cdb = struct.pack(">BB4xIxx", 0xA4, 0x0F, len(parameters))
    return _data_out("SET TIMESTAMP", cdb, parameters)


def send_diagnostic(parameters: bytes = b"", *, flags: int = 0x04) -> Command:
    """`flags` is byte 1: SELF-TEST CODE, PF, SELFTEST, DEVOFFL, UNITOFFL."""
    cdb = struct.pack(">BBxHB", 0x1D, flags, len(parameters), 0)
    return _data_out("SEND DIAGNOSTIC", cdb, parameters)


def receive_diagnostic(page: int, length: int = 252) -> Command:
    cdb = struct.pack(">BBBHB", 0x1C, 0x01, page, length, 0)
    return _data_in("RECEIVE DIAGNOSTIC RESULTS", cdb, length)


def read_buffer(mode: int, buffer: int = 0, offset: int = 0, length: int = 4) -> Command:
    cdb = bytes((0x3C, mode, buffer)) + offset.to_bytes(3, "big") + length.to_bytes(3, "big")
    return _data_in("READ BUFFER", cdb + b"\0", length)


def write_buffer(mode: int, data: bytes, buffer: int = 0, offset: int = 0) -> Command:
    cdb = bytes((0x3B, mode, buffer)) + offset.to_bytes(3, "big") + len(data).to_bytes(3, "big")
    return _data_out("WRITE BUFFER", cdb + b"\0", data)


def security_protocol_in(protocol: int, specific: int, length: int = ALLOCATION_BYTES) -> Command:
    cdb = struct.pack(">BBHxxIxx", 0xA2, protocol, specific, length)
    return _data_in("SECURITY PROTOCOL IN", cdb, length)


def security_protocol_out(protocol: int, specific: int, data: bytes) -> Command:
    cdb = struct.pack(">BBHxxIxx", 0xB5, protocol, specific, len(data))
    return _data_out("SECURITY PROTOCOL OUT", cdb, data)


# -- SSC ------------------------------------------------------------------------------------
def rewind(*, immediate: bool = False) -> Command:
    return _no_data("REWIND", bytes((0x01, immediate, 0, 0, 0, 0)))


def read_block_limits(*, mloi: bool = False) -> Command:
    return _data_in("READ BLOCK LIMITS", bytes((0x05, mloi, 0, 0, 0, 0)), 20 if mloi else 6)


def read(length: int, *, sili: bool = False, room: int | None = None) -> Command:
    """Return READ(6) of one block of variable length; `room` is what the transport offers."""
    cdb = bytes((0x08, sili << 1)) + length.to_bytes(3, "big") + b"\0"
    return _data_in("READ(6)", cdb, length if room is None else room)


def read_fixed(count: int, block_bytes: int, *, sili: bool = False) -> Command:
    cdb = bytes((0x08, sili << 1 | 1)) + count.to_bytes(3, "big") + b"\0"
    return _data_in("READ(6)", cdb, count * block_bytes)


def write(block: bytes) -> Command:
    return _data_out("WRITE(6)", b"\x0a\0" + len(block).to_bytes(3, "big") + b"\0", block)


def write_fixed(data: bytes, count: int) -> Command:
    return _data_out("WRITE(6)", b"\x0a\x01" + count.to_bytes(3, "big") + b"\0", data)


def write_filemarks(count: int = 1, *, immediate: bool = False) -> Command:
    cdb = bytes((0x10, immediate)) + count.to_bytes(3, "big") + b"\0"
    return _no_data("WRITE FILEMARKS(6)", cdb)


BLOCKS, FILEMARKS, SEQUENTIAL_FILEMARKS, END = 0, 1, 2, 3


def space_6(code: int, count: int = 0) -> Command:
    return _no_data("SPACE(6)", bytes((0x11, code)) + _signed(count, 3) + b"\0")


def space_16(code: int, count: int = 0) -> Command:
    return _no_data("SPACE(16)", bytes((0x91, code, 0, 0)) + _signed(count, 8) + bytes(4))


def locate_10(
    position: int, *, partition: int | None = None, immediate: bool = False, bt: bool = False
) -> Command:
    flags = bt << 2 | (partition is not None) << 1 | immediate
    return _no_data("LOCATE(10)", struct.pack(">BBxIxBx", 0x2B, flags, position, partition or 0))


OBJECT_ID, FILE_ID, _, END_ID = range(4)


def locate_16(
    identifier: int = 0,
    *,
    kind: int = OBJECT_ID,
    partition: int | None = None,
    immediate: bool = False,
) -> Command:
    flags = kind << 3 | (partition is not None) << 1 | immediate
    cdb = struct.pack(">BBBBQ4x", 0x92, flags, 0, partition or 0, identifier)
    return _no_data("LOCATE(16)", cdb)


SHORT_FORM, LONG_FORM, EXTENDED_FORM = 0x00, 0x06, 0x08


def read_position(form: int = SHORT_FORM, length: int | None = None) -> Command:
    """Only the extended form has an ALLOCATION LENGTH."""
    allocated = (32 if length is None else length) if form == EXTENDED_FORM else 0
    room = {SHORT_FORM: 20, LONG_FORM: 32}.get(form, allocated)
    return _data_in("READ POSITION", struct.pack(">BB5xHB", 0x34, form, allocated, 0), room)


def erase(*, long: bool = False, immediate: bool = False) -> Command:
    return _no_data("ERASE(6)", bytes((0x19, immediate << 1 | long, 0, 0, 0, 0)))


def verify(count: int = 0, *, flags: int = 0, data: bytes = b"") -> Command:
    """`flags` is byte 1: VTE 20h, VLBPM 10h, VBF 08h, IMMED 04h, BYTCMP 02h, FIXED 01h."""
    cdb = bytes((0x13, flags)) + count.to_bytes(3, "big") + b"\0"
    return _data_out("VERIFY(6)", cdb, data)


LOAD, RETENSION, EOT, HOLD = 0x01, 0x02, 0x04, 0x08


def load_unload(operation: int, *, immediate: bool = False) -> Command:
    return _no_data("LOAD UNLOAD", bytes((0x1B, immediate, 0, 0, operation, 0)))


def report_density_support(
    *, media: bool = False, medium_type: bool = False, length: int = ALLOCATION_BYTES
) -> Command:
    cdb = struct.pack(">BB5xHB", 0x44, medium_type << 1 | media, length, 0)
    return _data_in("REPORT DENSITY SUPPORT", cdb, length)


def format_medium(form: int = 0, *, flags: int = 0, data: bytes = b"") -> Command:
    """`flags` is byte 1: VERIFY 02h, IMMED 01h."""
    return _data_out("FORMAT MEDIUM", struct.pack(">BBBHB", 0x04, flags, form, len(data), 0), data)


def set_capacity(proportion: int, *, immediate: bool = False) -> Command:
    return _no_data("SET CAPACITY", struct.pack(">BBxHB", 0x0B, immediate, proportion, 0))


def allow_overwrite(kind: int, position: int = 0, partition: int = 0) -> Command:
    """`kind`: 0 disabled, 1 at the current position, 2 format."""
    cdb = struct.pack(">BBBBQ4x", 0x82, 0, kind, partition, position)
    return _no_data("ALLOW OVERWRITE", cdb)


VALUES, ATTRIBUTE_LIST, VOLUME_LIST, PARTITION_LIST, _, SUPPORTED_ATTRIBUTES = range(6)


def read_attribute(
    action: int = VALUES, *, first: int = 0, partition: int = 0, length: int = 16384
) -> Command:
    head = (0x8C, action, 0, 0, 0, 0, 0, partition)
    cdb = struct.pack(">8BHIxx", *head, first, length)
    return _data_in("READ ATTRIBUTE", cdb, length)


def write_attribute(attributes: bytes, *, partition: int = 0, wtc: bool = True) -> Command:
    """`attributes` without the length in front of them."""
    parameters = len(attributes).to_bytes(4, "big") + attributes
    cdb = struct.pack(">BB5xBxxIxx", 0x8D, wtc, partition, len(parameters))
    return _data_out("WRITE ATTRIBUTE", cdb, parameters)


def read_media_serial_number(length: int = 252) -> Command:
    cdb = struct.pack(">BB4xIxx", 0xAB, 0x01, length)
    return _data_in("READ MEDIA SERIAL NUMBER", cdb, length)
