"""The TapeAlert flags that this library can raise (SMC-3 annex A)."""

from __future__ import annotations

import enum


class LibraryAlert(enum.IntEnum):
    """Flags of media changers, by number."""

    HARDWARE_A = 1  # "having difficulty communicating with the drive"
    HARDWARE_D = 4
    DIAGNOSTICS_REQUIRED = 5
    PREDICTIVE_FAILURE = 7
    MAINTENANCE = 8
    DRIVE_OFFLINE = 22
