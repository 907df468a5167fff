"""The medium auxiliary memory: which attributes there are and what they say (SPC-5 7.4, LTO's).

Some attributes are made when they are asked for, the others are what the memory keeps: set by a
client, or by the drive when it takes and gives back the volume.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from tapectl.scsi.cartridge import Cartridge, StoredAttribute
from tapectl.scsi.media import CLEANINGS, LTO_MEDIA, Density
from tapectl.scsi.ssc.encrypted_blocks import FIRST_ENCRYPTED, FIRST_PLAIN_AFTER_IT
from tapectl.scsi.ssc.overwriting import VOLUME_CHANGE_REFERENCE, volume_change_reference

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

# Capacities are told in "increments of 1 048 576 bytes".
_MEBIBYTE = 1 << 20
_DATA, _CLEANING, _WORM = 0x00, 0x01, 0x80
_VALUE_BYTES_MAX = 1024
_HEADER_BYTES = 5
_HOST_VENDOR_SPECIFIC = range(0x1400, 0x1800)
# The chip in the cartridge: bytes, by the generation from which on they are so many.
_MEMORY_BYTES = {1: 4096, 4: 8192, 6: 16384}


class Format(enum.IntEnum):
    """FORMAT of an attribute (SPC-5 table 455)."""

    BINARY = 0
    ASCII = 1
    TEXT = 2


Value = Callable[["TapeDrive", Cartridge, int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeRow:
    """One attribute. `size_bytes` 0: of any length. `value` makes it for a drive, its medium and a
    partition; without, the memory keeps it. `default`: what it says until somebody has set it.
    """

    identifier: int
    format: Format | None
    size_bytes: int
    writable: bool = False
    per_partition: bool = False
    value: Value | None = None
    default: Value | None = None

    def key(self, partition: int) -> tuple[int, int]:
        """Return where the memory keeps it."""
        return (partition if self.per_partition else 0, self.identifier)

    def accepts(self, kind: int, length: int) -> bool:
        """Whether a client may set it to a value of this format and length."""
        if not self.writable or self.format not in (None, kind) or kind > max(Format):
            return False
        return length == self.size_bytes if self.size_bytes else length <= _VALUE_BYTES_MAX


class Attribute(NamedTuple):
    """An attribute as it is now."""

    identifier: int
    stored: StoredAttribute
    writable: bool


def _number(value: Callable[[TapeDrive, Cartridge, int], int], size_bytes: int) -> Value:
    return lambda drive, medium, partition: min(
        value(drive, medium, partition), (1 << 8 * size_bytes) - 1
    ).to_bytes(size_bytes, "big")


def _text(value: Callable[[TapeDrive, Cartridge], str], size_bytes: int) -> Value:
    def encode(drive: TapeDrive, medium: Cartridge, _partition: int) -> bytes:
        return value(drive, medium).encode("ascii", "replace")[:size_bytes].ljust(size_bytes)

    return encode


def _remaining(_drive: TapeDrive, medium: Cartridge, partition: int) -> int:
    use = medium.partitions[partition]
    return max(use.capacity_bytes - use.used_bytes, 0) // _MEBIBYTE


def _capacity(_drive: TapeDrive, medium: Cartridge, partition: int) -> int:
    return medium.partitions[partition].capacity_bytes // _MEBIBYTE


def _density(medium: Cartridge) -> Density:
    return LTO_MEDIA[medium.generation].density


def _medium_type(_drive: TapeDrive, medium: Cartridge, _partition: int) -> int:
    """MEDIUM TYPE; MEDIUM TYPE INFORMATION is how often a cleaning cartridge cleans."""
    if medium.cleaning:
        return _CLEANING
    return _WORM if medium.worm else _DATA


def _calendar_date(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y%m%d}"


def memory_bytes(medium: Cartridge) -> int:
    """Return how large the memory of a medium is."""
    return _MEMORY_BYTES[max(number for number in _MEMORY_BYTES if number <= medium.generation)]


def kept_bytes(attributes: Mapping[tuple[int, int], StoredAttribute | None]) -> int:
    """Return how much of the memory attributes take."""
    values = (stored.value for stored in attributes.values() if stored is not None)
    return sum(_HEADER_BYTES + len(value) for value in values)


def kept_attributes(medium: Cartridge) -> Mapping[tuple[int, int], StoredAttribute]:
    """Return everything that the memory keeps."""
    found = {}
    for partition in range(len(medium.partitions)):
        for identifier in medium.attribute_identifiers(partition):
            stored = medium.attribute(partition, identifier)
            if stored is not None:
                found[partition, identifier] = stored
    return found


def _memory_left(_drive: TapeDrive, medium: Cartridge, _partition: int) -> int:
    return max(memory_bytes(medium) - kept_bytes(kept_attributes(medium)), 0)


def _statistic(identifier: int, size_bytes: int) -> AttributeRow:
    """Return a row of what the drive keeps of the volume's life, told up to now."""

    def up_to_now(drive: TapeDrive, medium: Cartridge, _partition: int) -> bytes:
        threaded = drive.medium is medium
        now = drive.statistics.attributes().get((0, identifier)) if threaded else None
        stored = now or medium.attribute(0, identifier)
        return stored.value if stored is not None else bytes(size_bytes)

    return _made(identifier, size_bytes, up_to_now)


def _made(identifier: int, size_bytes: int, value: Value, *, text: bool = False) -> AttributeRow:
    kind = Format.ASCII if text else Format.BINARY
    return AttributeRow(identifier=identifier, format=kind, size_bytes=size_bytes, value=value)


def _host(
    identifier: int,
    kind: Format,
    size_bytes: int,
    *,
    per_partition: bool = False,
    default: Value | None = None,
) -> AttributeRow:
    return AttributeRow(
        identifier=identifier,
        format=kind,
        size_bytes=size_bytes,
        writable=True,
        per_partition=per_partition,
        default=default,
    )


def _kept(
    identifier: int, size_bytes: int, kind: Format = Format.BINARY, *, per_partition: bool = False
) -> AttributeRow:
    return AttributeRow(
        identifier=identifier, format=kind, size_bytes=size_bytes, per_partition=per_partition
    )


# fmt: off
_DEVICE = (
    _made(0x0000, 8, _number(_remaining, 8)),
    _made(0x0001, 8, _number(_capacity, 8)),
    _statistic(0x0002, 8),  # TapeAlert flags
    _statistic(0x0003, 8),  # load count
    _made(0x0004, 8, _number(_memory_left, 8)),
    _made(0x0005, 8, _text(lambda _, m: _density(m).assigning_organization, 8), text=True),
    _made(0x0006, 1, _number(lambda _, m, __: _density(m).code, 1)),
    _kept(0x0007, 2),  # initialization count
    _made(0x0008, 32, _text(lambda _, m: m.barcode, 32), text=True),
    _made(VOLUME_CHANGE_REFERENCE, 4, _number(lambda _, m, __: volume_change_reference(m), 4)),
    *(_kept(identifier, 40, Format.ASCII) for identifier in range(0x020A, 0x020E)),
    *(_statistic(identifier, 8) for identifier in range(0x0220, 0x0224)),
    _kept(FIRST_ENCRYPTED, 8, per_partition=True),
    _kept(FIRST_PLAIN_AFTER_IT, 8, per_partition=True),
)
_MEDIUM = (
    _made(0x0400, 8, _text(lambda d, _: d.server.identity.vendor, 8), text=True),
    _made(0x0401, 32, _text(lambda _, m: m.barcode, 32), text=True),
    _made(0x0402, 4, _number(lambda _, m, __: LTO_MEDIA[m.generation].length_m, 4)),
    _made(0x0403, 4, _number(lambda _, m, __: _density(m).media_width_tenths_mm, 4)),
    _made(0x0404, 8, _text(lambda _, m: _density(m).assigning_organization, 8), text=True),
    _made(0x0405, 1, _number(lambda _, m, __: _density(m).code, 1)),
    _made(0x0406, 8, _text(lambda _, m: _calendar_date(m.created_ms), 8), text=True),
    _made(0x0407, 8, _number(lambda _, m, __: memory_bytes(m), 8)),
    _made(0x0408, 1, _number(_medium_type, 1)),
    _made(0x0409, 2, _number(lambda _, m, __: CLEANINGS if m.cleaning else 0, 2)),
    # Supported density codes: a list, of one for media that are never formatted in another.
    _made(0x040B, 10, lambda _, m, __: bytes((_density(m).code,)).ljust(10, b"\0")),
)
_HOST = (
    _host(0x0800, Format.ASCII, 8),     # application vendor
    _host(0x0801, Format.ASCII, 32),    # application name
    _host(0x0802, Format.ASCII, 8),     # application version
    _host(0x0803, Format.TEXT, 160),    # user medium text label
    _host(0x0804, Format.ASCII, 12),    # date and time last written
    _host(0x0805, Format.BINARY, 1),    # text localization identifier
    _host(0x0806, Format.ASCII, 32, default=_text(lambda _, m: m.barcode, 32)),
    _host(0x0807, Format.TEXT, 80),     # owning host
    _host(0x0808, Format.TEXT, 160),    # media pool
    _host(0x0809, Format.ASCII, 16, per_partition=True),  # partition user text label
    _host(0x080A, Format.BINARY, 1),    # load/unload at partition
    _host(0x080B, Format.ASCII, 16),    # application format version
    _host(0x080C, Format.BINARY, 0, per_partition=True),  # volume coherency information
    _host(0x0820, Format.BINARY, 36),   # medium globally unique identifier
    _host(0x0821, Format.BINARY, 36),   # media pool globally unique identifier
)
_MEDIUM_VENDOR_SPECIFIC = (
    # Unique cartridge identity: the barcode, which no two tapes have.
    _made(0x1000, 28, _text(lambda _, m: m.barcode, 28), text=True),
    _made(0x1001, 24, _text(lambda _, m: m.barcode, 24), text=True),
)
# fmt: on

_ROWS: Mapping[int, AttributeRow] = MappingProxyType(
    {row.identifier: row for row in (*_DEVICE, *_MEDIUM, *_HOST, *_MEDIUM_VENDOR_SPECIFIC)}
)


def find_row(identifier: int) -> AttributeRow | None:
    """Return the attribute with an identifier, None if there is none.

    A client may use the host vendor-specific ones (1400h to 17FFh) as it likes.
    """
    row = _ROWS.get(identifier)
    if row is None and identifier in _HOST_VENDOR_SPECIFIC:
        return AttributeRow(identifier=identifier, format=None, size_bytes=0, writable=True)
    return row


def existing(drive: TapeDrive, medium: Cartridge, partition: int) -> Sequence[Attribute]:
    """Return the attributes that have a value, in ascending order of identifier."""
    identifiers = {*_ROWS, *medium.attribute_identifiers(0)}
    return [
        found
        for identifier in sorted(identifiers)
        for found in _existing(drive, medium, partition, identifier)
    ]


def _existing(
    drive: TapeDrive, medium: Cartridge, partition: int, identifier: int
) -> Iterator[Attribute]:
    row = find_row(identifier)
    if row is None:
        return
    stored = medium.attribute(*row.key(partition)) if row.value is None else None
    value = row.value or row.default
    if stored is None and value is not None:
        kind = Format.BINARY if row.format is None else row.format
        stored = StoredAttribute(kind, value(drive, medium, partition))
    if stored is not None:
        yield Attribute(identifier, stored, row.writable)


def supported() -> Sequence[int]:
    """Return the identifiers of all attributes that can have a value, ascending."""
    return sorted(_ROWS)
