"""Generations of LTO media, as data: what a cartridge is, whichever drive it is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

CLEANINGS = 50
"""How often a universal cleaning cartridge cleans before it is expired."""

_TERABYTE = 10**12


@dataclass(frozen=True, slots=True, kw_only=True)
class Density:
    """One density as REPORT DENSITY SUPPORT tells it (SSC-5 7.11)."""

    code: int
    bits_per_mm: int
    media_width_tenths_mm: int = 127
    tracks: int
    nominal_capacity_bytes: int
    assigning_organization: str = "LTO-CVE"
    name: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumGeneration:
    """One generation of media.

    `medium_type` and `worm_medium_type` are the MEDIUM TYPE of mode parameter headers, the latter
    None where there are no WORM media. `encrypts`: blocks can be encrypted on it. `partitions` is
    how many a volume may have, `length_m` the length of the tape in metres.
    """

    number: int
    medium_type: int
    worm_medium_type: int | None
    encrypts: bool
    length_m: int
    partitions: int
    density: Density

    @property
    def worm(self) -> bool:
        """Whether there are media of this generation that can be written once only."""
        return self.worm_medium_type is not None

    @property
    def name(self) -> str:
        """`LTO-8`."""
        return f"LTO-{self.number}"


# Densities as drives report them (IBM's SCSI References GA32-0450 and GA32-0928, Quantum's manual
# of LTO-3 and 4).
# fmt: off
_ROWS = (
    # number, type, WORM, encryption, metres, partitions,
    #     density code, bits/mm, tracks, terabytes, name, format
    (1, 0x18, None, False,  609, 1, 0x40,  4880,  384,  0.1, "U-18",  "Ultrium 1/8T"),
    (2, 0x28, None, False,  609, 1, 0x42,  7398,  512,  0.2, "U-28",  "Ultrium 2/8T"),
    (3, 0x38, 0x3C, False,  680, 1, 0x44,  9638,  704,  0.4, "U-316", "Ultrium 3/16T"),
    (4, 0x48, 0x4C, True,   820, 1, 0x46, 12725,  896,  0.8, "U-416", "Ultrium 4/16T"),
    (5, 0x58, 0x5C, True,   846, 2, 0x58, 15142, 1280,  1.5, "U-516", "Ultrium 5/16T"),
    (6, 0x68, 0x6C, True,   846, 4, 0x5A, 15142, 2176,  2.5, "U-616", "Ultrium 6/16T"),
    (7, 0x78, 0x7C, True,   960, 4, 0x5C, 19107, 3584,  6.0, "U-732", "Ultrium 7/32T"),
    (8, 0x88, 0x8C, True,   960, 4, 0x5E, 20669, 6656, 12.0, "U-832", "Ultrium 8/32T"),
    (9, 0x98, 0x9C, True,  1035, 4, 0x60, 21459, 8960, 18.0, "U-932", "Ultrium 9/32T"),
    (10, 0xA8, 0xAC, True, 1035, 4, 0x62, 21657, 15104, 30.0, "U-1032", "Ultrium 10/32T"),
)
# fmt: on

LTO_MEDIA: Mapping[int, MediumGeneration] = MappingProxyType(
    {
        number: MediumGeneration(
            number=number,
            medium_type=medium_type,
            worm_medium_type=worm_medium_type,
            encrypts=encrypts,
            length_m=length_m,
            partitions=partitions,
            density=Density(
                code=code,
                bits_per_mm=bits_per_mm,
                tracks=tracks,
                nominal_capacity_bytes=round(terabytes * _TERABYTE),
                name=name,
                description=description,
            ),
        )
        for (
            number,
            medium_type,
            worm_medium_type,
            encrypts,
            length_m,
            partitions,
            code,
            bits_per_mm,
            tracks,
            terabytes,
            name,
            description,
        ) in _ROWS
    }
)
"""The generations that a cartridge can have, by number."""
