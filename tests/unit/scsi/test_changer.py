"""The media changer: element status, moves and their refusals, element addresses."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest

from tapectl.scsi.changer_personality import CHANGER_PERSONALITIES
from tapectl.scsi.library import MoveRefusal
from tapectl.scsi.smc import MediaChanger
from tests.support.memory_library import MemoryLibrary
from tests.support.scsi_initiator import Initiator

AWS = CHANGER_PERSONALITIES["AWS-Gateway-VTL"]
DRIVE, SLOT, MAIL = 10000, 20000, 30000
ALL, TRANSPORT, STORAGE, IMPORT_EXPORT, DATA_TRANSFER = range(5)


@pytest.fixture
def library() -> MemoryLibrary:
    library = MemoryLibrary(AWS.ranges(2, 5, 3))
    for slot in range(3):
        library.put(SLOT + slot, f"TAP00{slot}L5")
    library.put(MAIL, "NEW001L5", by_operator=True)
    return library


@pytest.fixture
def host(library: MemoryLibrary) -> Initiator:
    return Initiator(MediaChanger(AWS, library, serial="MC00000001"))


@dataclass
class Descriptor:
    element_type: int
    address: int
    flags: int
    source: int | None
    tag: str
    identifier: bytes


def status_cdb(
    kind: int = ALL,
    *,
    first: int = 0,
    count: int = 0xFFFF,
    tags: bool = True,
    identifiers: bool = False,
    allocation: int = 0xFFFFFF,
) -> bytes:
    head = struct.pack(">BBHHB", 0xB8, kind | tags << 4, first, count, identifiers)
    return head + allocation.to_bytes(3, "big")


def decode(report: bytes, *, tags: bool = True, identifiers: bool = False) -> list[Descriptor]:
    """Take a report apart by its own lengths alone."""
    found, at = [], 8
    while at + 8 <= len(report):
        kind, flags, length = struct.unpack_from(">BBH", report, at)
        size = int.from_bytes(report[at + 5 : at + 8], "big")
        assert bool(flags & 0x80) == tags
        at += 8
        for start in range(at, min(at + size, len(report)), length):
            row = report[start : start + length]
            rest = row[12:]
            tag = rest[:32].decode().rstrip(" \0") if tags else ""
            rest = rest[36:] if tags else rest
            found.append(
                Descriptor(
                    kind,
                    struct.unpack_from(">H", row)[0],
                    row[2],
                    struct.unpack_from(">H", row, 10)[0] if row[9] & 0x80 else None,
                    tag,
                    rest if identifiers else b"",
                )
            )
        at += size
    return found


def move(source: int, destination: int, transport: int = 0) -> bytes:
    return struct.pack(">BxHHH2xxx", 0xA5, transport, source, destination)


def test_all_types_come_in_ascending_order_of_type(host):
    report = host.good(status_cdb())
    rows = decode(report)
    assert [row.element_type for row in rows] == [1] + [2] * 5 + [3] * 3 + [4] * 2
    assert struct.unpack_from(">HH", report) == (0, 11)
    assert int.from_bytes(report[5:8], "big") == len(report) - 8


def test_one_type_with_its_volume_tags(host):
    rows = decode(host.good(status_cdb(STORAGE)))
    assert [row.tag for row in rows] == ["TAP000L5", "TAP001L5", "TAP002L5", "", ""]
    assert [row.flags & 1 for row in rows] == [1, 1, 1, 0, 0]
    assert [row.address for row in rows] == list(range(SLOT, SLOT + 5))


def test_without_volume_tags_descriptors_are_short(host):
    report = host.good(status_cdb(STORAGE, tags=False))
    assert struct.unpack_from(">H", report, 10)[0] == 12
    assert len(decode(report, tags=False)) == 5


def test_import_export_flags_tell_who_placed_the_cartridge(host):
    full, *empty = decode(host.good(status_cdb(IMPORT_EXPORT)))
    assert full.flags == 0x38 | 0x01 | 0x02
    assert {row.flags for row in empty} == {0x38}
    host.good(move(MAIL, SLOT + 3))
    host.good(move(SLOT + 3, MAIL + 1))
    assert decode(host.good(status_cdb(IMPORT_EXPORT)))[1].flags == 0x38 | 0x01


def test_device_identifiers_are_those_of_the_drives_vpd_page(host):
    rows = decode(
        host.good(status_cdb(DATA_TRANSFER, tags=False, identifiers=True)),
        tags=False,
        identifiers=True,
    )
    assert rows[0].identifier == b"\x02\x01\0\x22" + b"IBM     ULT3580-TD5     DRIVE00000"
    assert rows[1].identifier.endswith(b"DRIVE00001")
    other = decode(host.good(status_cdb(STORAGE, identifiers=True)), identifiers=True)
    assert other[0].identifier == bytes(4)


def test_start_address_and_count(host):
    rows = decode(host.good(status_cdb(STORAGE, first=SLOT + 1, count=2)))
    assert [row.address for row in rows] == [SLOT + 1, SLOT + 2]
    assert [row.address for row in decode(host.good(status_cdb(first=MAIL + 2)))] == [MAIL + 2]


def test_no_element_from_the_start_address_on(host):
    assert host.good(status_cdb(STORAGE, first=0xFFF0)) == bytes(8)


@pytest.mark.parametrize("allocation", [0, 4, 8, 16, 64, 65, 200])
def test_a_short_allocation_cuts_after_a_whole_descriptor_and_tells_all(host, allocation):
    whole = host.good(status_cdb(STORAGE))
    part = host.good(status_cdb(STORAGE, allocation=allocation))
    assert len(part) <= allocation
    assert whole.startswith(part)
    if len(part) > 16:
        assert (len(part) - 16) % 48 == 0


def test_a_thousand_descriptors_fit_into_64_kib():
    library = MemoryLibrary(AWS.ranges(1, 1000, 1))
    host = Initiator(MediaChanger(AWS, library, serial="MC00000001"))
    report = host.good(status_cdb(STORAGE, count=1000, identifiers=True, allocation=0xFFFF))
    assert int.from_bytes(report[5:8], "big") == len(report) - 8


def test_an_element_type_that_does_not_exist_is_refused(host):
    assert host.check(status_cdb(5)).code == (5, 0x24, 0)


def test_load_and_unload(host, library):
    host.good(move(SLOT, DRIVE))
    drive = decode(host.good(status_cdb(DATA_TRANSFER)))[0]
    assert (drive.tag, drive.source) == ("TAP000L5", SLOT)
    assert library.at(SLOT).volume_tag is None
    host.good(move(DRIVE, SLOT))
    assert library.at(SLOT).volume_tag == "TAP000L5"


@pytest.mark.parametrize(
    ("cdb", "code"),
    [
        (move(SLOT + 4, DRIVE), (5, 0x3B, 0x0E)),
        (move(SLOT, SLOT + 1), (5, 0x3B, 0x0D)),
        (move(SLOT, 0xFEFE), (5, 0x21, 1)),
        (move(0xFEFE, SLOT), (5, 0x21, 1)),
        (move(SLOT, 0), (5, 0x21, 1)),
        (move(SLOT, DRIVE, 77), (5, 0x21, 1)),
        (move(SLOT, DRIVE)[:10] + b"\x01", (5, 0x24, 0)),
    ],
)
def test_moves_that_cannot_be_made(host, cdb, code):
    before = host.good(status_cdb())
    assert host.check(cdb).code == code
    assert host.good(status_cdb()) == before


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (MoveRefusal.REMOVAL_PREVENTED, (5, 0x53, 2)),
        (MoveRefusal.NOT_ACCESSIBLE, (5, 0x3B, 0x11)),
        (MoveRefusal.DRIVE_FAILED, (4, 0x53, 0)),
    ],
)
def test_refusals_of_the_library(host, library, refusal, code):
    library.refusal = refusal
    assert host.check(move(SLOT, DRIVE)).code == code


def test_every_refusal_has_its_sense(host, library):
    for refusal in MoveRefusal:
        library.refusal = refusal
        assert host.check(move(SLOT, DRIVE)).key in (4, 5)


def test_exchange(host, library):
    host.good(struct.pack(">BxHHHH2x", 0xA6, 0, SLOT, SLOT + 1, SLOT))
    assert library.at(SLOT).volume_tag == "TAP001L5"
    assert library.at(SLOT + 1).volume_tag == "TAP000L5"
    full = struct.pack(">BxHHHH2x", 0xA6, 0, SLOT, SLOT + 1, SLOT + 2)
    assert host.check(full).code == (5, 0x3B, 0x0D)


def test_position_to_element(host):
    host.good(struct.pack(">BxHH4x", 0x2B, 0, SLOT))
    assert host.check(struct.pack(">BxHH4x", 0x2B, 0, 0xFEFE)).code == (5, 0x21, 1)


@pytest.mark.parametrize("cdb", ["07", "37", "e7", "01"])
def test_initialize_element_status(host, cdb):
    host.good(cdb)


def test_element_address_assignment_page(host):
    page = host.good("1a081d00ff")[4:]
    assert struct.unpack(">BB8H2x", page) == (0x1D, 18, 0, 1, SLOT, 5, MAIL, 3, DRIVE, 2)


def test_transport_geometry_and_capabilities_pages(host):
    assert host.good("1a081e00ff")[4:].hex() == "1e020000"
    page = host.good("1a081f00ff")[4:]
    assert (page[0], page[1], page[2]) == (0x1F, 18, 0x0E)
    assert page[4:8] == b"\0\x0e\x0e\x0e"
    assert page[12:16] == b"\0\x0e\x0e\x0e"


def test_a_cartridge_that_appears_is_told_to_every_nexus_once(host):
    other = Initiator(host.unit, "other")
    changer = host.unit
    assert isinstance(changer, MediaChanger)
    changer.inventory_changed()
    changer.inventory_changed()
    for nexus in (host, other):
        assert nexus.check("00").code == (6, 0x28, 1)
        nexus.good("00")
