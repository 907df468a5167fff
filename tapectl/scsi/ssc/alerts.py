"""The TapeAlert flags of a tape drive, and what activates and clears them (SSC-5 annex A)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType


class TapeAlert(enum.IntEnum):
    """The flags that something in this drive or behind it can activate."""

    READ_WARNING = 1
    WRITE_WARNING = 2
    HARD_ERROR = 3
    MEDIA = 4
    READ_FAILURE = 5
    WRITE_FAILURE = 6
    WRITE_PROTECT = 9
    NO_REMOVAL = 10
    CLEANING_MEDIA = 11
    UNSUPPORTED_FORMAT = 12
    MEMORY_CHIP_IN_CARTRIDGE_FAILURE = 15
    READ_ONLY_FORMAT = 17
    EXPIRED_CLEANING_MEDIA = 22
    HARDWARE_B = 31
    PREDICTIVE_FAILURE = 38
    DIAGNOSTICS_REQUIRED = 39
    LOST_STATISTICS = 50
    WORM_MEDIUM_OVERWRITE_ATTEMPTED = 60


# What is wrong with the drive and with what it stands on stays when the cartridge changes; of
# all others the annex says "start of next medium load".
CLEARED_BY_LOAD = frozenset(TapeAlert) - {
    TapeAlert.WRITE_WARNING,
    TapeAlert.HARDWARE_B,
    TapeAlert.PREDICTIVE_FAILURE,
    TapeAlert.DIAGNOSTICS_REQUIRED,
    TapeAlert.LOST_STATISTICS,
}

# Sense key and additional sense code (with its qualifier; None: any) of a failed command.
# A block that can be read nowhere, or is not what was written, is the medium's fault: on this
# drive the medium is the disks and the store. A disk that refuses a write may be the drive's.
_FLAGS_BY_SENSE: Mapping[tuple[int, int, int | None], tuple[TapeAlert, ...]] = MappingProxyType(
    {
        (0x3, 0x11, None): (TapeAlert.HARD_ERROR, TapeAlert.MEDIA, TapeAlert.READ_FAILURE),
        (0x3, 0x0C, None): (TapeAlert.HARD_ERROR, TapeAlert.WRITE_FAILURE),
        (0x5, 0x53, 0x02): (TapeAlert.NO_REMOVAL,),
        (0x7, 0x27, None): (TapeAlert.WRITE_PROTECT,),
        (0x7, 0x30, 0x05): (TapeAlert.READ_ONLY_FORMAT,),
        (0x7, 0x30, 0x0C): (TapeAlert.WORM_MEDIUM_OVERWRITE_ATTEMPTED,),
    }
)


def flags_of_sense(key: int, asc: int, ascq: int) -> tuple[TapeAlert, ...]:
    """Return the flags that a command activates when it fails with this sense."""
    exact = _FLAGS_BY_SENSE.get((key, asc, ascq))
    return exact if exact is not None else _FLAGS_BY_SENSE.get((key, asc, None), ())
