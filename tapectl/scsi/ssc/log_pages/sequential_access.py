"""Sequential-Access Device: 0Ch (SSC-5 8.2.2), with what LTO drives add from 8000h on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapectl.scsi.log_pages import LogPage
from tapectl.scsi.ssc.drive_lifetime import DriveLifetime
from tapectl.scsi.ssc.log_pages.parameters import MEGABYTE, Row, counters
from tapectl.scsi.ssc.statistics import bytes_since_cleaning

if TYPE_CHECKING:
    from tapectl.scsi.ssc.counters import Transfers
    from tapectl.scsi.ssc.drive import TapeDrive

# Blocks go from the initiator to the medium as they are, so both sides count the same.
_MOVED: tuple[Row[Transfers], ...] = (
    (0x0000, 8, lambda moved: moved.written_bytes),
    (0x0001, 8, lambda moved: moved.written_bytes),
    (0x0002, 8, lambda moved: moved.read_bytes),
    (0x0003, 8, lambda moved: moved.read_bytes),
)
# Of the current partition: to end of data, to early warning, from there to its end, to the
# position; and nothing waits in a buffer.
_CAPACITY: tuple[Row[TapeDrive], ...] = (
    (0x0004, 4, lambda drive: drive.threaded_medium().used_bytes // MEGABYTE),
    (0x0005, 4, lambda drive: _to_early_warning_bytes(drive) // MEGABYTE),
    (0x0006, 4, lambda drive: _beyond_early_warning_bytes(drive) // MEGABYTE),
    (0x0007, 4, lambda drive: drive.threaded_medium().written_bytes_at_position // MEGABYTE),
    (0x0008, 4, lambda _: 0),
)
# Megabytes since the last cleaning; loads, cleanings and seconds with power in a life.
_LIFETIME: tuple[Row[DriveLifetime], ...] = (
    (0x8000, 4, lambda life: bytes_since_cleaning(life) // MEGABYTE),
    (0x8001, 4, lambda life: life.loads),
    (0x8002, 4, lambda life: life.cleanings),
    (0x8003, 4, lambda life: life.powered_s),
)
# Cleaning is never required of a drive that does not get dirty.
_CLEANING: tuple[Row[None], ...] = ((0x0100, 8, lambda _: 0),)


def sequential_access(drive: TapeDrive) -> LogPage:
    parameters = [
        *counters(_MOVED, drive.counters.since_reset()),
        *(counters(_CAPACITY, drive) if drive.medium is not None else ()),
        *counters(_CLEANING, None),
        *counters(_LIFETIME, drive.statistics.lifetime()),
    ]
    return LogPage(0x0C, parameters, reset=drive.counters.reset)


def _to_early_warning_bytes(drive: TapeDrive) -> int:
    return drive.threaded_medium().capacity_bytes - _beyond_early_warning_bytes(drive)


def _beyond_early_warning_bytes(drive: TapeDrive) -> int:
    return drive.early_warning.zone_bytes(drive)
