"""What a volume went through in its life; kept in its auxiliary memory.

The attributes that LTO has for it count mebibytes and no errors, so the exact numbers are in one
of the range for devices' own (SPC-5 table 339), and the others are made of them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field

from tapectl.scsi.cartridge import AttributeKey, Cartridge, StoredAttribute
from tapectl.scsi.ssc.counters import Transfers

_EXACT = (0, 0x0C00)
_LAST_LOADS: tuple[AttributeKey, ...] = ((0, 0x020A), (0, 0x020B), (0, 0x020C), (0, 0x020D))
_BINARY, _ASCII = 0, 1
_DEVICE_BYTES = 40
_MEBIBYTE = 1 << 20

# Loads; the five counts of Transfers; the same of the last load.
_COUNTS = struct.Struct(">11Q")
_TRANSFERS = 5


@dataclass(frozen=True, slots=True)
class VolumeHistory:
    """`moved` in all loads but the present one, `last` in the last load before it.

    `loads` counts the present one too.
    """

    loads: int = 0
    moved: Transfers = field(default_factory=Transfers)
    last: Transfers = field(default_factory=Transfers)

    @classmethod
    def read(cls, medium: Cartridge) -> VolumeHistory:
        """Return the history of a volume; of one that has none yet, an empty one."""
        kept = medium.attribute(*_EXACT)
        if kept is None or len(kept.value) != _COUNTS.size:
            return cls()
        loads, *counts = _COUNTS.unpack(kept.value)
        return cls(loads, Transfers(*counts[:_TRANSFERS]), Transfers(*counts[_TRANSFERS:]))

    def loaded(self) -> VolumeHistory:
        """Return it with one load more."""
        return VolumeHistory(self.loads + 1, self.moved, self.last)

    def unloaded(self, mounted: Transfers) -> VolumeHistory:
        """Return it with what the present load moved."""
        return VolumeHistory(self.loads, self.moved + mounted, mounted)

    def attributes(self) -> Mapping[AttributeKey, StoredAttribute]:
        """Return it as attributes: LOAD COUNT, the totals in a life and in a load, and exactly."""
        moved, last = self.moved, self.last
        mebibytes = (moved.written_bytes, moved.read_bytes, last.written_bytes, last.read_bytes)
        exact = _COUNTS.pack(self.loads, *astuple(moved), *astuple(last))
        return {
            (0, 0x0003): _number(self.loads),
            **{(0, 0x0220 + i): _number(count // _MEBIBYTE) for i, count in enumerate(mebibytes)},
            _EXACT: StoredAttribute(_BINARY, exact),
        }


def last_loads(medium: Cartridge, device: str) -> Mapping[AttributeKey, StoredAttribute]:
    """Return DEVICE VENDOR/SERIAL NUMBER AT LAST LOAD and the three before it, with `device` now.

    Loads by the same drive one after the other count each.
    """
    before = [medium.attribute(*key) for key in _LAST_LOADS[:-1]]
    now = device.encode("ascii", "replace")[:_DEVICE_BYTES].ljust(_DEVICE_BYTES)
    loads = [StoredAttribute(_ASCII, now), *before]
    return {key: load for key, load in zip(_LAST_LOADS, loads, strict=True) if load is not None}


def _number(value: int) -> StoredAttribute:
    return StoredAttribute(_BINARY, value.to_bytes(8, "big"))
