"""Data Compression: 1Bh (SSC-5 8.2.14), and 32h, which is older and has the same numbers.

Blocks reach the local disks as they come; what is saved in the store is not this drive's to count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapectl.scsi.log_pages import LogPage, LogParameter, counter
from tapectl.scsi.ssc.log_pages.parameters import MEGABYTE
from tapectl.scsi.ssc.mode_pages import COMPRESSION_PAGE

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

_AS_IT_COMES = 100  # hundredths


def data_compression(drive: TapeDrive) -> LogPage:
    enabled = drive.server.mode_pages.bit(COMPRESSION_PAGE, 2, 7)
    parameters = [*_amounts(drive), counter(0x0100, int(enabled), 1)]
    return LogPage(0x1B, parameters, reset=drive.counters.reset)


def older_data_compression(drive: TapeDrive) -> LogPage:
    return LogPage(0x32, _amounts(drive), reset=drive.counters.reset)


def _amounts(drive: TapeDrive) -> list[LogParameter]:
    """Ratios of reading and writing; then in megabytes and the bytes beyond them what went to the
    server, came from tape, came from the server, went to tape.
    """
    moved = drive.counters.since_reset()
    read, written = divmod(moved.read_bytes, MEGABYTE), divmod(moved.written_bytes, MEGABYTE)
    amounts = [number for pair in (read, read, written, written) for number in pair]
    return [
        counter(0x0000, _AS_IT_COMES if moved.read_bytes else 0, 2),
        counter(0x0001, _AS_IT_COMES if moved.written_bytes else 0, 2),
        *(counter(0x0002 + index, number, 4) for index, number in enumerate(amounts)),
    ]
