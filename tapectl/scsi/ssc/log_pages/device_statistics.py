"""Device Statistics: 14h (SSC-5 8.2.8).

Hours of media motion and metres of tape are not there: nothing moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapectl.scsi.log_pages import LogPage, ascii_text, counter
from tapectl.scsi.ssc.drive_lifetime import DriveLifetime
from tapectl.scsi.ssc.log_pages.parameters import Row, counters

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

_HOUR_S = 3600

_LIFETIME: tuple[Row[DriveLifetime], ...] = (
    (0x0000, 4, lambda life: life.loads),
    (0x0001, 4, lambda life: life.cleanings),
    (0x0002, 4, lambda life: life.powered_s // _HOUR_S),
)
_EVENTS: tuple[Row[DriveLifetime], ...] = (
    (0x000E, 4, lambda life: life.moved.write_errors),
    (0x000F, 4, lambda life: life.moved.read_errors),
)


def device_statistics(drive: TapeDrive) -> LogPage:
    lifetime = drive.statistics.lifetime()
    serial = drive.server.identity.serial
    parameters = [
        *counters(_LIFETIME, lifetime),
        counter(0x000C, lifetime.power_ons, 4),
        counter(0x000D, drive.counters.loads, 4),
        *counters(_EVENTS, lifetime),
        ascii_text(0x0040, serial, len(serial)),
        ascii_text(0x0041, serial, len(serial)),
        counter(0x0080, int(drive.removal_prevented), 1),
    ]
    return LogPage(0x14, parameters, reset=drive.counters.reset)
