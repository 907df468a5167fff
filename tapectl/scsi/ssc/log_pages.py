"""The drive's log pages, made from its counters and its medium (SSC-5 8.2, 8.3).

A parameter that could only be invented (what a cartridge went through in other mounts) is not
there rather than zero.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tapectl.scsi.log_pages import (
    LogPage,
    LogParameter,
    ascii_text,
    binary,
    counter,
    tape_alert,
    tape_alert_bits,
    with_supported_lists,
)
from tapectl.scsi.ssc.mode_pages import COMPRESSION_PAGE

if TYPE_CHECKING:
    from tapectl.scsi.cartridge import Cartridge
    from tapectl.scsi.ssc.drive import TapeDrive

TAPE_ALERT = 0x2E
_MEGABYTE = 10**6
_MEBIBYTE = 1 << 20
# VHF data, byte 0: CMPR, WRTP, DINIT; byte 1: MPRSNT, MTHRD, MOUNTED (ADC-4 6.1.2).
_CMPR, _WRTP, _DINIT = 0x10, 0x08, 0x01
_MPRSNT, _MTHRD, _MOUNTED = 0x10, 0x02, 0x01


def pages(drive: TapeDrive, nexus: str) -> Mapping[tuple[int, int], LogPage]:
    """Return every page as it is now."""
    counted, reset = drive.counters.cumulative(), drive.counters.reset
    return with_supported_lists(
        (
            LogPage(0x02, _error_counters(counted.write_errors), reset=reset),
            LogPage(0x03, _error_counters(counted.read_errors), reset=reset),
            LogPage(0x0C, _sequential_access(drive), reset=reset),
            LogPage(0x11, (_very_high_frequency_data(drive), counter(0x0001, 0, 2))),
            LogPage(0x12, (binary(0x0000, tape_alert_bits(drive.alerts.flags_for(nexus))),)),
            LogPage(0x17, _volume_statistics(drive)),
            LogPage(0x1B, _data_compression(drive), reset=reset),
            tape_alert(drive.alerts.flags_for(nexus)),
            LogPage(0x31, _tape_capacity(drive.medium)),
        )
    )


def was_read(drive: TapeDrive, page: int, nexus: str) -> None:
    """A page was sent to a nexus: the TapeAlert page clears what it told (SSC-5 4.2.20)."""
    if page == TAPE_ALERT:
        drive.alerts.read_by(nexus)


def _error_counters(uncorrected: int) -> list[LogParameter]:
    """02h, 03h: an error is detected by its checksum, and none can be corrected."""
    return [*(counter(code, 0, 4) for code in range(6)), counter(0x0006, uncorrected, 4)]


def _sequential_access(drive: TapeDrive) -> list[LogParameter]:
    """0Ch: bytes to and from initiators, and the same to and from the medium."""
    moved = drive.counters.cumulative()
    return [
        counter(0x0000, moved.written_bytes, 8),
        counter(0x0001, moved.written_bytes, 8),
        counter(0x0002, moved.read_bytes, 8),
        counter(0x0003, moved.read_bytes, 8),
        counter(0x0100, 0, 8),  # cleaning is never required
    ]


def _very_high_frequency_data(drive: TapeDrive) -> LogParameter:
    """11h, 0000h: no activity, since commands run one at a time."""
    first = _DINIT
    if drive.server.mode_pages.bit(COMPRESSION_PAGE, 2, 7):
        first |= _CMPR
    second = _MPRSNT if drive.cartridge is not None else 0
    if drive.medium is not None:
        second |= _MTHRD | _MOUNTED
        if drive.medium.write_protected:
            first |= _WRTP
    return binary(0x0000, bytes((first, second, 0, 0)))


def _volume_statistics(drive: TapeDrive) -> list[LogParameter]:
    """17h, of the mounted volume; page valid (0000h) is clear without one."""
    medium = drive.medium
    if medium is None:
        return [counter(0x0000, 0, 1)]
    mounted = drive.counters.mounted
    capacity, used = medium.capacity_bytes // _MEGABYTE, medium.used_bytes // _MEGABYTE
    return [
        counter(0x0000, 1, 1),
        counter(0x000C, mounted.write_errors, 2),
        counter(0x000D, mounted.read_errors, 2),
        counter(0x000E, mounted.written_bytes // _MEGABYTE, 4),
        counter(0x000F, mounted.read_bytes // _MEGABYTE, 4),
        counter(0x0016, capacity, 4),
        counter(0x0017, used, 4),
        ascii_text(0x0040, medium.barcode, 32),
        ascii_text(0x0042, medium.barcode, 32),
        counter(0x0080, int(medium.write_protected), 1),
        counter(0x0081, int(medium.worm), 1),
        _of_partition(0x0202, capacity),
        _of_partition(0x0203, used),
        _of_partition(0x0204, max(capacity - used, 0)),
    ]


def _of_partition(code: int, megabytes: int) -> LogParameter:
    """A list of partition records, with the one of partition 0."""
    return binary(code, struct.pack(">BxHI", 7, 0, min(megabytes, 0xFFFFFFFF)))


def _data_compression(drive: TapeDrive) -> list[LogParameter]:
    """1Bh: ratios in hundredths. Blocks reach the local disks as they come; what is saved in the
    store is not this drive's to count.
    """
    moved = drive.counters.cumulative()
    read, written = divmod(moved.read_bytes, _MEGABYTE), divmod(moved.written_bytes, _MEGABYTE)
    enabled = drive.server.mode_pages.bit(COMPRESSION_PAGE, 2, 7)
    pairs = (read, read, written, written)  # to server, from tape, from server, to tape
    return [
        counter(0x0000, 100, 2),
        counter(0x0001, 100, 2),
        *(counter(2 + i, value, 4) for i, value in enumerate(n for pair in pairs for n in pair)),
        counter(0x0100, int(enabled), 1),
    ]


def _tape_capacity(medium: Cartridge | None) -> list[LogParameter]:
    """31h, in MiB: what remains and what there is, of the main and of the absent partition."""
    capacity = medium.capacity_bytes if medium is not None else 0
    used = medium.used_bytes if medium is not None else 0
    return [
        counter(0x0001, max(capacity - used, 0) // _MEBIBYTE, 4),
        counter(0x0002, 0, 4),
        counter(0x0003, capacity // _MEBIBYTE, 4),
        counter(0x0004, 0, 4),
    ]
