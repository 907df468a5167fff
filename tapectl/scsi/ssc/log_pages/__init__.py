"""The drive's log pages, made from what it counted and from its medium (SSC-5 8.2).

What could only be invented is not there, unless a client cannot do without: then it is a zero that
is true.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tapectl.scsi.log_pages import (
    LogPage,
    binary,
    tape_alert,
    tape_alert_bits,
    with_supported_lists,
)
from tapectl.scsi.ssc import introductions
from tapectl.scsi.ssc.log_pages.data_compression import data_compression, older_data_compression
from tapectl.scsi.ssc.log_pages.device_statistics import device_statistics
from tapectl.scsi.ssc.log_pages.device_status import device_status
from tapectl.scsi.ssc.log_pages.error_counters import read_errors, write_errors
from tapectl.scsi.ssc.log_pages.performance import PERFORMANCE_PAGES
from tapectl.scsi.ssc.log_pages.sequential_access import sequential_access
from tapectl.scsi.ssc.log_pages.standing import STANDING_PAGES
from tapectl.scsi.ssc.log_pages.tape_capacity import tape_capacity
from tapectl.scsi.ssc.log_pages.volume_statistics import tape_usage, volume_statistics

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

_TAPE_ALERT_RESPONSE, _TAPE_ALERT = 0x12, 0x2E


def pages(drive: TapeDrive, nexus: str) -> Mapping[tuple[int, int], LogPage]:
    """Return every page as it is now for one nexus, by page and subpage code."""
    drive.statistics.look()
    alerts = drive.alerts.flags_for(nexus)
    generation = drive.personality.generation.number
    unknown = introductions.unknown_to(generation, introductions.LOG_PAGES)
    return with_supported_lists(
        page
        for page in (
            write_errors(drive.counters),
            read_errors(drive.counters),
            sequential_access(drive),
            device_status(drive, nexus),
            LogPage(_TAPE_ALERT_RESPONSE, (binary(0x0000, tape_alert_bits(alerts)),)),
            device_statistics(drive),
            _tape_diagnostic_data(drive),
            volume_statistics(drive),
            data_compression(drive),
            tape_alert(alerts, reset=drive.alerts.clear),
            tape_usage(drive),
            tape_capacity(drive),
            older_data_compression(drive),
            *STANDING_PAGES,
            *PERFORMANCE_PAGES,
        )
        if page.code not in unknown
    )


def was_read(drive: TapeDrive, page: int, nexus: str) -> None:
    """A page was sent to a nexus: the TapeAlert page clears what it told (SSC-5 4.2.20)."""
    if page == _TAPE_ALERT:
        drive.alerts.read_by(nexus)
    elif page == _TAPE_ALERT_RESPONSE:
        drive.alerts.responded_to(nexus)


def _tape_diagnostic_data(drive: TapeDrive) -> LogPage:
    """16h: the last commands that failed for the medium's sake, the newest first."""
    entries = drive.failures.diagnostics
    return LogPage(0x16, [binary(number, entry) for number, entry in enumerate(entries)])
