"""Partitions: the Medium Partition mode page, FORMAT MEDIUM, SET CAPACITY (SSC-5 7, 8.5).

A linear tape is divided between pairs of wraps, there and back again, so a partition is a whole
number of them: what is asked for is rounded up.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from tapectl.scsi.cartridge import AttributeKey, Cartridge, CartridgeWriteError, StoredAttribute
from tapectl.scsi.command_table import GOOD, Task
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.media import LTO_MEDIA
from tapectl.scsi.mode_pages import ModePage
from tapectl.scsi.sense import (
    ASC,
    CheckCondition,
    Sense,
    SenseKey,
    illegal_request,
    invalid_field_in_cdb,
    invalid_field_in_parameter_list,
)
from tapectl.scsi.ssc import encrypted_blocks

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

MEDIUM_PARTITION_PAGE = (0x11, 0x00)
# Kept in the memory of the medium, beyond the identifiers that READ ATTRIBUTE knows.
_CAPACITY_PROPORTION = (0, 0xF000)
_INITIALIZATION_COUNT = (0, 0x0007)
_COHERENCY_INFORMATION = 0x080C
_WHOLE = 0xFFFF
_REST = 0xFFFF

# Body of the page: maximum additional, additional defined, flags, recognition, units; sizes follow.
_PAGE = struct.Struct(">BBBBBx")
_FDP, _SDP, _IDP = 0x80, 0x40, 0x20
_PSUM_SHIFT, _PSUM_MASK = 3, 0x03
_POFM = 0x04
_FORMAT_AND_PARTITION_RECOGNITION = 0x03
_SCALED = 3  # PSUM 11b: "10 to the power of PARTITION UNITS" bytes
_UNIT_BYTES = {0: 1, 1: 10**3, 2: 10**6}
_ADDITIONAL, _FLAGS, _UNITS, _SIZES = 1, 2, 4, 6

# Wraps of each generation of LTO.
_WRAPS: Mapping[int, int] = MappingProxyType(
    {1: 48, 2: 64, 3: 44, 4: 56, 5: 80, 6: 136, 7: 112, 8: 208, 9: 280, 10: 472}
)


def medium_partition_page(drive: TapeDrive) -> ModePage:
    """Return page 11h: what MODE SELECT has set for the next format, else the medium as it is."""
    most = drive.personality.native_medium.partitions
    not_set = bytes(_PAGE.size + 2 * most)

    def as_formatted(body: bytes) -> bytes:
        if body != not_set:
            return body
        medium = drive.medium
        sizes = [part.capacity_bytes for part in medium.partitions] if medium else []
        return encode_geometry(_most_partitions(drive), sizes, most)

    def check(body: bytes, at: int) -> None:
        medium = drive.medium
        generation = medium.generation if medium else drive.personality.generation.number
        capacity = _formattable_bytes(medium) if medium else None
        try:
            if body[_ADDITIONAL] >= _most_partitions(drive):
                raise _WrongFieldError(_ADDITIONAL)
            partition_sizes(body, capacity, generation)
        except _WrongFieldError as error:
            raise invalid_field_in_parameter_list(at + error.byte) from error

    changeable = bytes((0, 0xFF, _FDP | _SDP | _IDP | _PSUM_MASK << _PSUM_SHIFT, 0, 0x0F, 0))
    return ModePage(
        MEDIUM_PARTITION_PAGE[0],
        not_set,
        changeable + b"\xff" * (2 * most),
        overlay=as_formatted,
        check=check,
        shortest=_PAGE.size,
    )


def _most_partitions(drive: TapeDrive) -> int:
    """Return how many partitions the medium can have, or the drive's own while there is none."""
    native = drive.personality.native_medium
    media = LTO_MEDIA[drive.medium.generation] if drive.medium else native
    return min(media.partitions, native.partitions)


def encode_geometry(most: int, sizes: Sequence[int], descriptors: int) -> bytes:
    """Return the body of page 11h for partitions of these sizes, in the largest unit that
    tells them all; `descriptors` is how many sizes the page has room for.
    """
    smallest = min(sizes, default=10**9)
    units = next((power for power in (9, 6, 3) if smallest >= 10**power), 0)
    flags = _SCALED << _PSUM_SHIFT | _POFM | (_IDP if len(sizes) > 1 else 0)
    head = _PAGE.pack(
        most - 1, max(len(sizes) - 1, 0), flags, _FORMAT_AND_PARTITION_RECOGNITION, units
    )
    told = [min(size // 10**units, _REST - 1) for size in sizes]
    told += [0] * (descriptors - len(told))
    return head + struct.pack(f">{descriptors}H", *told)


class _WrongFieldError(Exception):
    """A byte of the page's body does not fit the rest; nothing was done."""

    def __init__(self, byte: int) -> None:
        super().__init__(f"byte {byte} of the page's body")
        self.byte = byte


def partition_sizes(body: bytes, capacity_bytes: int | None, generation: int) -> tuple[int, ...]:
    """Return the sizes in bytes that a page 11h asks for on a medium of so many bytes.

    With no capacity the page alone is looked at. Raises _WrongFieldError.
    """
    count = body[_ADDITIONAL] + 1
    capacity = _WRAPS[generation] if capacity_bytes is None else capacity_bytes
    pair = max(1, 2 * capacity // _WRAPS[generation])
    match body[_FLAGS] & (_FDP | _SDP | _IDP):
        case 0 if count == 1:
            return (capacity,)
        case 0x80:  # FDP: the drive's own way, the smallest partitions after a large one
            return (capacity - (count - 1) * pair, *[pair] * (count - 1))
        case 0x40:  # SDP: "equal size"
            part = capacity // count
            return (capacity - (count - 1) * part, *[part] * (count - 1))
        case 0x20:
            return _asked_sizes(body, count, capacity, None if capacity_bytes is None else pair)
        case _:
            raise _WrongFieldError(_FLAGS)


def _asked_sizes(body: bytes, count: int, capacity: int, pair: int | None) -> tuple[int, ...]:
    """IDP: the sizes are in the page; FFFFh, for one of them at most, is what the others leave."""
    asked = struct.unpack_from(f">{count}H", body, _SIZES)
    psum = body[_FLAGS] >> _PSUM_SHIFT & _PSUM_MASK
    unit = 10 ** (body[_UNITS] & 0x0F) if psum == _SCALED else _UNIT_BYTES[psum]
    if 0 in asked or asked.count(_REST) > 1:
        wrong = asked.index(0) if 0 in asked else len(asked) - 1 - asked[::-1].index(_REST)
        raise _WrongFieldError(_SIZES + 2 * wrong)
    if pair is None:
        return asked
    sizes = [0 if size == _REST else -(-size * unit // pair) * pair for size in asked]
    left = capacity - sum(sizes)
    if _REST in asked:
        sizes[asked.index(_REST)] = left
        left = 0 if left >= pair else -1
    elif left < 0 and sum(size * unit for size in asked) <= capacity:
        # What is too much came from rounding up alone.
        largest = sizes.index(max(sizes))
        sizes[largest] += left
        left = 0 if sizes[largest] > 0 else -1
    if left < 0:
        raise _WrongFieldError(_SIZES)
    return tuple(sizes)


def _formattable_bytes(medium: Cartridge) -> int:
    """Return what SET CAPACITY has left of the cartridge to be formatted."""
    stored = medium.attribute(*_CAPACITY_PROPORTION)
    proportion = int.from_bytes(stored.value, "big") if stored else _WHOLE
    return _proportion_bytes(medium, proportion)


def _proportion_bytes(medium: Cartridge, proportion: int) -> int:
    smallest = max(1, 2 * medium.volume_bytes // _WRAPS[medium.generation])
    return max(medium.volume_bytes * proportion // _WHOLE, smallest)


def format_medium(drive: TapeDrive, task: Task) -> Reply:
    """FORMAT MEDIUM: 0h one partition, 1h those of page 11h, 2h the one and then the other."""
    cdb = task.cdb
    form = cdb[2] & 0x0F
    if form > 2:
        raise invalid_field_in_cdb(2, 3)
    if cdb[3] or cdb[4]:
        raise invalid_field_in_cdb(3)
    medium = _at_beginning(drive)
    sizes: tuple[int, ...] = (_formattable_bytes(medium),)
    if form:
        page = drive.server.mode_pages.shown(MEDIUM_PARTITION_PAGE, task.nexus)
        try:
            sizes = partition_sizes(page, sizes[0], medium.generation)
        except _WrongFieldError as error:
            raise illegal_request(ASC.PARAMETER_VALUE_INVALID) from error
    _make_partitions(drive, task.nexus, medium, sizes, {})
    return GOOD


def set_capacity(drive: TapeDrive, task: Task) -> Reply:
    """SET CAPACITY: make less of the tape usable, with FFFFh all of it; what was on it is lost."""
    medium = _at_beginning(drive)
    proportion = int.from_bytes(task.cdb[3:5], "big")
    kept = StoredAttribute(0, proportion.to_bytes(2, "big")) if proportion != _WHOLE else None
    sizes = (_proportion_bytes(medium, proportion),)
    _make_partitions(drive, task.nexus, medium, sizes, {_CAPACITY_PROPORTION: kept})
    return GOOD


def _at_beginning(drive: TapeDrive) -> Cartridge:
    """Return the medium, at the beginning of partition 0 and writable; raise CheckCondition."""
    medium = drive.threaded_medium()
    if medium.partition or medium.position:
        raise illegal_request(ASC.POSITION_PAST_BEGINNING_OF_MEDIUM)
    drive.check_format()
    return medium


def _make_partitions(
    drive: TapeDrive,
    nexus: str,
    medium: Cartridge,
    sizes: Sequence[int],
    changes: Mapping[AttributeKey, StoredAttribute | None],
) -> None:
    count = medium.attribute(*_INITIALIZATION_COUNT)
    formats = (int.from_bytes(count.value, "big") if count else 0) + 1
    coherency: dict[AttributeKey, StoredAttribute | None] = {
        (number, _COHERENCY_INFORMATION): None for number in range(len(medium.partitions))
    }
    counted = StoredAttribute(0, min(formats, 0xFFFF).to_bytes(2, "big"))
    try:
        # The promises of an application about what is recorded go before that does. What tells of
        # the format comes after it: a format that has to wait is run again, and counts once.
        medium.set_attributes(coherency)
        medium.format(sizes)
        emptied = encrypted_blocks.forgotten(len(sizes))
        medium.set_attributes({**changes, **emptied, _INITIALIZATION_COUNT: counted})
    except CartridgeWriteError as error:
        sense = Sense(SenseKey.MEDIUM_ERROR, ASC.FORMAT_COMMAND_FAILED)
        raise CheckCondition(sense) from error
    drive.formatted(nexus)
