"""DT Device Status: 11h, what an automation device would poll for (ADC-4 6.1.2, SSC-5 8.2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapectl.scsi.log_pages import LogPage, LogParameter, binary, counter
from tapectl.scsi.ssc.mode_pages import COMPRESSION_PAGE

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

# Very high frequency data, byte 0.
_PAMR, _MACC, _CMPR, _WRTP, _DINIT = 0x80, 0x20, 0x10, 0x08, 0x01
# Byte 1.
_RAA, _MPRSNT, _MSTD, _MTHRD, _MOUNTED = 0x20, 0x10, 0x04, 0x02, 0x01
# Byte 2. Commands run one at a time, so LOG SENSE finds the drive doing nothing else.
_NO_ACTIVITY = 0
# Byte 3.
_TAFC = 0x01
_POLLING_DELAY_MS = 500


def device_status(drive: TapeDrive, nexus: str) -> LogPage:
    parameters = (
        _very_high_frequency_data(drive, nexus),
        counter(0x0001, _POLLING_DELAY_MS, 2),
        # ADC data encryption control: there is no automation port that it could come from.
        binary(0x0002, bytes(8)),
        # Key management error data: none.
        binary(0x0003, bytes(12)),
    )
    return LogPage(0x11, parameters)


def _very_high_frequency_data(drive: TapeDrive, nexus: str) -> LogParameter:
    first = _DINIT
    second = 0
    if drive.removal_prevented:
        first |= _PAMR
    else:
        second |= _RAA
    if drive.server.mode_pages.bit(COMPRESSION_PAGE, 2, 7):
        first |= _CMPR
    if drive.cartridge is not None:
        second |= _MPRSNT | _MSTD
    if drive.medium is not None:
        first |= _MACC
        second |= _MTHRD | _MOUNTED
        if drive.medium.write_protected:
            first |= _WRTP
    fourth = _TAFC if drive.alerts.changed_for(nexus) else 0
    return binary(0x0000, bytes((first, second, _NO_ACTIVITY, fourth)))
