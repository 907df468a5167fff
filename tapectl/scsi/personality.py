"""Identities that a tape drive takes on, as data: a new one is a row, never a branch."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from tapectl.scsi.media import LTO_MEDIA, Density, MediumGeneration


class Access(enum.Enum):
    """What a drive can do with media of a generation."""

    READ_WRITE = "read and write"
    READ_ONLY = "read only"
    TOO_OLD = "no longer readable"
    TOO_NEW = "not known yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveGeneration:
    """What every drive of an LTO generation has, whoever made it.

    `writes` and `reads` are generations of media; what it writes it reads. `protection_methods`
    are those of logical block protection: 1 Reed-Solomon CRC, 2 CRC32C (SSC-5 8.4.9).
    """

    number: int
    writes: Sequence[int]
    reads: Sequence[int]
    protection_methods: Sequence[int]

    def access(self, generation: int) -> Access:
        """Return what the drive can do with media of a generation."""
        if generation in self.writes:
            return Access.READ_WRITE
        if generation in self.reads:
            return Access.READ_ONLY
        return Access.TOO_NEW if generation > self.number else Access.TOO_OLD


@dataclass(frozen=True, slots=True)
class VendorPage:
    """A vendor-specific VPD page, of text or of `data` as it is.

    `fields` are (text, bytes), filled up with blanks; `{revision}` and `{serial}` in a text stand
    for the drive's own.
    """

    code: int
    fields: Sequence[tuple[str, int]] = ()
    data: bytes = b""


class MediumTypes(NamedTuple):
    """MEDIUM TYPE of a maker that tells data from WORM media, and no generations."""

    data: int
    worm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DrivePersonality:
    """A tape drive's identity and limits. Without `medium_types` those of the media count."""

    name: str
    vendor: str
    product: str
    revision: str
    generation: DriveGeneration
    vendor_pages: Sequence[VendorPage] = ()
    medium_types: MediumTypes | None = None
    inquiry_vendor_bytes: bytes = bytes(20)
    minimum_block_bytes: int = 1
    maximum_block_bytes: int = 8 << 20

    @property
    def native_medium(self) -> MediumGeneration:
        """The media that the drive is made for."""
        return LTO_MEDIA[self.generation.number]

    @property
    def density(self) -> Density:
        """The density of the media that the drive is made for."""
        return self.native_medium.density

    @property
    def media(self) -> Sequence[MediumGeneration]:
        """Every generation of media that the drive reads, oldest first."""
        readable = {*self.generation.reads, *self.generation.writes}
        return [LTO_MEDIA[number] for number in sorted(readable)]

    def medium_type(self, medium: MediumGeneration, *, worm: bool) -> int:
        """Return what the drive calls media of a generation in MEDIUM TYPE."""
        if self.medium_types is not None:
            return self.medium_types.worm if worm else self.medium_types.data
        if worm and medium.worm_medium_type is not None:
            return medium.worm_medium_type
        return medium.medium_type


_REED_SOLOMON, _CRC32C = 1, 2

# fmt: off
_LTO = {
    number: DriveGeneration(
        number=number, writes=writes, reads=reads, protection_methods=protection_methods
    )
    for number, writes, reads, protection_methods in (
        (1, (1,), (1,),        ()),
        (2, (1, 2), (1, 2),    ()),
        (3, (2, 3), (1, 2, 3), ()),
        (4, (3, 4), (2, 3, 4), ()),
        (5, (4, 5), (3, 4, 5), (_REED_SOLOMON,)),
        (6, (5, 6), (4, 5, 6), (_REED_SOLOMON,)),
        (7, (6, 7), (5, 6, 7), (_REED_SOLOMON, _CRC32C)),
        (8, (7, 8), (7, 8),    (_REED_SOLOMON, _CRC32C)),
        (9, (8, 9), (8, 9),    (_REED_SOLOMON, _CRC32C)),
        (10, (10,), (10,),     (_REED_SOLOMON, _CRC32C)),
    )
}
# fmt: on

# Firmware: name of the code, time and date of the build, platform. Serial numbers: the maker's
# and the reported one.
_IBM_PAGES = (
    VendorPage(0xC0, (("{revision}", 12), ("", 7), ("", 8), ("", 12))),
    VendorPage(0xC1, (("{serial}", 12), ("{serial}", 12))),
)


def _hp_pages(*components: str) -> Sequence[VendorPage]:
    """HP's pages from C0h on: component, version, date, variant."""
    return tuple(
        VendorPage(
            0xC0 + number,
            ((component, 26), ("{revision}" if number == 0 else "", 19), ("", 24), ("", 23)),
        )
        for number, component in enumerate(components)
    )


_HP_PAGES = _hp_pages("Firmware", "Hardware", "PCA", "Mechanism", "Head Assy", "ACI")
_HPE_PAGES = _hp_pages("Firmware", "Hardware", "PCA", "Mechanism", "Head Assy")
_MEDIUM_TYPES = {vendor: MediumTypes(data=0x00, worm=0x01) for vendor in ("HP", "HPE")}

# LTFS reads the revision as a number: it wants at least B170 of a TD5 or HH5, HB81 of a TD8 or HH8.
# fmt: off
_ROWS = (
    # name               vendor  product            revision generation pages
    ("IBM-ULT3580-TD1",  "IBM",  "ULT3580-TD1",     "22UD",  1, _IBM_PAGES),
    ("IBM-ULT3580-TD2",  "IBM",  "ULT3580-TD2",     "333K",  2, _IBM_PAGES),
    ("IBM-ULT3580-TD3",  "IBM",  "ULT3580-TD3",     "4C17",  3, _IBM_PAGES),
    ("IBM-ULT3580-TD4",  "IBM",  "ULT3580-TD4",     "C7QH",  4, _IBM_PAGES),
    ("IBM-ULT3580-TD5",  "IBM",  "ULT3580-TD5",     "H5A1",  5, _IBM_PAGES),
    ("IBM-ULT3580-TD6",  "IBM",  "ULT3580-TD6",     "J451",  6, _IBM_PAGES),
    ("IBM-ULT3580-TD7",  "IBM",  "ULT3580-TD7",     "P370",  7, _IBM_PAGES),
    ("IBM-ULT3580-TD8",  "IBM",  "ULT3580-TD8",     "PA11",  8, _IBM_PAGES),
    ("IBM-ULT3580-TD9",  "IBM",  "ULT3580-TD9",     "R3G3",  9, _IBM_PAGES),
    ("IBM-ULT3580-TDA",  "IBM",  "ULT3580-TDA",     "S57A", 10, _IBM_PAGES),
    ("IBM-ULT3580-HH5",  "IBM",  "ULT3580-HH5",     "H5A1",  5, _IBM_PAGES),
    ("IBM-ULT3580-HH6",  "IBM",  "ULT3580-HH6",     "J451",  6, _IBM_PAGES),
    ("IBM-ULT3580-HH7",  "IBM",  "ULT3580-HH7",     "P370",  7, _IBM_PAGES),
    ("IBM-ULT3580-HH8",  "IBM",  "ULT3580-HH8",     "PA11",  8, _IBM_PAGES),
    ("IBM-ULT3580-HH9",  "IBM",  "ULT3580-HH9",     "R3G3",  9, _IBM_PAGES),
    ("IBM-ULT3580-HHA",  "IBM",  "ULT3580-HHA",     "S57A", 10, _IBM_PAGES),
    ("HP-Ultrium-1",     "HP",   "Ultrium 1-SCSI",  "E30W",  1, _HP_PAGES),
    ("HP-Ultrium-2",     "HP",   "Ultrium 2-SCSI",  "F38W",  2, _HP_PAGES),
    ("HP-Ultrium-3",     "HP",   "Ultrium 3-SCSI",  "G27D",  3, _HP_PAGES),
    ("HP-Ultrium-4",     "HP",   "Ultrium 4-SCSI",  "B35Z",  4, _HP_PAGES),
    ("HP-Ultrium-5",     "HP",   "Ultrium 5-SCSI",  "Z64D",  5, _HP_PAGES),
    ("HP-Ultrium-6",     "HP",   "Ultrium 6-SCSI",  "35GD",  6, _HP_PAGES),
    ("HP-Ultrium-7",     "HP",   "Ultrium 7-SCSI",  "G9Q1",  7, _HP_PAGES),
    ("HPE-Ultrium-8",    "HPE",  "Ultrium 8-SCSI",  "P383",  8, _HPE_PAGES),
    ("HPE-Ultrium-9",    "HPE",  "Ultrium 9-SCSI",  "R3G3",  9, _HPE_PAGES),
    ("HPE-Ultrium-10",   "HPE",  "Ultrium 10-SCSI", "S57A", 10, _HPE_PAGES),
    ("Quantum-HH5",      "QUANTUM", "ULTRIUM-HH5",  "H5A1",  5, _IBM_PAGES),
    ("Quantum-HH6",      "QUANTUM", "ULTRIUM-HH6",  "J451",  6, _IBM_PAGES),
    ("Quantum-HH7",      "QUANTUM", "ULTRIUM-HH7",  "P370",  7, _IBM_PAGES),
    ("Quantum-HH8",      "QUANTUM", "ULTRIUM-HH8",  "PA11",  8, _IBM_PAGES),
    ("Quantum-HH9",      "QUANTUM", "ULTRIUM-HH9",  "R3G3",  9, _IBM_PAGES),
)
# fmt: on

DRIVE_PERSONALITIES: Mapping[str, DrivePersonality] = MappingProxyType(
    {
        name: DrivePersonality(
            name=name,
            vendor=vendor,
            product=product,
            revision=revision,
            generation=_LTO[generation],
            vendor_pages=pages,
            medium_types=_MEDIUM_TYPES.get(vendor),
        )
        for name, vendor, product, revision, generation, pages in _ROWS
    }
)
