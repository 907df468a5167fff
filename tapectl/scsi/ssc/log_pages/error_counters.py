"""Write Error Counters and Read Error Counters: 02h and 03h (SPC-5 7.3.8, 7.3.17)."""

from __future__ import annotations

from tapectl.scsi.log_pages import LogPage
from tapectl.scsi.ssc.counters import Counters, Transfers
from tapectl.scsi.ssc.log_pages.parameters import Row, counters

# Corrected without and with delay, tries again, corrected in all, by an algorithm; bytes processed;
# not corrected. A write fails or does not; a block of which one copy is damaged is read from
# another.
_WRITE: tuple[Row[Transfers], ...] = (
    *((code, 4, lambda _: 0) for code in range(5)),
    (0x0005, 8, lambda moved: moved.written_bytes),
    (0x0006, 4, lambda moved: moved.write_errors),
)
_READ: tuple[Row[Transfers], ...] = (
    (0x0000, 4, lambda _: 0),
    (0x0001, 4, lambda moved: moved.recovered_reads),
    (0x0002, 4, lambda moved: moved.recovered_reads),
    (0x0003, 4, lambda moved: moved.recovered_reads),
    (0x0004, 4, lambda _: 0),
    (0x0005, 8, lambda moved: moved.read_bytes),
    (0x0006, 4, lambda moved: moved.read_errors),
)


def write_errors(counted: Counters) -> LogPage:
    return LogPage(0x02, counters(_WRITE, counted.since_reset()), reset=counted.reset)


def read_errors(counted: Counters) -> LogPage:
    return LogPage(0x03, counters(_READ, counted.since_reset()), reset=counted.reset)
