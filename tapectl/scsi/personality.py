"""Identities that a tape drive takes on, as data: a new one is a row, never a branch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Density:
    """One density as REPORT DENSITY SUPPORT tells it (SSC-5 7.11)."""

    code: int
    bits_per_mm: int
    media_width_tenths_mm: int
    tracks: int
    nominal_capacity_bytes: int
    assigning_organization: str
    name: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DrivePersonality:
    """A tape drive's identity and limits."""

    name: str
    vendor: str
    product: str
    revision: str
    density: Density
    medium_type: int
    worm_medium_type: int
    minimum_block_bytes: int = 1
    maximum_block_bytes: int


_LTO5 = Density(
    code=0x58,
    bits_per_mm=15142,
    media_width_tenths_mm=127,
    tracks=1280,
    nominal_capacity_bytes=1_500_000_000_000,
    assigning_organization="LTO-CVE",
    name="U-516",
    description="Ultrium 5/16T",
)

DRIVE_PERSONALITIES: Mapping[str, DrivePersonality] = MappingProxyType(
    {
        "IBM-ULT3580-TD5": DrivePersonality(
            name="IBM-ULT3580-TD5",
            vendor="IBM",
            product="ULT3580-TD5",
            # LTFS refuses a TD5 whose firmware compares lower than B170.
            revision="H5A1",
            density=_LTO5,
            medium_type=0x58,
            worm_medium_type=0x5C,
            maximum_block_bytes=8 << 20,
        ),
    }
)
