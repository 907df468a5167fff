"""The command table of the disk in `disk_unit` (SBC-4), on top of the project's SPC commands."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from tapectl.scsi.command_table import GOOD, Access, Command, CommandTable, Task, reply_truncated
from tapectl.scsi.logical_unit import Reply, Status
from tapectl.scsi.sense import (
    ASC,
    CheckCondition,
    Sense,
    SenseKey,
    illegal_request,
    invalid_field_in_cdb,
)
from tapectl.scsi.spc import SPC_COMMANDS
from tests.support.disk_pages import (
    BLOCK_BYTES,
    MAXIMUM_TRANSFER_BLOCKS,
    DiskASC,
    DiskSenseKey,
    disk_check,
    encode_standard_inquiry,
    encode_vpd,
)

if TYPE_CHECKING:
    from tests.support.disk_unit import DiskUnit

# Where address and length of a CDB are, by its group (SPC-5 4.2.5): first byte and bytes of each.
_PLACES = {0: (1, 3, 4, 1), 1: (2, 4, 7, 2), 5: (2, 4, 6, 4), 4: (2, 8, 10, 4)}
_READ_6_ADDRESS_MASK = 0x1FFFFF
_BYTE_CHECK_NONE, _BYTE_CHECK_ALL = 0, 1


def _range(disk: DiskUnit, cdb: bytes) -> slice:
    """Return which bytes a command means; raise CheckCondition where there are none such."""
    group = cdb[0] >> 5
    if group == 2:
        group = 1
    address_at, address_bytes, length_at, length_bytes = _PLACES[group]
    address = int.from_bytes(cdb[address_at : address_at + address_bytes], "big")
    count = int.from_bytes(cdb[length_at : length_at + length_bytes], "big")
    if group == 0:
        address, count = address & _READ_6_ADDRESS_MASK, count or 256
    elif cdb[1] >> 5:
        raise invalid_field_in_cdb(1, 7)  # no protection information here
    if count > MAXIMUM_TRANSFER_BLOCKS:
        raise invalid_field_in_cdb(length_at)
    if address + count > disk.blocks or address >= disk.blocks:
        raise disk_check(SenseKey.ILLEGAL_REQUEST, DiskASC.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
    return slice(address * BLOCK_BYTES, (address + count) * BLOCK_BYTES)


def read(disk: DiskUnit, task: Task) -> Reply:
    """READ(6), (10), (12) and (16)."""
    where = _range(disk, task.cdb)
    return reply_truncated(bytes(disk.content[where]), where.stop - where.start)


def _check_writable(disk: DiskUnit) -> None:
    if disk.write_protected:
        raise CheckCondition(Sense(SenseKey.DATA_PROTECT, ASC.WRITE_PROTECTED))


def write(disk: DiskUnit, task: Task) -> Reply:
    """WRITE(6), (10), (12) and (16): as many whole blocks as came, at most those asked for."""
    where = _range(disk, task.cdb)
    _check_writable(disk)
    wanted = where.stop - where.start
    data = task.data_out[:wanted]
    whole = len(data) - len(data) % BLOCK_BYTES
    disk.content[where.start : where.start + whole] = data[:whole]
    return GOOD if len(task.data_out) == wanted else Reply(Status.GOOD, data_out_bytes=wanted)


def write_and_verify(disk: DiskUnit, task: Task) -> Reply:
    """WRITE AND VERIFY(10), (12) and (16); with BYTCHK what was written is what was sent."""
    if task.cdb[1] >> 1 & 0x03 > _BYTE_CHECK_ALL:
        raise invalid_field_in_cdb(1, 2)
    return write(disk, task)


def verify(disk: DiskUnit, task: Task) -> Reply:
    """VERIFY(10), (12) and (16), with BYTCHK 01b against the data that came."""
    byte_check = task.cdb[1] >> 1 & 0x03
    if byte_check > _BYTE_CHECK_ALL:
        raise invalid_field_in_cdb(1, 2)
    where = _range(disk, task.cdb)
    if byte_check == _BYTE_CHECK_ALL and disk.content[where] != task.data_out:
        raise disk_check(DiskSenseKey.MISCOMPARE, DiskASC.MISCOMPARE_DURING_VERIFY_OPERATION)
    return GOOD


def read_capacity_10(disk: DiskUnit, task: Task) -> Reply:
    """READ CAPACITY(10); without PMI the address must be zero."""
    if any(task.cdb[2:6]) and not task.cdb[8] & 0x01:
        raise invalid_field_in_cdb(2)
    return reply_truncated(struct.pack(">II", disk.blocks - 1, BLOCK_BYTES), 8)


def read_capacity_16(disk: DiskUnit, task: Task) -> Reply:
    """READ CAPACITY(16): no protection, no provisioning."""
    data = struct.pack(">QI20x", disk.blocks - 1, BLOCK_BYTES)
    return reply_truncated(data, int.from_bytes(task.cdb[10:14], "big"))


def synchronize_cache(disk: DiskUnit, task: Task) -> Reply:
    """SYNCHRONIZE CACHE(10) and (16): memory is as stable as it gets."""
    if any(task.cdb[2:6]):
        _range(disk, task.cdb)
    return GOOD


def start_stop_unit(disk: DiskUnit, task: Task) -> Reply:
    """START STOP UNIT: LOEJ loads and ejects; power conditions are not told apart."""
    power_condition, load_eject, start = task.cdb[4] >> 4, task.cdb[4] & 0x02, task.cdb[4] & 0x01
    if power_condition:
        return GOOD
    if load_eject and disk.server.removal_preventers:  # to load is refused too
        raise illegal_request(ASC.MEDIUM_REMOVAL_PREVENTED)
    if load_eject:
        disk.loaded = bool(start)
    disk.started = bool(start)
    return GOOD


def send_inquiry(disk: DiskUnit, task: Task) -> Reply:
    """INQUIRY, as the project's but for the peripheral type."""
    cdb, identity = task.cdb, disk.server.identity
    allocation_length = int.from_bytes(cdb[3:5], "big")
    if not cdb[1] & 0x01:
        if cdb[2]:
            raise invalid_field_in_cdb(2)
        return reply_truncated(encode_standard_inquiry(identity), allocation_length)
    page = encode_vpd(identity, cdb[2], disk.vpd_pages)
    if page is None:
        raise invalid_field_in_cdb(2)
    return reply_truncated(page, allocation_length)


def _medium(name: str, usage: str, handler: Callable[[DiskUnit, Task], Reply]) -> Command[DiskUnit]:
    access = Access.READ if handler in (read, verify) else Access.HOLDER
    return Command(
        name=name, usage=bytes.fromhex(usage), handler=handler, access=access, needs_medium=True
    )


# fmt: off
_DISK_COMMANDS: tuple[Command[DiskUnit], ...] = (
    _medium("READ(6)", "081fffffff00", read),
    _medium("READ(10)", "28faffffffff3fffff00", read),
    _medium("READ(12)", "a8faffffffffffffffff3f00", read),
    _medium("READ(16)", "88faffffffffffffffffffffffff3f00", read),
    _medium("WRITE(6)", "0a1fffffff00", write),
    _medium("WRITE(10)", "2afaffffffff3fffff00", write),
    _medium("WRITE(12)", "aafaffffffffffffffff3f00", write),
    _medium("WRITE(16)", "8afaffffffffffffffffffffffff3f00", write),
    _medium("WRITE AND VERIFY(10)", "2ef6ffffffff3fffff00", write_and_verify),
    _medium("WRITE AND VERIFY(12)", "aef6ffffffffffffffff3f00", write_and_verify),
    _medium("WRITE AND VERIFY(16)", "8ef6ffffffffffffffffffffffff3f00", write_and_verify),
    _medium("VERIFY(10)", "2ff6ffffffff3fffff00", verify),
    _medium("VERIFY(12)", "aff6ffffffffffffffff3f00", verify),
    _medium("VERIFY(16)", "8ff6ffffffffffffffffffffffff3f00", verify),
    _medium("SYNCHRONIZE CACHE(10)", "3506ffffffff3fffff00", synchronize_cache),
    _medium("SYNCHRONIZE CACHE(16)", "9106ffffffffffffffffffffffff3f00", synchronize_cache),
    Command(name="READ CAPACITY(10)", usage=bytes.fromhex("2500ffffffff00000100"),
            handler=read_capacity_10, access=Access.ALWAYS, needs_medium=True),
    Command(name="READ CAPACITY(16)", service_action=0x10,
            usage=bytes.fromhex("9e1fffffffffffffffffffffffff0100"),
            handler=read_capacity_16, access=Access.ALWAYS, needs_medium=True),
    Command(name="START STOP UNIT", usage=bytes.fromhex("1b01000ff700"),
            handler=start_stop_unit, access=Access.ALWAYS),
    Command(name="INQUIRY", usage=bytes.fromhex("1201ffffff00"),
            handler=send_inquiry, access=Access.ALWAYS, past_attention=True),
)
# fmt: on

_SPC = tuple(row for row in SPC_COMMANDS if row.name != "INQUIRY")
COMMANDS: CommandTable[DiskUnit] = CommandTable((*_SPC, *_DISK_COMMANDS))
