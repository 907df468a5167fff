"""LOAD UNLOAD, and what drive and medium are asked for: block limits, serial number."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tapectl.scsi.command_table import GOOD, Task, reply_truncated
from tapectl.scsi.logical_unit import Reply, Status
from tapectl.scsi.sense import (
    ASC,
    CheckCondition,
    Sense,
    SenseKey,
    illegal_request,
    invalid_field_in_cdb,
)
from tapectl.scsi.ssc import compatibility

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

_LOAD, _EOT, _HOLD = 0x01, 0x04, 0x08
_MLOI = 0x01
# Objects are counted in 64 bits on the medium, and in 63 where segments are recorded.
_MAXIMUM_LOGICAL_OBJECT_IDENTIFIER = (1 << 63) - 1

NOT_PRESENT = Sense(SenseKey.NOT_READY, ASC.MEDIUM_NOT_PRESENT)
HELD = Sense(SenseKey.NOT_READY, ASC.MEDIUM_NOT_PRESENT_MEDIUM_AUXILIARY_MEMORY_ACCESSIBLE)


def load_unload(drive: TapeDrive, task: Task) -> Reply:
    """LOAD UNLOAD: thread the cartridge at its beginning, or rewind and unthread it (SSC-5 6.3).

    With HOLD it ends up unthreaded either way, and its auxiliary memory can be used. RETEN and
    IMMED make no difference to something that has no tension and takes no time.
    """
    operation = task.cdb[4]
    if operation & _LOAD:
        if operation & _EOT:  # "EOT set to one and LOAD set to one": nowhere to load to
            raise invalid_field_in_cdb(4, 2)
        _load(drive, task.nexus, hold=bool(operation & _HOLD))
    else:
        if drive.removal_prevented:
            raise illegal_request(ASC.MEDIUM_REMOVAL_PREVENTED)
        if drive.cartridge is not None:
            _unthread(drive, HELD if operation & _HOLD else NOT_PRESENT)
    return GOOD


def _load(drive: TapeDrive, nexus: str, *, hold: bool) -> None:
    cartridge = drive.cartridge
    if cartridge is None:
        raise CheckCondition(NOT_PRESENT)
    if hold:
        _unthread(drive, HELD)
        return
    if drive.threaded:
        drive.synchronise()
        cartridge.select_partition(0)
        drive.thread()
        return
    # One that the drive cannot use and that has not been unloaded since is not tried again.
    if drive.not_ready in compatibility.ALERTS:
        raise CheckCondition(drive.not_ready)
    obstacle = compatibility.take(drive.personality, cartridge)
    if obstacle is not None:
        drive.refuse(obstacle)
        raise CheckCondition(obstacle)
    drive.synchronise()
    cartridge.select_partition(0)
    drive.thread()
    drive.server.attentions.establish_all(ASC.NOT_READY_TO_READY_CHANGE, but=nexus)


def _unthread(drive: TapeDrive, not_ready: Sense) -> None:
    if drive.medium is not None:
        drive.synchronise()
        drive.medium.select_partition(0)
    drive.unthread()
    drive.not_ready = not_ready


def read_block_limits(drive: TapeDrive, task: Task) -> Reply:
    """READ BLOCK LIMITS; with MLOI set, of the numbers that objects can have (SSC-5 7.6)."""
    if task.cdb[1] & _MLOI:
        return Reply(Status.GOOD, struct.pack(">12xQ", _MAXIMUM_LOGICAL_OBJECT_IDENTIFIER))
    limits = drive.personality
    data = struct.pack(">IH", limits.maximum_block_bytes, limits.minimum_block_bytes)
    return Reply(Status.GOOD, data)


def read_media_serial_number(drive: TapeDrive, task: Task) -> Reply:
    """READ MEDIA SERIAL NUMBER: the barcode, padded to a multiple of four."""
    serial = drive.threaded_medium().barcode.encode()
    serial = serial.ljust((len(serial) + 3) & ~3)
    data = struct.pack(">I", len(serial)) + serial
    return reply_truncated(data, int.from_bytes(task.cdb[6:10], "big"))
