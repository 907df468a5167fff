"""The drive's mode pages, and the header and block descriptor before them (SSC-5 8.4)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tapectl.scsi.device_server import ModeHeader, ModeSelection
from tapectl.scsi.informational_exceptions import exceptions_page, run_alert_test
from tapectl.scsi.mode_pages import ModePage, page
from tapectl.scsi.sense import invalid_field_in_parameter_list
from tapectl.scsi.ssc.alerts import TapeAlert
from tapectl.scsi.ssc.block_protection import control_data_protection
from tapectl.scsi.ssc.compatibility import read_only
from tapectl.scsi.ssc.partitions import medium_partition_page

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

COMPRESSION_PAGE = (0x0F, 0x00)
DEVICE_CONFIGURATION_EXTENSION_PAGE = (0x10, 0x01)
# In the body of page 10h.
_ACTIVE_PARTITION, _COMPRESSION_ALGORITHM = 1, 12
_APPEND_ONLY = 1  # WRITE MODE
# SHORT ERASE MODE; the other two, 0h and 2h, make the position end of data.
_SHORT_ERASE_WITHOUT_EFFECT, _SHORT_ERASE_MODES = 1, 3
_MEGABYTE = 10**6
_DEFAULT_DENSITY, _SAME_DENSITY = 0x00, 0x7F
_WORM_MODE = 0x01


def drive_mode_pages(drive: TapeDrive) -> Sequence[ModePage]:
    """Return the pages of a drive; what the medium decides is looked up when they are read."""

    def medium_configuration(body: bytes) -> bytes:
        worm = drive.medium is not None and drive.medium.worm
        return bytes((_WORM_MODE if worm else 0,)) + body[1:]

    def device_configuration(body: bytes) -> bytes:
        partition = drive.medium.partition if drive.medium is not None else 0
        compresses = drive.server.mode_pages.bit(COMPRESSION_PAGE, 2, 7)
        shown = bytearray(body)
        shown[_ACTIVE_PARTITION], shown[_COMPRESSION_ALGORITHM] = partition, compresses
        return bytes(shown)

    return (
        # Read-Write Error Recovery; PER decides whether recovered errors are reported
        page(0x01, "00 00 00000000 00 000000", "04 00 00000000 00 000000"),
        # Disconnect-Reconnect: no limits, bursts are negotiated for each session (RFC 7143 13)
        page(0x02, "0000 0000 0000 0000 0000 00 000000", shortest=10),
        # Control: GLTSD, for no log parameter is saved; D_SENSE can be chosen
        page(0x0A, "02 00 00 00 0000 0000 0000", "04 00 00 00 0000 0000 0000", shortest=6),
        # Control Extension: TCMOS, SCSIP: the clock goes right by itself, but SET TIMESTAMP decides
        page(0x0A, "06 00 00" + "00" * 25, subpage=0x01),
        control_data_protection(drive.personality.generation.protection_methods),
        # Data Compression: DCE, DCC, DDE; algorithm 1 or, with DCE clear, none
        page(
            0x0F,
            "c0 80 00000001 00000001 00000000",
            "80 80 000000ff 000000ff 00000000",
        ),
        # Device Configuration: LOIS; EEG. The active partition and whether it compresses are shown
        ModePage(
            0x10,
            bytes.fromhex("00 00 00 00 0000 40 00 10 000000 01 00"),
            bytes.fromhex("00 00 00 00 ffff 00 00 00 000000 00 00"),
            overlay=device_configuration,
            shortest=14,
        ),
        # Device Configuration Extension: WRITE MODE, SHORT ERASE MODE, PEWS
        ModePage(
            *DEVICE_CONFIGURATION_EXTENSION_PAGE[:1],
            bytes(28),
            bytes.fromhex("00 ff ffff") + bytes(24),
            DEVICE_CONFIGURATION_EXTENSION_PAGE[1],
            check=_check_device_configuration_extension,
        ),
        medium_partition_page(drive),
        # Power Condition: there is none but active
        page(0x1A, "00" * 38, shortest=10),
        exceptions_page(
            lambda flag: run_alert_test(flag, drive.alerts, TapeAlert, drive.server.exceptions)
        ),
        # Medium Configuration: WORMM; labels and filemarks of WORM media as LTO restricts them
        ModePage(0x1D, bytes(2) + b"\x01\x02" + bytes(26), bytes(30), 0, medium_configuration),
    )


def _check_device_configuration_extension(body: bytes, at: int) -> None:
    if body[1] >> 4 > _APPEND_ONLY or body[1] & 0x0F >= _SHORT_ERASE_MODES:
        raise invalid_field_in_parameter_list(at + 1)


def device_configuration_extension(drive: TapeDrive) -> tuple[bool, int]:
    """Return whether WRITE MODE is append-only, and PEWS in bytes."""
    body = drive.server.mode_pages.value(DEVICE_CONFIGURATION_EXTENSION_PAGE, "")
    return body[1] >> 4 == _APPEND_ONLY, int.from_bytes(body[2:4], "big") * _MEGABYTE


def short_erase_has_no_effect(drive: TapeDrive) -> bool:
    """Return whether SHORT ERASE MODE of the same page says that an ERASE leaves the medium be."""
    body = drive.server.mode_pages.value(DEVICE_CONFIGURATION_EXTENSION_PAGE, "")
    return body[1] & 0x0F == _SHORT_ERASE_WITHOUT_EFFECT


def encode_mode_header(drive: TapeDrive) -> ModeHeader:
    """Return the header of a mode parameter list as it is now."""
    medium = drive.medium
    medium_type = 0
    write_protected = False
    if medium is not None:
        medium_type = drive.personality.medium_type(drive.media, worm=medium.worm)
        write_protected = medium.write_protected or read_only(drive.personality, medium)
    parameters = drive.parameters
    return ModeHeader(
        medium_type,
        write_protected << 7 | parameters.buffered << 4,
        struct.pack(">B3xI", drive.media.density.code, parameters.block_bytes),
    )


def select_mode_header(drive: TapeDrive, selection: ModeSelection) -> Callable[[], bool]:
    """Check buffered mode, speed (which is not looked at) and block descriptor of MODE SELECT.

    Returns what sets them, and then tells whether they are others than before.
    """
    buffered_mode = selection.device_specific >> 4 & 0x07
    if buffered_mode > 1:
        raise invalid_field_in_parameter_list(selection.device_specific_at, 6)
    parameters = drive.parameters
    block_bytes = parameters.block_bytes
    if selection.block_descriptor:
        block_bytes = _block_length(drive, selection)
    selected = (block_bytes, bool(buffered_mode))

    def select() -> bool:
        changed = (parameters.block_bytes, parameters.buffered) != selected
        parameters.block_bytes, parameters.buffered = selected
        return changed

    return select


def _block_length(drive: TapeDrive, selection: ModeSelection) -> int:
    """Return the BLOCK LENGTH of a block descriptor, checked with its density."""
    descriptor, at = selection.block_descriptor, selection.block_descriptor_at
    density = descriptor[0]
    if density not in (_DEFAULT_DENSITY, _SAME_DENSITY, drive.media.density.code):
        raise invalid_field_in_parameter_list(at)
    block_bytes = int.from_bytes(descriptor[5:8], "big")
    if block_bytes > drive.personality.maximum_block_bytes:
        raise invalid_field_in_parameter_list(at + 5)
    return block_bytes
