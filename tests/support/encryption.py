"""What a client of application-managed encryption sends, and what it reads of the pages."""

from __future__ import annotations

import struct
from dataclasses import dataclass

PUBLIC, LOCAL, ALL_NEXUSES = 0, 1, 2
DISABLE, EXTERNAL, ENCRYPT = 0, 1, 2
RAW, DECRYPT, MIXED = 1, 2, 3
RAW_ENABLED = 2
KEY = bytes(range(32))
OTHER_KEY = bytes(range(100, 132))


def spin_cdb(specific: int, *, protocol: int = 0x20, length: int = 0x2000) -> bytes:
    """SECURITY PROTOCOL IN."""
    return struct.pack(">BBHHI2x", 0xA2, protocol, specific, 0, length)


def spout_cdb(data: bytes, *, specific: int = 0x10, protocol: int = 0x20) -> bytes:
    """SECURITY PROTOCOL OUT for a parameter list."""
    return struct.pack(">BBHHI2x", 0xB5, protocol, specific, 0, len(data))


def kad(kind: int, value: bytes) -> bytes:
    """A key-associated data descriptor."""
    return struct.pack(">BBH", kind, 0, len(value)) + value


def set_page(
    encryption: int = ENCRYPT,
    decryption: int = DECRYPT,
    key: bytes = KEY,
    *,
    scope: int = ALL_NEXUSES,
    lock: bool = False,
    flags: int = 0,
    algorithm: int = 1,
    key_format: int = 0,
    kad_format: int = 0,
    kads: bytes = b"",
) -> bytes:
    """A Set Data Encryption page. `flags` is byte 5: CEEM, RDMC, SDK, CKOD, CKORP, CKORL."""
    head = bytes(
        (scope << 5 | lock, flags, encryption, decryption, algorithm, key_format, kad_format)
    )
    body = head + bytes(7) + struct.pack(">H", len(key)) + key + kads
    return struct.pack(">HH", 0x10, len(body)) + body


def off_page(**fields: int) -> bytes:
    """The page that ends encryption."""
    return set_page(DISABLE, DISABLE, b"", **fields)


@dataclass(frozen=True)
class Kad:
    kind: int
    authenticated: int
    value: bytes


def _kads(data: bytes) -> list[Kad]:
    found = []
    while data:
        kind, authenticated, length = struct.unpack_from(">BBH", data)
        found.append(Kad(kind, authenticated & 7, data[4 : 4 + length]))
        data = data[4 + length :]
    return found


@dataclass(frozen=True)
class EncryptionStatus:
    """A Data Encryption Status page."""

    nexus_scope: int
    key_scope: int
    modes: tuple[int, int]
    algorithm: int
    instance: int
    parameters_control: int
    encrypted_volume: bool
    external_check: int
    raw_reads_disabled: bool
    kad_format: int
    kads: list[Kad]

    @classmethod
    def decode(cls, page: bytes) -> EncryptionStatus:
        code, length = struct.unpack_from(">HH", page)
        assert (code, length) == (0x20, len(page) - 4)
        scopes, encryption, decryption, algorithm, instance, flags, kad_format = struct.unpack_from(
            ">BBBBIBB", page, 4
        )
        assert page[14:24] == bytes(10)
        return cls(
            scopes >> 5,
            scopes & 7,
            (encryption, decryption),
            algorithm,
            instance,
            flags >> 4 & 7,
            bool(flags & 8),
            flags >> 1 & 3,
            bool(flags & 1),
            kad_format,
            _kads(page[24:]),
        )


@dataclass(frozen=True)
class NextBlockStatus:
    """A Next Block Encryption Status page."""

    object_number: int
    compression: int
    encryption: int
    algorithm: int
    written_externally: bool
    raw_reads_disabled: bool
    kad_format: int
    kads: list[Kad]

    @classmethod
    def decode(cls, page: bytes) -> NextBlockStatus:
        code, length = struct.unpack_from(">HH", page)
        assert (code, length) == (0x21, len(page) - 4)
        number, status, algorithm, flags, kad_format = struct.unpack_from(">QBBBB", page, 4)
        return cls(
            number,
            status >> 4,
            status & 15,
            algorithm,
            bool(flags & 2),
            bool(flags & 1),
            kad_format,
            _kads(page[16:]),
        )
