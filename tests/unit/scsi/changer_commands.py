"""CDBs of the media changer, its reports taken apart, and a small library to try them on."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tapectl.scsi.changer_personality import CHANGER_PERSONALITIES
from tapectl.scsi.smc import MediaChanger
from tests.support.memory_library import MemoryLibrary
from tests.support.scsi_initiator import Initiator

AWS = CHANGER_PERSONALITIES["AWS-Gateway-VTL"]
ROBOT, DRIVE, SLOT, MAIL = 0, 10000, 20000, 30000
ALL, TRANSPORT, STORAGE, IMPORT_EXPORT, DATA_TRANSFER = range(5)


def changer_of(host: Initiator) -> MediaChanger:
    assert isinstance(host.unit, MediaChanger)
    return host.unit


def small_library() -> MemoryLibrary:
    """Two drives, five slots with tapes in the first three, a new tape in the first of three
    import/export elements."""
    library = MemoryLibrary(AWS.ranges(2, 5, 3))
    for slot in range(3):
        library.put(SLOT + slot, f"TAP00{slot}L5")
    library.put(MAIL, "NEW001L5", by_operator=True)
    return library


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """One element descriptor; `source` is None without SValid, `sense` without Except."""

    element_type: int
    address: int
    flags: int
    sense: tuple[int, int] | None
    source: int | None
    medium_type: int
    tag: str
    identifier: bytes


def status_cdb(
    kind: int = ALL,
    *,
    first: int = 0,
    count: int = 0xFFFF,
    tags: bool = True,
    byte_6: int = 0,
    allocation: int = 0xFFFFFF,
) -> bytes:
    """Return READ ELEMENT STATUS; `byte_6` has CURDATA (2) and DVCID (1)."""
    head = struct.pack(">BBHHB", 0xB8, kind | tags << 4, first, count, byte_6)
    return head + allocation.to_bytes(3, "big")


def decode(report: bytes, *, tags: bool = True) -> list[Descriptor]:
    """Take a report apart by its own lengths alone."""
    found, at = [], 8
    while at + 8 <= len(report):
        kind, flags, length = struct.unpack_from(">BBH", report, at)
        size = int.from_bytes(report[at + 5 : at + 8], "big")
        assert flags == (0x80 if tags else 0)
        at += 8
        for start in range(at, min(at + size, len(report)), length):
            found.append(_descriptor(kind, report[start : start + length], tags))
        at += size
    return found


def _descriptor(kind: int, row: bytes, tags: bool) -> Descriptor:
    rest = row[48:] if tags else row[12:]
    assert len(rest) >= 4
    return Descriptor(
        element_type=kind,
        address=int.from_bytes(row[:2], "big"),
        flags=row[2],
        sense=(row[4], row[5]) if row[2] & 0x04 else None,
        source=int.from_bytes(row[10:12], "big") if row[9] & 0x80 else None,
        medium_type=row[9] & 0x07,
        tag=row[12:44].decode().rstrip(" ") if tags else "",
        identifier=rest,
    )


def move(source: int, destination: int, transport: int = 0) -> bytes:
    return struct.pack(">BxHHH2xxx", 0xA5, transport, source, destination)


def exchange(source: int, first: int, second: int, transport: int = 0) -> bytes:
    return struct.pack(">BxHHHH2x", 0xA6, transport, source, first, second)


def position(destination: int, transport: int = 0) -> bytes:
    return struct.pack(">BxHH4x", 0x2B, transport, destination)


OPEN, CLOSE = 0, 1


def mailbox(action: int, address: int = MAIL) -> bytes:
    return struct.pack(">BxHBx", 0x1B, address, action)


def send_volume_tag(length: int, action: int = 5, kind: int = ALL, first: int = 0) -> bytes:
    return struct.pack(">BBHxBxxHxx", 0xB6, kind, first, action, length)


def template(text: str, lowest: int = 0, highest: int = 0xFFFF) -> bytes:
    return struct.pack(">32sxxHxxH", text.encode(), lowest, highest)


def found_cdb(
    kind: int = ALL, *, first: int = 0, count: int = 0xFFFF, allocation: int = 0xFFFFFF
) -> bytes:
    """Return REQUEST VOLUME ELEMENT ADDRESS with volume tags."""
    head = struct.pack(">BBHHx", 0xB5, kind | 0x10, first, count)
    return head + allocation.to_bytes(3, "big")
