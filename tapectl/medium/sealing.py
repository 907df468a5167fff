"""Encryption of segment objects, chunk by chunk, with the data key of their tape. Pure bytes.

AES-256-GCM forgives no nonce that is used twice, and a sequence number can come twice: an upload
is repeated, a machine that is shut out has put another segment of the same number. So each object
has a key of its own, made from the tape's by HKDF (RFC 5869) with a salt that depends on all of its
content (as in RFC 5297): the same segment becomes the same object again, any other has another key.
Specified in docs/bucket-format.md.
"""

from __future__ import annotations

import hmac
import struct
import uuid
from typing import Final

from tapectl.medium.errors import MediumFormatError

DATA_KEY_BYTES: Final = 32
SALT_BYTES: Final = 12
SEALED_OVERHEAD_BYTES: Final = 20
"""Bytes that a sealed chunk has more: CRC32C of the raw bytes, sealed too, and the tag."""

_PURPOSE_OF_SALT, _PURPOSE_OF_OBJECT = b"tapeSALT", b"tapeOBJK"
_PLACE = struct.Struct(">16sQ")  # tape UUID, sequence
_CHUNK = struct.Struct(">IIQ")  # number, encoding, bytes of the raw segment
_CRC = struct.Struct(">I")
_NONCE_BYTES = 12


class TapeSeal:
    """The data key of a tape, for the objects of its segments."""

    def __init__(self, data_key: bytes, tape_uuid: uuid.UUID) -> None:
        self._data_key = data_key
        self._tape_uuid = tape_uuid.bytes

    def for_content(self, sequence: int, content: memoryview, *, recipe: bytes) -> ObjectSeal:
        """Return what seals the object of a segment whose file is `content`.

        Other content, or the same by another `recipe` of how it is compressed, has another salt.
        """
        key = _derive(self._data_key, _PURPOSE_OF_SALT)
        digest = hmac.new(key, _PLACE.pack(self._tape_uuid, sequence), "sha256")
        digest.update(len(recipe).to_bytes(4, "big") + recipe)
        digest.update(content)
        return self.of_object(sequence, digest.digest()[:SALT_BYTES], len(content))

    def of_object(self, sequence: int, salt: bytes, raw_bytes: int) -> ObjectSeal:
        """Return what opens the chunks of an object with this salt."""
        info = _PURPOSE_OF_OBJECT + _PLACE.pack(self._tape_uuid, sequence) + salt
        return ObjectSeal(_derive(self._data_key, info), salt, raw_bytes)


class ObjectSeal:
    """The key of one object, and the `salt` that it was made with; a chunk opens at its own place
    in the object only."""

    def __init__(self, key: bytes, salt: bytes, raw_bytes: int) -> None:
        # Imported late: what never seals does not wait for it.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self.salt = salt
        self._cipher = AESGCM(key)
        self._raw_bytes = raw_bytes

    def seal(self, number: int, encoding: int, raw_crc: int, packed: bytes | memoryview) -> bytes:
        """Return what is stored of a chunk, `packed` as its encoding says."""
        return self._cipher.encrypt(
            number.to_bytes(_NONCE_BYTES, "big"),
            b"".join((_CRC.pack(raw_crc), packed)),
            _CHUNK.pack(number, encoding, self._raw_bytes),
        )

    def open(
        self, number: int, encoding: int, stored: bytes | memoryview
    ) -> tuple[int, memoryview]:
        """Return CRC32C of the raw chunk, and the chunk as it was packed.

        Raises MediumFormatError if it is not what this key has sealed for this place.
        """
        from cryptography.exceptions import InvalidTag

        try:
            opened = self._cipher.decrypt(
                number.to_bytes(_NONCE_BYTES, "big"),
                stored,
                _CHUNK.pack(number, encoding, self._raw_bytes),
            )
            (raw_crc,) = _CRC.unpack_from(opened)
        except (InvalidTag, ValueError, struct.error) as error:
            raise MediumFormatError(f"chunk {number} was not sealed with this key") from error
        return raw_crc, memoryview(opened)[_CRC.size :]


def _derive(key: bytes, info: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

    return HKDFExpand(SHA256(), DATA_KEY_BYTES, info).derive(key)
