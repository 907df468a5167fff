"""Text negotiation's key=value pairs (RFC 7143 6.1). Knows no key's meaning."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from tapectl.iscsi.errors import PDUFormatError

# RFC 7143 6.1: a key name is "at most 63 bytes" of these characters.
_KEY: Final = re.compile(r"[A-Za-z0-9.\-+@_#/]{1,63}")
# RFC 7143 6.1: 255 bytes "if not otherwise specified"; the binary values of CHAP may have 1024
# bytes, which are twice as many digits and a prefix.
VALUE_BYTES_MAX: Final = 255
BINARY_VALUE_BYTES_MAX: Final = 2 + 2 * 1024
_BINARY_KEYS: Final = frozenset({"CHAP_C", "CHAP_R"})
# No initiator sends more than some thirty keys at once; and 64 answers fit one login PDU.
PAIRS_MAX: Final = 64


def encode_text(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Return the pairs as a text data segment: each `key=value` ends in a NUL."""
    return b"".join(f"{key}={value}\0".encode() for key, value in pairs)


def decode_text(text: bytes) -> list[tuple[str, str]]:
    """Return the pairs of a whole (joined) text data segment, in order.

    A last pair without its NUL and empty pairs (padding sent as data) are taken. Raises
    PDUFormatError for anything else that is not `key=value`, and for a key that comes twice.
    """
    pairs: list[tuple[str, str]] = []
    seen: set[str] = set()
    for item in text.split(b"\0"):
        if not item:
            continue
        key, value = _decode_pair(item)
        if key in seen:
            raise PDUFormatError(f"key sent twice: {key}")
        seen.add(key)
        pairs.append((key, value))
        if len(pairs) > PAIRS_MAX:
            raise PDUFormatError(f"more than {PAIRS_MAX} keys")
    return pairs


def _decode_pair(item: bytes) -> tuple[str, str]:
    try:
        key, equals, value = item.decode("utf-8").partition("=")
    except UnicodeDecodeError:
        raise PDUFormatError("text is not UTF-8") from None
    if not equals or _KEY.fullmatch(key) is None:
        raise PDUFormatError(f"not a key=value pair: {key[:63]!r}")
    limit = BINARY_VALUE_BYTES_MAX if key in _BINARY_KEYS else VALUE_BYTES_MAX
    if len(value.encode()) > limit:
        raise PDUFormatError(f"value too long: {key}")
    return key, value


class TextAssembly:
    """Joins the text of PDUs that carry the C bit, up to a limit (RFC 7143 6.2)."""

    __slots__ = ("_limit_bytes", "_text")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._text = bytearray()

    def add(self, data: bytes, *, more: bool) -> list[tuple[str, str]] | None:
        """Take one PDU's text; return the pairs when it was the last, None when more follows.

        Raises PDUFormatError, as decode_text does, and when the whole is too long.
        """
        if len(self._text) + len(data) > self._limit_bytes:
            raise PDUFormatError(f"text longer than {self._limit_bytes} bytes")
        self._text += data
        if more:
            return None
        text, self._text = bytes(self._text), bytearray()
        return decode_text(text)
