"""Encryption of segment objects, chunk by chunk, with the data key of their tape. Pure bytes.

AES-256-GCM forgives no nonce that is used twice for different bytes, and a sequence number can come
twice: an upload is repeated, a machine that is shut out has put another segment of the same number.
So the nonce of a chunk is a MAC of all that is sealed, as in SIV (RFC 5297): the same chunk becomes
the same bytes again, any other has another nonce. Specified in docs/bucket-format.md.
"""

from __future__ import annotations

import hmac
import struct
import uuid
from typing import Final

from tapectl.medium.errors import MediumFormatError

DATA_KEY_BYTES: Final = 32
SEALED_OVERHEAD_BYTES: Final = 32
"""Bytes that a sealed chunk has more: nonce, CRC32C of the raw bytes, tag."""

_KEY_BYTES, _NONCE_BYTES = 32, 12
_PURPOSE = b"tapeOBJK"
_PLACE = struct.Struct(">16sQQ")  # tape UUID, epoch, sequence
_CHUNK = struct.Struct(">IIQ")  # number, encoding, bytes of the raw segment
_CRC = struct.Struct(">I")


class TapeSeal:
    """The data key of a tape, for the objects of segments that were put in one epoch of its
    ownership."""

    def __init__(self, data_key: bytes, tape_uuid: uuid.UUID, epoch: int) -> None:
        self._data_key = data_key
        self._tape_uuid = tape_uuid.bytes
        self._epoch = epoch

    def of_object(self, sequence: int, raw_bytes: int) -> ObjectSeal:
        """Return what seals and opens the chunks of a segment whose file has `raw_bytes`."""
        # Imported late: what never seals does not wait for it.
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

        info = _PURPOSE + _PLACE.pack(self._tape_uuid, self._epoch, sequence)
        keys = HKDFExpand(SHA256(), 2 * _KEY_BYTES, info).derive(self._data_key)
        return ObjectSeal(keys[:_KEY_BYTES], keys[_KEY_BYTES:], raw_bytes)


class ObjectSeal:
    """The keys of one object; a chunk opens at its own place in the object only."""

    def __init__(self, key: bytes, nonce_key: bytes, raw_bytes: int) -> None:
        """Use `TapeSeal.of_object`."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(key)
        self._nonce_key = nonce_key
        self._raw_bytes = raw_bytes

    def seal(self, number: int, encoding: int, raw_crc: int, packed: bytes | memoryview) -> bytes:
        """Return what is stored of a chunk, `packed` as its encoding says."""
        place = _CHUNK.pack(number, encoding, self._raw_bytes)
        content = b"".join((_CRC.pack(raw_crc), packed))
        digest = hmac.new(self._nonce_key, place, "sha256")
        digest.update(content)
        nonce = digest.digest()[:_NONCE_BYTES]
        return nonce + self._cipher.encrypt(nonce, content, place)

    def open(
        self, number: int, encoding: int, stored: bytes | memoryview
    ) -> tuple[int, memoryview]:
        """Return CRC32C of the raw chunk, and the chunk as it was packed.

        Raises MediumFormatError if it is not what this key has sealed for this place.
        """
        from cryptography.exceptions import InvalidTag

        place = _CHUNK.pack(number, encoding, self._raw_bytes)
        try:
            opened = self._cipher.decrypt(
                bytes(stored[:_NONCE_BYTES]), stored[_NONCE_BYTES:], place
            )
            (raw_crc,) = _CRC.unpack_from(opened)
        except (InvalidTag, ValueError, struct.error) as error:
            raise MediumFormatError(f"chunk {number} was not sealed with this key") from error
        return raw_crc, memoryview(opened)[_CRC.size :]
