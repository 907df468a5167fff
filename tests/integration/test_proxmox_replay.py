"""Proxmox Backup at a served gateway: its commands in its order, and what it refuses to go on with.

`pmtx` and `pmt` take the lengths, codes and pages that are asserted here for granted.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import pytest

from tests.support.gateway import Gateway
from tests.support.initiator import Session
from tests.support.tape_client import Device, Sense, SenseError

# Some changers limit a query, so it asks for so many elements at a time, with so much room.
ELEMENTS_AT_A_TIME, ROOM_BYTES = 1000, 0x10000
TRANSPORT, STORAGE, IMPORT_EXPORT, DRIVE = 1, 2, 3, 4
BLOCK_BYTES = 256 * 1024
FILEMARK, END_OF_DATA = (0, 0, 1), (8, 0, 5)
AES_256_GCM = 0x00010014
DRIVE_TYPE, SLOTS = "IBM-ULT3580-TD8", 1000


def sense_code(sense: Sense | None) -> tuple[int, int, int] | None:
    return (sense.key, sense.asc, sense.ascq) if sense else None


class Commands:
    """A logical unit through SG_IO: what it sent, or its sense."""

    def __init__(self, session: Session) -> None:
        self.device = Device(session)

    def read(self, cdb: str, room: int) -> bytes:
        return self.device.checked(cdb, bytes.fromhex(cdb), data_in_bytes=room)

    def good(self, cdb: str, data: bytes = b"") -> None:
        self.device.checked(cdb, bytes.fromhex(cdb), data_out=data)

    def refused(self, cdb: str, room: int = 0) -> tuple[int, int, int] | None:
        with pytest.raises(SenseError) as refusal:
            self.read(cdb, room)
        return sense_code(refusal.value.sense)

    def page(self, code: int) -> dict[int, bytes]:
        """A log page, of at most 8192 bytes, whose length must be what is there."""
        data = self.read(f"4d00{0x40 | code:02x}00000000200000", 8192)
        assert data[0] & 0x7F == code
        assert data[1] == 0
        assert int.from_bytes(data[2:4], "big") == len(data) - 4
        found, at = {}, 4
        while at < len(data):
            number, length = struct.unpack_from(">HxB", data, at)
            found[number] = data[at + 4 : at + 4 + length]
            at += 4 + length
        return found


def descriptors(data: bytes, first: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield type, flags of the page, and bytes of each descriptor; stop at what pmtx stops at."""
    reported, count = struct.unpack_from(">HH", data)
    length = int.from_bytes(data[5:8], "big")
    if not count:
        return
    assert reported >= first
    assert length <= len(data) - 8, "wrong amount of data"
    at = 8
    while at < 8 + length:
        kind, flags, size = struct.unpack_from(">BBH", data, at)
        end = at + 8 + int.from_bytes(data[at + 5 : at + 8], "big")
        assert size
        for start in range(at + 8, end, size):
            yield kind, flags, data[start : start + size]
        at = end


def elements(changer: Commands, kind: int, *, tags: bool = True) -> list[tuple[int, bytes]]:
    """All elements of a type, a thousand at a time: address and descriptor."""
    found: list[tuple[int, bytes]] = []
    first = 0
    while True:
        cdb = (
            f"b8{(0x10 if tags else 0) | kind:02x}{first:04x}{ELEMENTS_AT_A_TIME:04x}"
            f"{0 if tags else 1:02x}{ROOM_BYTES:06x}0000"
        )
        rows = list(descriptors(changer.read(cdb, ROOM_BYTES), first))
        assert all(row_kind == kind for row_kind, _, _ in rows)
        assert all(bool(flags & 0x80) == tags for _, flags, _ in rows)
        found += [(int.from_bytes(row[:2], "big"), row) for _, _, row in rows]
        if len(rows) < ELEMENTS_AT_A_TIME:
            return found
        first = found[-1][0] + 1


def test_pmtx_sees_every_element_and_moves_tapes(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "2", "--slots", str(SLOTS), "--tape-drive-type", DRIVE_TYPE)
    (barcode,) = gateway.create_tapes("--count", "1")
    gateway.serve()
    changer = Commands(gateway.connect("mediachanger"))
    assert changer.read("120000002400", 36)[0] == 8
    assignment = changer.read("1a081d00ff00", 255)
    assert assignment[0] == 23 == len(assignment) - 1
    counts = struct.unpack_from(">8H", assignment, 6)[1::2]
    storage = elements(changer, STORAGE)
    exports = elements(changer, IMPORT_EXPORT)
    drives = elements(changer, DRIVE)
    identified = elements(changer, DRIVE, tags=False)
    transports = elements(changer, TRANSPORT)
    found = (len(transports), len(storage), len(exports), len(drives))
    assert found == counts
    assert len(storage) == SLOTS
    assert [address for address, _ in identified] == [address for address, _ in drives]
    serials = {Device(gateway.connect(f"tapedrive-{n:02d}")).serial_number() for n in (1, 2)}
    told = set()
    for _, row in identified:
        code_set, kind, length = struct.unpack_from(">BBxB", row, 12)
        assert (code_set, kind, length) == (2, 1, 34)
        assert row[16:40] == b"IBM     ULT3580-TD8     "
        told.add(row[40:50].decode())
    assert told == serials
    (slot,) = [address for address, row in storage if row[2] & 0x01]
    tag = next(row for address, row in storage if address == slot)[12:44]
    assert tag.decode().rstrip() == barcode
    changer.good(f"a500{transports[0][0]:04x}{slot:04x}{drives[0][0]:04x}00000000")
    loaded = elements(changer, DRIVE)[0][1]
    assert loaded[2] & 0x01
    assert loaded[9] & 0x80
    assert int.from_bytes(loaded[10:12], "big") == slot
    changer.good(f"a500{transports[0][0]:04x}{drives[0][0]:04x}{storage[-1][0]:04x}00000000")
    assert [a for a, row in elements(changer, STORAGE) if row[2] & 0x01] == [storage[-1][0]]


def position(drive: Commands) -> tuple[int, int]:
    """Object and file number; the page must have 32 bytes and name partition 0."""
    data = drive.read("3406" + "00" * 8, 32)
    assert len(data) == 32
    partition, object_number, file_number = struct.unpack_from(">IQQ", data, 4)
    assert partition == 0
    return object_number, file_number


def after_filemark(drive: Commands) -> bool:
    """Space back over one block: only a filemark may stop that."""
    if position(drive)[0] == 0:
        return True
    try:
        drive.good("1100ffffff00")
    except SenseError as stopped:
        if sense_code(stopped.sense) != FILEMARK:
            raise
        drive.good("110100000100")
        return True
    drive.good("110000000100")
    return False


def locate_file(drive: Commands, number: int) -> None:
    drive.good(f"92080000{number - 1:016x}00000000")
    drive.good("110100000100")
    assert position(drive)[1] == number


def set_encryption(drive: Commands, key: bytes | None) -> None:
    capabilities = drive.read("a22000100000000020040000", 8196)
    index, length, can, key_bytes, code = struct.unpack_from(
        ">BxHBxxxxxHxxxxxxxxI", capabilities, 20
    )
    assert (length, key_bytes, code) == (20, 32, AES_256_GCM)
    assert can & 0x03 == 2
    assert can >> 2 & 0x03 == 2
    modes = (2, 3) if key else (0, 0)
    body = struct.pack(">BBBBBB8xH", 0x40, 0, *modes, index, 0, len(key or b"")) + (key or b"")
    page = struct.pack(">HH", 0x10, len(body)) + body
    drive.good(f"b52000100000{len(page):08x}0000", page)
    status = drive.read("a22000200000000020040000", 8196)
    assert struct.unpack_from(">H", status)[0] == 0x20
    assert tuple(status[5:7]) == modes
    assert len(status) >= 24


def set_options(drive: Commands) -> None:
    """Read, modify and write the compression page with its header and block descriptor."""
    for page, length in ((0x0F, 0x0E), (0x1D, 0x1E)):
        data = drive.read(f"5a00{page:02x}00000000100000", 4096)
        assert len(data) == 2 + int.from_bytes(data[:2], "big")
        assert data[7] == 8
        assert tuple(data[16:18]) == (page, length)
    head = bytearray(drive.read("5a000f00000000100000", 4096))
    head[:2] = b"\0\0"
    head[3] = head[3] & 0x8F | 0x10
    head[13:16] = bytes(3)
    head[18] |= 0x80
    drive.good(f"55100000000000{len(head):04x}00", bytes(head))


def write_file(drive: Commands, fill: bytes, blocks: int) -> None:
    for _ in range(blocks):
        drive.good(f"0a00{BLOCK_BYTES:06x}00", fill * BLOCK_BYTES)
    drive.good("100100000100")


def read_file(drive: Commands) -> list[bytes]:
    found = []
    while True:
        try:
            data = drive.read(f"0802{BLOCK_BYTES:06x}00", BLOCK_BYTES)
        except SenseError as stopped:
            if sense_code(stopped.sense) != FILEMARK:
                raise
            return found
        assert len(data) == BLOCK_BYTES
        found.append(data[:1])


def test_pmt_formats_labels_encrypts_appends_and_restores(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "1", "--slots", "8", "--tape-drive-type", DRIVE_TYPE)
    (barcode,) = gateway.create_tapes("--count", "1")
    gateway.serve()
    gateway.load(barcode)
    drive = Commands(gateway.connect("tapedrive-01"))
    assert drive.read("120000002400", 36)[0] == 1
    drive.read("030000001200", 18)
    drive.good("000000000000")
    densities = drive.read("44000000000000200000", 8192)
    assert int.from_bytes(densities[:2], "big") == len(densities) - 2
    assert max(densities[4::52]) == 0x5E
    set_options(drive)
    drive.good("010000000000")
    drive.good("040000000000")
    set_encryption(drive, bytes(range(32)))
    write_file(drive, b"L", 1)  # the label of the medium
    write_file(drive, b"1", 3)
    write_file(drive, b"2", 2)
    drive.good("100000000000")
    drive.good("110300000000")
    assert after_filemark(drive)
    assert position(drive) == (9, 3)
    locate_file(drive, 2)
    assert read_file(drive) == [b"2"] * 2
    assert drive.refused(f"0802{BLOCK_BYTES:06x}00", BLOCK_BYTES) == END_OF_DATA
    drive.good("010000000000")
    assert read_file(drive) == [b"L"]
    assert read_file(drive) == [b"1"] * 3
    set_encryption(drive, None)
    drive.good("010000000000")
    assert drive.refused(f"0802{BLOCK_BYTES:06x}00", BLOCK_BYTES) == (7, 0x74, 1)
    status_of_the_medium(drive)
    drive.good("1e0000000100")
    assert drive.refused("1b0000000000") == (5, 0x53, 2)
    drive.good("1e0000000000")
    drive.good("1b0000000000")
    assert drive.refused("000000000000") == (2, 0x3A, 0)
    drive.good("1b0000000100")
    drive.good("000000000000")


def status_of_the_medium(drive: Commands) -> None:
    """`pmt status`, `cartridge-memory`, `volume-statistics`, the alerts and the activity."""
    attributes = drive.read("8c000000000000000000" + "000080000000", 32768)
    assert int.from_bytes(attributes[:4], "big") == len(attributes) - 4
    found, at = {}, 4
    while at < len(attributes):
        number, length = struct.unpack_from(">HxH", attributes, at)
        found[number] = attributes[at + 5 : at + 5 + length]
        at += 5 + length
    assert found[0x0406].isdigit(), "Medium Manufacture Date"
    assert len(found[0x0406]) == 8
    assert len(found[0x040B]) == 10
    assert int.from_bytes(found[0x0220], "big") == 6 * BLOCK_BYTES >> 20
    assert len(found[0x0221]) == 8
    statistics = drive.page(0x17)
    assert statistics[0x0000] == b"\1", "page valid"
    assert all(1 <= len(statistics[code]) <= 8 for code in (1, 0x10, 0x11, 0x16, 0x101, 0x102))
    assert int.from_bytes(statistics[0x0001], "big") == 1
    activity = drive.page(0x11)[0x0000]
    assert len(activity) == 4
    assert activity[0] & 0x01
    response = drive.page(0x12)
    assert list(response) == [0]
    assert response[0] == bytes(8)
