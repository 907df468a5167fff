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

    `first` holds the base address of each element type. `inquiry_vendor_bytes` are bytes 36 to 55
    of standard INQUIRY data.
    """

    name: str
    vendor: str
    product: str
    revision: str
    first: Mapping[ElementType, int]
    inquiry_vendor_bytes: bytes = bytes(20)

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
        ranges = tuple(ElementRange(kind, self.first[kind], counts[kind]) for kind in ElementType)
        end = 0
        for span in sorted(ranges, key=lambda span: span.first):
            if span.first < end or span.first + span.count > _ADDRESSES:
                raise ValueError(
                    f"{self.name} cannot address {drives} drives, {slots} slots and"
                    f" {import_export} import/export slots: no room at {span.first}"
                )
            end = span.first + span.count
        return ranges


def _bases(transport: int, drives: int, slots: int, mail: int) -> Mapping[ElementType, int]:
    return MappingProxyType(
        {
            ElementType.MEDIUM_TRANSPORT: transport,
            ElementType.STORAGE: slots,
            ElementType.IMPORT_EXPORT: mail,
            ElementType.DATA_TRANSFER: drives,
        }
    )


# The first addresses of AWS-Gateway-VTL are those that AWS documents. The real L700 and 03584 have
# their import/export elements at 10 and 769, where there is room for 490 and 256 of them and AWS
# has 1,600: so these begin at 20000 here. Everything else is where the real ones have it.
CHANGER_PERSONALITIES: Mapping[str, ChangerPersonality] = MappingProxyType(
    {
        "AWS-Gateway-VTL": ChangerPersonality(
            name="AWS-Gateway-VTL",
            vendor="AWS",
            product="Gateway-VTL",
            revision="0100",
            first=_bases(transport=0, drives=10000, slots=20000, mail=30000),
        ),
        "STK-L700": ChangerPersonality(
            name="STK-L700",
            vendor="STK",
            product="L700",
            revision="0310",
            first=_bases(transport=1, drives=500, slots=1000, mail=20000),
        ),
        "IBM-03584L32-0402": ChangerPersonality(
            name="IBM-03584L32-0402",
            vendor="IBM",
            product="03584L32",
            revision="0402",
            first=_bases(transport=1, drives=257, slots=1025, mail=20000),
            # Byte 55, bit 0: a bar code scanner is installed.
            inquiry_vendor_bytes=bytes(19) + b"\x01",
        ),
    }
)
