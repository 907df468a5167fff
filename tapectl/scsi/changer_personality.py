"""Identities that a media changer takes on, as data: a new one is a row, never a branch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tapectl.scsi.library import ElementRange, ElementType

# Element addresses are 16 bits wide (SMC-3 4.2).
_ADDRESSES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangerPersonality:
    """A media changer's identity and where its elements begin.

    `first` holds the base address of each element type in the real library. Where there are more
    elements than it has room for, those of `beyond` begin there instead. `inquiry_vendor_bytes`
    are bytes 36 to 55 of standard INQUIRY data. `serial_tells_first_slot`: the serial number has
    12 characters and the address of the first storage element, 4 hexadecimal digits.
    `volume_tag_characters` is how long the barcodes are that it reads.
    """

    name: str
    vendor: str
    product: str
    revision: str
    first: Mapping[ElementType, int]
    beyond: Mapping[ElementType, int]
    inquiry_vendor_bytes: bytes = bytes(20)
    serial_tells_first_slot: bool = False
    volume_tag_characters: int = 16

    def ranges(self, drives: int, slots: int, import_export: int) -> tuple[ElementRange, ...]:
        """Return the four address ranges, by ascending element type code.

        Raises ValueError where two of them would overlap or leave the 16-bit address space.
        """
        counts = {
            ElementType.MEDIUM_TRANSPORT: 1,
            ElementType.STORAGE: slots,
            ElementType.IMPORT_EXPORT: import_export,
            ElementType.DATA_TRANSFER: drives,
        }
        ranges = tuple(
            ElementRange(kind, self._base(kind, counts[kind]), counts[kind]) for kind in ElementType
        )
        end = 0
        for span in sorted(ranges, key=lambda span: span.first):
            if span.first < end or span.first + span.count > _ADDRESSES:
                raise ValueError(
                    f"{self.name} cannot address {drives} drives, {slots} slots and"
                    f" {import_export} import/export slots: no room at {span.first}"
                )
            end = span.first + span.count
        return ranges

    def _base(self, kind: ElementType, count: int) -> int:
        """Return where the elements of a type begin: as in the real library if they fit there."""
        base = self.first[kind]
        next_base = min((at for at in self.first.values() if at > base), default=_ADDRESSES)
        return base if base + count <= next_base else self.beyond.get(kind, base)

    def unit_serial(self, serial: str, first_slot: int) -> str:
        """Return the serial number as this changer tells it in VPD pages 80h and 83h."""
        return f"{serial:0>12}{first_slot:04x}" if self.serial_tells_first_slot else serial


def _bases(transport: int, drives: int, slots: int, mail: int) -> Mapping[ElementType, int]:
    return MappingProxyType(
        {
            ElementType.MEDIUM_TRANSPORT: transport,
            ElementType.STORAGE: slots,
            ElementType.IMPORT_EXPORT: mail,
            ElementType.DATA_TRANSFER: drives,
        }
    )


# Real libraries have a few dozen import/export elements, AWS has 1,600: the largest number of
# storage elements ends below 20000 in each of them.
_MANY_MAIL = MappingProxyType({ElementType.IMPORT_EXPORT: 20000})
# Byte 55, bit 0: a bar code scanner is installed.
_BAR_CODE_SCANNER = bytes(19) + b"\x01"

# AWS-Gateway-VTL is as AWS documents it; the others are as the real libraries come.
_ROWS = (
    ChangerPersonality(
        name="AWS-Gateway-VTL",
        vendor="AWS",
        product="Gateway-VTL",
        revision="0100",
        first=_bases(transport=0, drives=10000, slots=20000, mail=30000),
        beyond={},
    ),
    ChangerPersonality(
        name="STK-L700",
        vendor="STK",
        product="L700",
        revision="0310",
        first=_bases(transport=1, drives=500, slots=1000, mail=10),
        beyond=_MANY_MAIL,
    ),
    ChangerPersonality(
        name="IBM-03584L32-0402",
        vendor="IBM",
        product="03584L32",
        revision="0402",
        first=_bases(transport=1, drives=257, slots=1025, mail=769),
        beyond=_MANY_MAIL,
        inquiry_vendor_bytes=_BAR_CODE_SCANNER,
        serial_tells_first_slot=True,
        # AWS refuses longer ones for this changer.
        volume_tag_characters=8,
    ),
    # The TS3100 and TS3200.
    ChangerPersonality(
        name="IBM-3573-TL",
        vendor="IBM",
        product="3573-TL",
        revision="D.50",
        first=_bases(transport=1, drives=256, slots=4096, mail=16),
        beyond=_MANY_MAIL,
        inquiry_vendor_bytes=_BAR_CODE_SCANNER,
        serial_tells_first_slot=True,
    ),
    # The MSL2024, MSL4048, MSL8096 and MSL6480. Between drives and storage there is room for 416
    # slots and 32 import/export slots.
    ChangerPersonality(
        name="HP-MSL-G3",
        vendor="HP",
        product="MSL G3 Series",
        revision="D.00",
        first=_bases(transport=1, drives=480, slots=32, mail=448),
        beyond=MappingProxyType({ElementType.STORAGE: 1000, ElementType.IMPORT_EXPORT: 20000}),
    ),
    ChangerPersonality(
        name="HPE-MSL-G3",
        vendor="HPE",
        product="MSL G3 Series",
        revision="E.00",
        first=_bases(transport=1, drives=480, slots=32, mail=448),
        beyond=MappingProxyType({ElementType.STORAGE: 1000, ElementType.IMPORT_EXPORT: 20000}),
    ),
    ChangerPersonality(
        name="QUANTUM-Scalar-i500",
        vendor="QUANTUM",
        product="Scalar i500",
        revision="681G",
        first=_bases(transport=1, drives=256, slots=4096, mail=16),
        beyond=_MANY_MAIL,
    ),
    ChangerPersonality(
        name="QUANTUM-Scalar-i40",
        vendor="QUANTUM",
        product="Scalar i40-i80",
        revision="160G",
        first=_bases(transport=1, drives=256, slots=4096, mail=16),
        beyond=_MANY_MAIL,
    ),
)

CHANGER_PERSONALITIES: Mapping[str, ChangerPersonality] = MappingProxyType(
    {row.name: row for row in _ROWS}
)
