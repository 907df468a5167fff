"""The media changer as a client sees it: SMC commands, its reports, elements to move between.

Nothing here knows the target's own tables; the layouts are those of SMC-3.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from tests.conformance import commands as c
from tests.conformance.commands import Command
from tests.conformance.device import GOOD, Device

ALL, TRANSPORT, STORAGE, IMPORT_EXPORT, DATA_TRANSFER = range(5)
HOLDERS = (STORAGE, IMPORT_EXPORT, DATA_TRANSFER)
FULL, IMP_EXP, EXCEPT, ACCESS, EX_ENAB, IN_ENAB = (1 << bit for bit in range(6))
HEADER_BYTES, PAGE_HEADER_BYTES, VOLUME_TAG_BYTES = 8, 8, 36
ROOM_BYTES = 1 << 20
ALL_ELEMENTS = 0xFFFF


def read_element_status(
    kind: int = ALL,
    *,
    first: int = 0,
    count: int = ALL_ELEMENTS,
    tags: bool = True,
    current: bool = False,
    identifiers: bool = False,
    length: int = ROOM_BYTES,
) -> Command:
    """`current` is CURDATA, `identifiers` DVCID."""
    head = struct.pack(">BBHHB", 0xB8, tags << 4 | kind, first, count, current << 1 | identifiers)
    cdb = head + length.to_bytes(3, "big") + bytes(2)
    return Command(name="READ ELEMENT STATUS", cdb=cdb, data_in_bytes=length)


def move_medium(source: int, destination: int, transport: int = 0) -> Command:
    cdb = struct.pack(">BxHHH4x", 0xA5, transport, source, destination)
    return Command(name="MOVE MEDIUM", cdb=cdb)


def exchange_medium(source: int, first: int, second: int, transport: int = 0) -> Command:
    cdb = struct.pack(">BxHHHH2x", 0xA6, transport, source, first, second)
    return Command(name="EXCHANGE MEDIUM", cdb=cdb)


def position_to_element(destination: int, transport: int = 0) -> Command:
    cdb = struct.pack(">BxHH4x", 0x2B, transport, destination)
    return Command(name="POSITION TO ELEMENT", cdb=cdb)


def initialize_element_status() -> Command:
    return Command(name="INITIALIZE ELEMENT STATUS", cdb=bytes((0x07, 0, 0, 0, 0, 0)))


def initialize_range(
    first: int, count: int = 0, *, whole: bool = False, fast: bool = False
) -> Command:
    """`whole`: RANGE is not set, all elements are looked at."""
    cdb = struct.pack(">BBHxxHxx", 0x37, fast << 1 | (not whole), first, count)
    return Command(name="INITIALIZE ELEMENT STATUS WITH RANGE", cdb=cdb)


OPEN, CLOSE = 0, 1


def open_close(address: int, action: int) -> Command:
    cdb = struct.pack(">BxHBx", 0x1B, address, action)
    return Command(name="OPEN/CLOSE IMPORT/EXPORT ELEMENT", cdb=cdb)


ALL_TAGS_ANY_SEQUENCE, PRIMARY_TAGS_ANY_SEQUENCE = 0x4, 0x5


def send_volume_tag(
    template: str | None,
    *,
    kind: int = ALL,
    first: int = 0,
    action: int = PRIMARY_TAGS_ANY_SEQUENCE,
) -> Command:
    """Without a template no parameter list is sent."""
    data = b"" if template is None else struct.pack(">32sxxHxxH", template.encode(), 0, 0xFFFF)
    cdb = struct.pack(">BBHxBxxHxx", 0xB6, kind, first, action, len(data))
    return Command(name="SEND VOLUME TAG", cdb=cdb, data_out=data)


def request_volume_element_address(
    kind: int = ALL,
    *,
    first: int = 0,
    count: int = ALL_ELEMENTS,
    tags: bool = True,
    length: int = ROOM_BYTES,
) -> Command:
    head = struct.pack(">BBHHx", 0xB5, tags << 4 | kind, first, count)
    cdb = head + length.to_bytes(3, "big") + bytes(2)
    return Command(name="REQUEST VOLUME ELEMENT ADDRESS", cdb=cdb, data_in_bytes=length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One element descriptor. `source` is None without SValid."""

    kind: int
    address: int
    flags: int
    source: int | None
    medium_type: int
    volume_tag: str
    rest: bytes

    @property
    def full(self) -> bool:
        return bool(self.flags & FULL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One element status page: its header and its descriptors."""

    kind: int
    flags: int
    descriptor_bytes: int
    available_bytes: int
    descriptors: Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Element status data, taken apart by its own lengths."""

    first: int
    count: int
    available_bytes: int
    fifth_byte: int
    pages: Sequence[Page]

    @classmethod
    def decode(cls, data: bytes) -> Report:
        first, count, fifth = struct.unpack_from(">HHB", data)
        pages: list[Page] = []
        at = HEADER_BYTES
        while at + PAGE_HEADER_BYTES <= len(data):
            kind, flags, size = struct.unpack_from(">BBH", data, at)
            available = int.from_bytes(data[at + 5 : at + 8], "big")
            at += PAGE_HEADER_BYTES
            assert size >= 12, f"an element descriptor of {size} bytes"
            end = min(at + available, len(data))
            rows = [data[start : start + size] for start in range(at, end, size)]
            assert all(len(row) == size for row in rows), "a descriptor is cut"
            pages.append(
                Page(
                    kind=kind,
                    flags=flags,
                    descriptor_bytes=size,
                    available_bytes=available,
                    descriptors=rows,
                )
            )
            at = end
        return cls(
            first=first,
            count=count,
            available_bytes=int.from_bytes(data[5:8], "big"),
            fifth_byte=fifth,
            pages=pages,
        )

    @property
    def elements(self) -> Sequence[Element]:
        return [_element(page, row) for page in self.pages for row in page.descriptors]


def _element(page: Page, row: bytes) -> Element:
    tagged = bool(page.flags & 0x80)
    rest = row[12 + (VOLUME_TAG_BYTES if tagged else 0) :]
    return Element(
        kind=page.kind,
        address=int.from_bytes(row[:2], "big"),
        flags=row[2],
        source=int.from_bytes(row[10:12], "big") if row[9] & 0x80 else None,
        medium_type=row[9] & 0x07,
        volume_tag=row[12:44].decode("ascii").rstrip(" \0") if tagged else "",
        rest=rest,
    )


@dataclass(frozen=True, slots=True)
class Addresses:
    """Mode page 1Dh: first address and count by element type."""

    spans: Sequence[tuple[int, int]]

    def __getitem__(self, kind: int) -> range:
        first, count = self.spans[kind - 1]
        return range(first, first + count)

    @property
    def none(self) -> int:
        """An address that no element has."""
        taken = {address for kind in range(1, 5) for address in self[kind]}
        return next(address for address in range(0xFFFF, 0, -1) if address not in taken)


class Library:
    """A changer with what its tests need of it."""

    def __init__(self, changer: Device) -> None:
        self.changer = changer
        page = changer.good(c.mode_sense_6(0x1D, dbd=True))[4:]
        words = struct.unpack_from(">8H", page, 2)
        self.addresses = Addresses(tuple(zip(words[::2], words[1::2], strict=True)))

    def report(self, command: Command | None = None) -> Report:
        """Run READ ELEMENT STATUS and take its data apart.

        Data that end too early, with room left for more, are filled up: that BYTE COUNT is true
        has a test of its own, and the others can go on.
        """
        command = command or read_element_status()
        data = self.changer.good(command)
        if len(data) < command.data_in_bytes:
            data = data.ljust(HEADER_BYTES + int.from_bytes(data[5:8], "big"), b"\0")
        return Report.decode(data)

    def elements(self, kind: int = ALL) -> Sequence[Element]:
        return self.report(read_element_status(kind)).elements

    def at(self, address: int) -> Element:
        return next(element for element in self.inventory() if element.address == address)

    def inventory(self) -> Sequence[Element]:
        """Return all elements, asked type by type: not every changer can tell of all at once."""
        kinds = [kind for kind in (TRANSPORT, *HOLDERS) if self.addresses[kind]]
        return [element for kind in kinds for element in self.elements(kind)]

    def tags(self) -> dict[int, str]:
        return {row.address: row.volume_tag for row in self.inventory() if row.full}

    def full_slots(self, count: int = 1) -> list[int]:
        """Return storage elements with a cartridge; skip where there are not so many."""
        return self._slots(count, full=True)

    def empty_slots(self, count: int = 1) -> list[int]:
        return self._slots(count, full=False)

    def _slots(self, count: int, *, full: bool) -> list[int]:
        found = [row.address for row in self.elements(STORAGE) if row.full is full][:count]
        if len(found) < count:
            pytest.skip(f"the library has not {count} {'full' if full else 'empty'} slots")
        return found

    def empty_drive(self, drive: Device, address: int) -> int:
        """Bring the cartridge of the drive under test back to storage; return its address."""
        if self.at(address).full:
            drive.attentions()
            drive.run(c.load_unload(0))
            (slot,) = self.empty_slots()
            self.changer.good(move_medium(address, slot))
        return address

    def put_back(self, tags: dict[int, str]) -> None:
        """Bring cartridges back to where they were, as far as they can be."""
        for address, tag in tags.items():
            now = {found: at for at, found in self.tags().items()}
            if tag in now and now[tag] != address:
                self.changer.attentions()
                if self.changer.run(move_medium(now[tag], address)).status != GOOD:
                    return
