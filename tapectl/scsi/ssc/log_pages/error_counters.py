"""Write Error Counters and Read Error Counters: 02h and 03h (SPC-5 7.3.8, 7.3.17)."""

from __future__ import annotations

from tapectl.scsi.log_pages import LogPage, LogParameter, counter
from tapectl.scsi.ssc.counters import Counters

_BYTES_PROCESSED, _UNCORRECTED = 0x0005, 0x0006


def write_errors(counters: Counters) -> LogPage:
    moved = counters.since_reset()
    parameters = _parameters(moved.written_bytes, moved.write_errors)
    return LogPage(0x02, parameters, reset=counters.reset)


def read_errors(counters: Counters) -> LogPage:
    moved = counters.since_reset()
    return LogPage(0x03, _parameters(moved.read_bytes, moved.read_errors), reset=counters.reset)


def _parameters(processed_bytes: int, uncorrected: int) -> list[LogParameter]:
    """An error is found by a checksum, and there is nothing to correct it with: with delay or
    without, by rewriting or by an algorithm, none is.
    """
    return [
        *(counter(code, 0, 4) for code in range(_BYTES_PROCESSED)),
        counter(_BYTES_PROCESSED, processed_bytes, 8),
        counter(_UNCORRECTED, uncorrected, 4),
    ]
