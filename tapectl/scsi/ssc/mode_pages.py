"""The drive's mode pages, and MODE SELECT (SSC-5 8.4)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tapectl.scsi.command_table import GOOD, Task
from tapectl.scsi.device_server import ModeHeader
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.mode_pages import ModePage, page
from tapectl.scsi.sense import (
    ASC,
    illegal_request,
    invalid_field_in_cdb,
    invalid_field_in_parameter_list,
)
from tapectl.scsi.ssc.compatibility import read_only

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

COMPRESSION_PAGE = (0x0F, 0x00)
_BLOCK_DESCRIPTOR_BYTES = 8
_DEFAULT_DENSITY, _SAME_DENSITY = 0x00, 0x7F
_WORM_MODE = 0x01


def drive_mode_pages(drive: TapeDrive) -> Sequence[ModePage]:
    """Return the pages of a drive; what the medium decides is looked up when they are read."""

    def medium_configuration(body: bytes) -> bytes:
        worm = drive.medium is not None and drive.medium.worm
        return bytes((_WORM_MODE if worm else 0,)) + body[1:]

    return (
        # Read-Write Error Recovery
        page(0x01, "00 00 00000000 00 000000"),
        # Disconnect-Reconnect
        page(0x02, "0000 0000 0000 0000 0000 00 000000"),
        # Control: GLTSD, for no log parameter is saved; D_SENSE can be chosen
        page(0x0A, "02 00 00 00 0000 0000 0000", "04 00 00 00 0000 0000 0000"),
        # Control Extension
        page(0x0A, "00 00 00" + "00" * 25, subpage=0x01),
        # Data Compression: DCE, DCC, DDE; algorithm 1 or, with DCE clear, none
        page(
            0x0F,
            "c0 80 00000001 00000001 00000000",
            "80 80 000000ff 000000ff 00000000",
        ),
        # Device Configuration: LOIS; EEG; a compression algorithm; no partitions
        page(0x10, "00 00 00 00 0000 40 00 10 000000 01 00"),
        # Device Configuration Extension: no programmable early warning, overwrites allowed
        page(0x10, "00 00 0000" + "00" * 24, subpage=0x01),
        # Medium Partition: one, and the unit recognises format and partition of the medium
        page(0x11, "00 00 00 03 00 00 0000"),
        # Informational Exceptions Control: TapeAlert is to be polled (DEXCPT)
        page(0x1C, "08 00 00000000 00000000"),
        # Medium Configuration: WORMM; labels and filemarks of WORM media as LTO restricts them
        ModePage(0x1D, bytes(2) + b"\x01\x02" + bytes(26), bytes(30), 0, medium_configuration),
    )


def encode_mode_header(drive: TapeDrive) -> ModeHeader:
    """Return the header of a mode parameter list as it is now."""
    medium = drive.medium
    medium_type = 0
    write_protected = False
    if medium is not None:
        generation = drive.media
        medium_type = generation.worm_medium_type if medium.worm else generation.medium_type
        write_protected = medium.write_protected or read_only(drive.personality, medium)
    parameters = drive.parameters
    return ModeHeader(
        medium_type,
        write_protected << 7 | parameters.buffered << 4,
        struct.pack(">B3xI", drive.media.density.code, parameters.block_bytes),
    )


def mode_select_6(drive: TapeDrive, task: Task) -> Reply:
    """MODE SELECT(6)."""
    parameters = _parameter_list(task, task.cdb[4])
    if parameters:
        if len(parameters) < 4:
            raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
        _select(drive, task.nexus, parameters, (2, 4, parameters[3]))
    return GOOD


def mode_select_10(drive: TapeDrive, task: Task) -> Reply:
    """MODE SELECT(10)."""
    parameters = _parameter_list(task, int.from_bytes(task.cdb[7:9], "big"))
    if parameters:
        if len(parameters) < 8:
            raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
        descriptor_bytes = int.from_bytes(parameters[6:8], "big")
        _select(drive, task.nexus, parameters, (3, 8, descriptor_bytes))
    return GOOD


def _parameter_list(task: Task, length: int) -> memoryview:
    if task.cdb[1] & 0x01:  # SP: nothing is saved
        raise invalid_field_in_cdb(1, 0)
    if len(task.data_out) < length:
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    return task.data_out[:length]


def _select(
    drive: TapeDrive, nexus: str, parameters: memoryview, layout: tuple[int, int, int]
) -> None:
    """Check everything, then change it. `layout`: where the device-specific byte is, how long the
    header is, and how long the block descriptors are.
    """
    device_specific_at, header_bytes, descriptor_bytes = layout
    buffered_mode = parameters[device_specific_at] >> 4 & 0x07
    if buffered_mode > 1:
        raise invalid_field_in_parameter_list(device_specific_at, 6)
    if descriptor_bytes not in (0, _BLOCK_DESCRIPTOR_BYTES):
        raise invalid_field_in_parameter_list(header_bytes - 1)
    pages_at = header_bytes + descriptor_bytes
    if pages_at > len(parameters):
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    block_bytes = drive.parameters.block_bytes
    if descriptor_bytes:
        block_bytes = _block_length(drive, parameters, header_bytes)
    changes = drive.server.mode_pages.check(parameters, pages_at, nexus)

    current = drive.parameters
    changed = (current.block_bytes, current.buffered) != (block_bytes, bool(buffered_mode))
    current.block_bytes, current.buffered = block_bytes, bool(buffered_mode)
    changed |= drive.server.mode_pages.apply(changes, nexus)
    if changed:
        drive.server.attentions.establish_all(ASC.MODE_PARAMETERS_CHANGED, but=nexus)


def _block_length(drive: TapeDrive, parameters: memoryview, at: int) -> int:
    """Return the BLOCK LENGTH of the block descriptor at `at`, checked with its density."""
    density = parameters[at]
    if density not in (_DEFAULT_DENSITY, _SAME_DENSITY, drive.media.density.code):
        raise invalid_field_in_parameter_list(at)
    block_bytes = int.from_bytes(parameters[at + 5 : at + 8], "big")
    if block_bytes > drive.personality.maximum_block_bytes:
        raise invalid_field_in_parameter_list(at + 5)
    return block_bytes
