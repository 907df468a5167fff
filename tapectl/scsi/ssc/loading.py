"""LOAD UNLOAD, and what drive and medium are asked for: block limits, density, serial number."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tapectl.scsi.command_table import GOOD, Task, reply_truncated
from tapectl.scsi.logical_unit import Reply, Status
from tapectl.scsi.media import Density
from tapectl.scsi.sense import (
    ASC,
    CheckCondition,
    Sense,
    SenseKey,
    illegal_request,
    invalid_field_in_cdb,
)

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

_LOAD, _EOT = 0x01, 0x04


def load_unload(drive: TapeDrive, task: Task) -> Reply:
    """LOAD UNLOAD: thread the cartridge at its beginning, or rewind and unthread it (SSC-5 6.3)."""
    operation = task.cdb[4]
    if operation & _LOAD:
        return _load(drive, operation, task.nexus)
    if drive.removal_prevented:
        raise illegal_request(ASC.MEDIUM_REMOVAL_PREVENTED)
    if drive.medium is not None:
        drive.synchronise()
        drive.medium.locate(0)
        drive.unthread()
    return GOOD


def _load(drive: TapeDrive, operation: int, nexus: str) -> Reply:
    if operation & _EOT:  # "EOT set to one and LOAD set to one": nowhere to load to
        raise invalid_field_in_cdb(4, 2)
    if drive.cartridge is None:
        raise CheckCondition(Sense(SenseKey.NOT_READY, ASC.MEDIUM_NOT_PRESENT))
    drive.synchronise()
    drive.cartridge.locate(0)
    if drive.threaded:
        drive.bytes_before_warning = None
    else:
        drive.thread()
        attentions = drive.server.attentions
        attentions.establish_all(ASC.NOT_READY_TO_READY_CHANGE, but=nexus)
    return GOOD


def read_block_limits(drive: TapeDrive, task: Task) -> Reply:
    """READ BLOCK LIMITS; the form with the maximum logical object identifier is not offered."""
    if task.cdb[1] & 0x01:  # MLOI
        raise invalid_field_in_cdb(1, 0)
    limits = drive.personality
    data = struct.pack(">IH", limits.maximum_block_bytes, limits.minimum_block_bytes)
    return Reply(Status.GOOD, data)


_DENSITY = struct.Struct(">BBBH3sHHI8s8s20s")
_DENSITY_WRITABLE, _DENSITY_DEFAULT = 0x80, 0x20
_MEGABYTE = 10**6


def report_density_support(drive: TapeDrive, task: Task) -> Reply:
    """REPORT DENSITY SUPPORT, of the drive or of the medium in it (SSC-5 7.11)."""
    if task.cdb[1] & 0x02:  # MEDIUM TYPE
        raise invalid_field_in_cdb(1, 1)
    density = drive.personality.density
    capacity_bytes, flags = density.nominal_capacity_bytes, _DENSITY_WRITABLE | _DENSITY_DEFAULT
    if task.cdb[1] & 0x01:  # MEDIA
        # The density is LTO's, the length of the tape need not be: its own capacity is told.
        medium = drive.threaded_medium()
        capacity_bytes = medium.capacity_bytes
        if medium.write_protected:
            flags &= ~_DENSITY_WRITABLE
    descriptor = _encode_density(density, flags, capacity_bytes)
    data = struct.pack(">Hxx", len(descriptor) + 2) + descriptor
    return reply_truncated(data, int.from_bytes(task.cdb[7:9], "big"))


def _encode_density(density: Density, flags: int, capacity_bytes: int) -> bytes:
    return _DENSITY.pack(
        density.code,
        density.code,
        flags,
        0,  # DLV clear: descriptors are all of one length
        density.bits_per_mm.to_bytes(3, "big"),
        density.media_width_tenths_mm,
        density.tracks,
        min(capacity_bytes // _MEGABYTE, 0xFFFFFFFF),
        density.assigning_organization.encode().ljust(8),
        density.name.encode().ljust(8),
        density.description.encode().ljust(20),
    )


def read_media_serial_number(drive: TapeDrive, task: Task) -> Reply:
    """READ MEDIA SERIAL NUMBER: the barcode, padded to a multiple of four."""
    serial = drive.threaded_medium().barcode.encode()
    serial = serial.ljust((len(serial) + 3) & ~3)
    data = struct.pack(">I", len(serial)) + serial
    return reply_truncated(data, int.from_bytes(task.cdb[6:10], "big"))
