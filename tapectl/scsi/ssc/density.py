"""REPORT DENSITY SUPPORT: the densities and the media of the drive, or of what is in it (SSC-5
7.11)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tapectl.scsi.command_table import Task, reply_truncated
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.media import MediumGeneration
from tapectl.scsi.personality import Access, DrivePersonality

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

_OF_MEDIUM, _MEDIUM_TYPES = 0x01, 0x02
_DENSITY = struct.Struct(">BBBH3sHHI8s8s20s")
_MEDIUM_TYPE = struct.Struct(">BxHB9sHH2x8s8s20s")
_WRITABLE, _DEFAULT = 0x80, 0x20
_MEGABYTE = 10**6


def report_density_support(drive: TapeDrive, task: Task) -> Reply:
    """REPORT DENSITY SUPPORT, by density or, with MEDIUM TYPE set, by type of medium."""
    of_medium = bool(task.cdb[1] & _OF_MEDIUM)
    if of_medium:
        drive.threaded_medium()
    media = [drive.media] if of_medium else drive.personality.media
    if task.cdb[1] & _MEDIUM_TYPES:
        descriptors = _medium_types(drive, media, of_medium=of_medium)
    else:
        descriptors = [_density(drive, medium, of_medium=of_medium) for medium in media]
    data = b"".join(descriptors)
    header = struct.pack(">Hxx", len(data) + 2)
    return reply_truncated(header + data, int.from_bytes(task.cdb[7:9], "big"))


def _density(drive: TapeDrive, media: MediumGeneration, *, of_medium: bool) -> bytes:
    generation, density = drive.personality.generation, media.density
    writable = generation.access(media.number) is Access.READ_WRITE
    capacity_bytes = density.nominal_capacity_bytes
    if of_medium:
        # The density is LTO's, the length of the tape need not be: its own capacity is told.
        medium = drive.threaded_medium()
        capacity_bytes = sum(partition.capacity_bytes for partition in medium.partitions)
        writable = writable and not medium.write_protected
    flags = (_WRITABLE if writable else 0) | (_DEFAULT if media.number == generation.number else 0)
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


def _medium_types(
    drive: TapeDrive, media: Sequence[MediumGeneration], *, of_medium: bool
) -> list[bytes]:
    """Data and WORM media are of two types; of the medium in the drive there is one."""
    kinds = (drive.threaded_medium().worm,) if of_medium else (False, True)
    personality = drive.personality
    return [
        _medium_type(personality, medium, worm=worm)
        for medium in media
        for worm in kinds
        if medium.worm or not worm
    ]


def _medium_type(personality: DrivePersonality, media: MediumGeneration, *, worm: bool) -> bytes:
    density = media.density
    return _MEDIUM_TYPE.pack(
        personality.medium_type(media, worm=worm),
        _MEDIUM_TYPE.size - 4,
        1,
        bytes((density.code,)),
        density.media_width_tenths_mm,
        media.length_m,
        density.assigning_organization.encode().ljust(8),
        media.name.encode().ljust(8),
        f"Ultrium {media.number} {'WORM' if worm else 'Data'}".encode().ljust(20),
    )
