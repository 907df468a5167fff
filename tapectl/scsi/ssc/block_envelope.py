"""How an encrypted block is recorded: the cipher text, and what is needed to decrypt it.

AES-256-GCM with the key of a client (security algorithm 00010014h, SPC-5 table of algorithm
codes). The layout is specified in docs/medium-format.md. A key is never part of it, and nothing
here shows one.
"""

from __future__ import annotations

import hmac
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
UNAUTHENTICATED_BYTES_MAX = 32
AUTHENTICATED_BYTES_MAX = 12

_TAG_BYTES = 16
_MAGIC = b"TpEn"
_VERSION = 1
# magic, version, flags, KAD format, bytes of U-KAD, bytes of A-KAD, 3 reserved bytes (0), nonce,
# key check
_HEADER = struct.Struct(">4sBBBBB3x12s8s")
_FLAGS_OFFSET = 5
_RAW_READS_REFUSED = 0x01
_WRITTEN_EXTERNALLY = 0x02
_KEY_CHECK_BYTES = 8
_KEY_CHECK_PURPOSE = b"tapectl encrypted block, key check"


class WrongKeyError(Exception):
    """The block was encrypted with another key."""


class IntegrityError(Exception):
    """The block was encrypted with this key and is not what it was then."""


class KeyAssociatedData(NamedTuple):
    """What a client wants to be kept with every block, to know the key by (SSC-5 4.2.25.10).

    Empty bytes stand for none. `format` is a KAD FORMAT: unspecified, binary or ASCII.
    """

    unauthenticated: bytes = b""
    authenticated: bytes = b""
    format: int = 0


NO_ASSOCIATED_DATA = KeyAssociatedData()


class BlockKey:
    """A client's key, to encrypt and decrypt blocks with; it cannot be got back out of it."""

    __slots__ = ("_check_key", "_cipher")

    def __init__(self, key: bytes) -> None:
        """`key` has KEY_BYTES."""
        # Not before a client sets a key: most drives never see one, and it takes a while.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher: AESGCM = AESGCM(key)
        self._check_key = hmac.digest(key, _KEY_CHECK_PURPOSE, "sha256")

    def check(self, nonce: bytes) -> bytes:
        """Return what tells a block of this key from one of another, different for each block."""
        return hmac.digest(self._check_key, nonce, "sha256")[:_KEY_CHECK_BYTES]

    def encrypt(self, nonce: bytes, data: bytes | memoryview, associated: bytes) -> bytes:
        """Return cipher text and tag."""
        return self._cipher.encrypt(nonce, data, associated)

    def decrypt(self, nonce: bytes, data: bytes | memoryview, associated: bytes) -> bytes:
        """Return the plain text; raise IntegrityError."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(nonce, data, associated)
        except InvalidTag:
            raise IntegrityError from None


def seal(
    key: BlockKey,
    nonce: bytes,
    block: memoryview,
    associated: KeyAssociatedData,
    *,
    raw_reads: bool,
) -> bytes:
    """Return the envelope of a block.

    `nonce` has NONCE_BYTES, and no other block of this key has the same. Unless `raw_reads`, drives
    do not hand the envelope out (SSC-5, RDMC).
    """
    unauthenticated, authenticated, kad_format = associated
    flags = 0 if raw_reads else _RAW_READS_REFUSED
    header = _HEADER.pack(
        _MAGIC,
        _VERSION,
        flags,
        kad_format,
        len(unauthenticated),
        len(authenticated),
        nonce,
        key.check(nonce),
    )
    sealed = key.encrypt(nonce, block, _authenticated_fields(flags, authenticated))
    return b"".join((header, unauthenticated, authenticated, sealed))


def _authenticated_fields(flags: int, authenticated: bytes) -> bytes:
    """What is authenticated with the data: who has written the block is not known before."""
    return bytes((_VERSION, flags & ~_WRITTEN_EXTERNALLY)) + authenticated


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope taken apart; `sealed` is cipher text and tag.

    `raw_reads`: whether it may be handed out as it is. `written_externally`: whether a client has
    written it as it is, and not the drive made it.
    """

    flags: int
    associated: KeyAssociatedData
    nonce: bytes
    key_check: bytes
    sealed: memoryview

    @classmethod
    def decode(cls, recorded: bytes | memoryview) -> Envelope | None:
        """Return the envelope that was recorded, None if it is none that is known here."""
        view = memoryview(recorded)
        if len(view) < _HEADER.size:
            return None
        (
            magic,
            version,
            flags,
            kad_format,
            unauthenticated_bytes,
            authenticated_bytes,
            nonce,
            check,
        ) = _HEADER.unpack_from(view)
        authenticated_at = _HEADER.size + unauthenticated_bytes
        sealed_at = authenticated_at + authenticated_bytes
        if magic != _MAGIC or version != _VERSION or len(view) <= sealed_at + _TAG_BYTES:
            return None
        associated = KeyAssociatedData(
            bytes(view[_HEADER.size : authenticated_at]),
            bytes(view[authenticated_at:sealed_at]),
            kad_format,
        )
        return cls(flags, associated, nonce, check, view[sealed_at:])

    @property
    def raw_reads(self) -> bool:
        return not self.flags & _RAW_READS_REFUSED

    @property
    def written_externally(self) -> bool:
        return bool(self.flags & _WRITTEN_EXTERNALLY)

    def is_of(self, key: BlockKey) -> bool:
        """Whether the block was encrypted with `key`."""
        return hmac.compare_digest(self.key_check, key.check(self.nonce))

    def open(self, key: BlockKey) -> bytes:
        """Return the block; raise WrongKeyError, IntegrityError."""
        if not self.is_of(key):
            raise WrongKeyError
        fields = _authenticated_fields(self.flags, self.associated.authenticated)
        return key.decrypt(self.nonce, self.sealed, fields)


def mark_written_externally(recorded: bytearray) -> None:
    """Note in an envelope that a client, and not the drive, has made it (SSC-5, EXTERNAL mode)."""
    recorded[_FLAGS_OFFSET] |= _WRITTEN_EXTERNALLY
