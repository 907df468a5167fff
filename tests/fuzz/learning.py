"""Asks a device for its pages, to make CDBs and parameter lists of them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping

from tapectl.scsi.logical_unit import LogicalUnit, Status

Codes = dict[int, list[Mapping[int, int]]]
Lists = dict[int, list[bytes]]
Ask = Callable[[str], bytes]

_NEXUS = "teacher"
_BLOCK_LENGTH_64 = bytes.fromhex("00000000 00000040")


def asking(unit: LogicalUnit) -> Ask:
    """Return a function that sends a CDB in hex and returns the data, none where it is refused."""

    def ask(cdb: str) -> bytes:
        for _ in range(4):  # attentions go first
            reply = unit.execute(_NEXUS, bytes.fromhex(cdb).ljust(16, b"\0"), memoryview(b""))
            if reply.status is Status.GOOD:
                return bytes(reply.data_in)
        return b""

    return ask


def mode_pages(ask: Ask) -> Iterator[bytes]:
    """Yield every mode page, header and body, as it is now."""
    pages = ask("5a083fff000000ffff00")[8:]
    while pages:
        size = 4 + struct.unpack_from(">H", pages, 2)[0] if pages[0] & 0x40 else 2 + pages[1]
        yield pages[:size]
        pages = pages[size:]


def log_page_codes(ask: Ask) -> list[tuple[int, int]]:
    """Return page and subpage code of every log page."""
    pairs = ask("4d0000ff000000ffff00")[4:] or bytes(
        byte for code in ask("4d000000000000ffff00")[4:] for byte in (code, 0)
    )
    return list(zip(pairs[0::2], pairs[1::2], strict=True))


def learn_spc(ask: Ask) -> tuple[Codes, Lists]:
    """Return the codes of pages, and parameter lists made of pages, of any device."""
    modes, logs = list(mode_pages(ask)), log_page_codes(ask)
    mode_codes = [(page[0] & 0x3F, page[1] if page[0] & 0x40 else 0) for page in modes]
    mode_codes += [(0x3F, 0), (0x3F, 0xFF), (0, 0)]
    mode_choices = [
        {2: control << 6 | code, 3: subpage} for code, subpage in mode_codes for control in range(4)
    ]
    log_choices = [
        {2: control << 6 | code, 3: subpage} for code, subpage in logs for control in (1, 1, 0, 3)
    ]
    codes: Codes = {
        0x12: [{1: 1, 2: code} for code in ask("12010000ff")[4:]],
        0x1A: list(mode_choices),
        0x5A: list(mode_choices),
        0x4D: list(log_choices),
        0x4C: [*log_choices, {1: 2}, {1: 3}],
        0xA3: [{2: option, 3: code} for option in range(4) for code in (0x5E, 0x08, 0x12, 0xA3)],
        0x1D: [{1: 4}],
        0x3B: [{1: mode} for mode in (0x02, 0x0A)],
        0x3C: [{1: mode} for mode in (0x02, 0x03, 0x0A, 0x0B)],
        0x5F: [{2: kind} for kind in (1, 3, 5, 6, 7, 8)],
    }
    bodies = [bytes((page[0] & 0x7F,)) + page[1:] for page in modes]
    lists: Lists = {
        0x15: [bytes(4) + body for body in bodies] + [bytes((0, 0, 0x10, 8)) + _BLOCK_LENGTH_64],
        0x55: [bytes(8) + body for body in bodies]
        + [bytes((0, 0, 0, 0x10, 0, 0, 0, 8)) + _BLOCK_LENGTH_64],
        0x4C: [
            b"",
            *(ask(f"4d00{0x40 | code:02x}{subpage:02x}000000ffff00") for code, subpage in logs),
        ],
        0x5F: _reservations(),
        0xA4: [bytes.fromhex("00000000 018d00000000 0000"), bytes(12)],
        0x1D: [b"", b"", bytes.fromhex("00000000"), bytes.fromhex("40000000")],
        0x3B: [b"", bytes(4), b"firmware" * 4],
    }
    return codes, lists


def _reservations() -> list[bytes]:
    """Parameter lists of PERSISTENT RESERVE OUT, with the few keys that all nexuses share."""
    keys = ((0, 1), (1, 1), (1, 0), (1, 2), (2, 1), (2, 2), (0, 0))
    lists = [struct.pack(">QQ4xB3x", *pair, flags) for pair in keys for flags in (0, 0, 0, 1)]
    lists += [struct.pack(">QQ4xB3x", 0, 1, flags) for flags in (4, 8)]
    name = b"iqn.2000-01.test:two\0".ljust(24, b"\0")
    transport_id = struct.pack(">BBH", 0x05, 0, len(name)) + name
    moved = struct.pack(">QQxBHI", 1, 2, 1, 1, len(transport_id)) + transport_id
    return [*lists, moved]
