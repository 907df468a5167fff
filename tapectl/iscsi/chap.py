"""CHAP for iSCSI, both sides' arithmetic and the target's exchange (RFC 7143 12.1.3, RFC 1994)."""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tapectl.iscsi.constants import LoginStatus
from tapectl.iscsi.errors import LoginError
from tapectl.iscsi.params import parse_number
from tapectl.iscsi.policy import ChapCredential

# "CHAP_C and CHAP_R ... large binary values up to 1024 bytes" (RFC 7143 12.1.3).
BINARY_BYTES_MAX: Final = 1024
CHAP_KEYS: Final = frozenset({"CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R"})


class ChapAlgorithm(enum.IntEnum):
    """The IANA registry of PPP authentication algorithms, as far as iSCSI uses it."""

    MD5 = 5
    SHA1 = 6
    SHA256 = 7
    SHA3_256 = 8


_HASHES: Final[dict[ChapAlgorithm, Callable[[bytes], bytes]]] = {
    ChapAlgorithm.MD5: lambda data: hashlib.md5(data, usedforsecurity=False).digest(),
    ChapAlgorithm.SHA1: lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    ChapAlgorithm.SHA256: lambda data: hashlib.sha256(data).digest(),
    ChapAlgorithm.SHA3_256: lambda data: hashlib.sha3_256(data).digest(),
}
# As long as the hash; libiscsi and open-iscsi take any length up to 1024.
_CHALLENGE_BYTES: Final = {
    ChapAlgorithm.MD5: 16,
    ChapAlgorithm.SHA1: 20,
    ChapAlgorithm.SHA256: 32,
    ChapAlgorithm.SHA3_256: 32,
}


def chap_response(
    algorithm: ChapAlgorithm, identifier: int, secret: str, challenge: bytes
) -> bytes:
    """Return the response to a challenge: the hash of identifier, secret and challenge."""
    return _HASHES[algorithm](bytes([identifier]) + secret.encode() + challenge)


def encode_binary(data: bytes) -> str:
    """Return a binary value in hex, as every initiator understands it."""
    return "0x" + data.hex()


def decode_binary(text: str) -> bytes | None:
    """Return the bytes of a hex (0x) or base64 (0b) constant (RFC 7143 6.1), None if malformed."""
    prefix, digits = text[:2].lower(), text[2:]
    try:
        if prefix == "0x" and digits.isalnum():
            data = bytes.fromhex(digits if len(digits) % 2 == 0 else "0" + digits)
        elif prefix == "0b":
            data = base64.b64decode(digits, validate=True)
        else:
            return None
    except (ValueError, binascii.Error):
        return None
    return data if 0 < len(data) <= BINARY_BYTES_MAX else None


class ChapExchange:
    """The target's side of one CHAP authentication; each challenge is answered once."""

    def __init__(
        self, credentials: Sequence[ChapCredential], random_bytes: Callable[[int], bytes]
    ) -> None:
        self._credentials = credentials
        self._random_bytes = random_bytes
        self._algorithm: ChapAlgorithm | None = None
        self._identifier = 0
        self._challenge = b""
        self.done = False

    def answer(self, keys: Mapping[str, str]) -> list[tuple[str, str]]:
        """Take the CHAP keys of one login step and return the target's.

        Raises LoginError whenever the initiator has not proved itself in the order that
        RFC 7143 12.1.3 lays down.
        """
        if not keys:
            return []
        if self.done:
            raise _refused("a challenge is answered once")
        if self._algorithm is None:
            return self._challenge_initiator(keys)
        return self._check_response(self._algorithm, keys)

    def _challenge_initiator(self, keys: Mapping[str, str]) -> list[tuple[str, str]]:
        if set(keys) != {"CHAP_A"}:
            raise _refused("CHAP begins with CHAP_A alone")
        offered = [parse_number(item, 0, 255) for item in keys["CHAP_A"].split(",")]
        algorithm = next((ChapAlgorithm(a) for a in offered if a in set(ChapAlgorithm)), None)
        if algorithm is None:
            raise _refused(f"no common CHAP algorithm: {keys['CHAP_A'][:40]}")
        self._algorithm = algorithm
        self._identifier = self._random_bytes(1)[0]
        self._challenge = self._random_bytes(_CHALLENGE_BYTES[algorithm])
        return [
            ("CHAP_A", str(int(algorithm))),
            ("CHAP_I", str(self._identifier)),
            ("CHAP_C", encode_binary(self._challenge)),
        ]

    def _check_response(
        self, algorithm: ChapAlgorithm, keys: Mapping[str, str]
    ) -> list[tuple[str, str]]:
        if not {"CHAP_N", "CHAP_R"} <= set(keys) or "CHAP_A" in keys:
            raise _refused("CHAP_N and CHAP_R expected")
        response = decode_binary(keys["CHAP_R"])
        credential = self._verified_credential(algorithm, keys["CHAP_N"], response or b"")
        if credential is None:
            raise _refused("wrong CHAP name or response")
        self.done = True
        if "CHAP_I" not in keys and "CHAP_C" not in keys:
            return []
        return self._prove_target(algorithm, credential, keys)

    def _verified_credential(
        self, algorithm: ChapAlgorithm, user: str, response: bytes
    ) -> ChapCredential | None:
        verified = None
        # Every credential is tried in full, so that the time tells nothing of the names.
        for credential in self._credentials:
            want = chap_response(algorithm, self._identifier, credential.secret, self._challenge)
            right = hmac.compare_digest(want, response)
            if right and hmac.compare_digest(credential.user.encode(), user.encode()):
                verified = credential
        return verified

    def _prove_target(
        self, algorithm: ChapAlgorithm, credential: ChapCredential, keys: Mapping[str, str]
    ) -> list[tuple[str, str]]:
        identifier = parse_number(keys.get("CHAP_I", ""), 0, 255)
        challenge = decode_binary(keys.get("CHAP_C", ""))
        if identifier is None or challenge is None:
            raise _refused("mutual CHAP needs CHAP_I and CHAP_C")
        if challenge == self._challenge:
            # RFC 7143 12.1.3: the same challenge in both directions is a reflection attack.
            raise _refused("the initiator sent our own challenge back")
        user, secret = credential.mutual_user, credential.mutual_secret
        if user is None or secret is None:
            raise _refused("no mutual CHAP secret is set")
        if secret == credential.secret:
            # RFC 7143 9.2.1: a secret MUST NOT be used in both directions; our answer would
            # be a valid answer to a challenge of ours on another connection.
            raise _refused("the mutual CHAP secret equals the initiator's")
        proof = chap_response(algorithm, identifier, secret, challenge)
        return [("CHAP_N", user), ("CHAP_R", encode_binary(proof))]


def _refused(message: str) -> LoginError:
    return LoginError(LoginStatus.AUTHENTICATION_FAILURE, message)
