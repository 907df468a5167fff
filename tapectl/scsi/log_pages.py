"""Log pages and their parameters (SPC-5 7.3)."""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tapectl.scsi.sense import invalid_field_in_cdb

ALL_SUBPAGES = 0xFF
# DS: nothing is saved; FORMAT AND LINKING: 00b a counter, 01b ASCII, 11b binary (SPC-5 table 287).
_COUNTER, _ASCII_LIST, _BINARY_LIST = 0x40, 0x41, 0x43
_FORMAT_AND_LINKING = 0x03
# PAGE LENGTH has 16 bits.
_PAGE_BYTES = 0xFFFF
TAPE_ALERT_FLAGS = 64


class LogValues(enum.IntEnum):
    """Which values of counters LOG SENSE is to return (SPC-5 table 195)."""

    THRESHOLD = 0
    CUMULATIVE = 1
    DEFAULT_THRESHOLD = 2
    DEFAULT_CUMULATIVE = 3


@dataclass(frozen=True, slots=True)
class LogParameter:
    """One log parameter with its encoded value.

    `control` is its third byte: how the value is to be read, and that nothing watches it (ETC
    clear) or saves it (DS set).
    """

    code: int
    value: bytes
    control: int = _COUNTER

    def encode(self, values: LogValues = LogValues.CUMULATIVE) -> bytes:
        """Return the parameter with its value, or the threshold or default of a counter.

        Lists have neither. A threshold that is never met is the largest number there is.
        """
        value = self.value
        if self.control & _FORMAT_AND_LINKING == 0:
            if values is LogValues.DEFAULT_CUMULATIVE:
                value = bytes(len(value))
            elif values is not LogValues.CUMULATIVE:
                value = b"\xff" * len(value)
        return struct.pack(">HBB", self.code, self.control, len(value)) + value


def counter(code: int, value: int, size_bytes: int) -> LogParameter:
    """Return a counter; a value too large for its bytes stays at the largest ("shall saturate")."""
    return LogParameter(code, min(value, (1 << 8 * size_bytes) - 1).to_bytes(size_bytes, "big"))


def binary(code: int, value: bytes) -> LogParameter:
    return LogParameter(code, value, _BINARY_LIST)


def ascii_text(code: int, text: str, size_bytes: int) -> LogParameter:
    value = text.encode("ascii", "replace")[:size_bytes].ljust(size_bytes)
    return LogParameter(code, value, _ASCII_LIST)


@dataclass(frozen=True, slots=True)
class LogPage:
    """A page of parameters in ascending order of code, or, for the lists of pages, plain bytes.

    `reset` is what LOG SELECT calls to set the page back to its defaults; None: nothing in it is.
    Pages that are reset together have the same one.
    """

    code: int
    parameters: Sequence[LogParameter] = ()
    subpage: int = 0
    plain: bytes = b""
    reset: Callable[[], None] | None = None

    def encode(self, pointer: int = 0, values: LogValues = LogValues.CUMULATIVE) -> bytes:
        """Return the page with the parameters from `pointer` on, as many as a page holds.

        Raises CheckCondition where the pointer is beyond the last: "a PARAMETER POINTER
        field ... larger than the largest available parameter code".
        """
        body = self.plain
        if not body:
            if pointer and (not self.parameters or pointer > self.parameters[-1].code):
                raise invalid_field_in_cdb(5)
            rows = (row.encode(values) for row in self.parameters if row.code >= pointer)
            body = _as_many_as_fit(rows)
        subpage_format = 0x40 if self.subpage else 0
        # DS of the page stays clear, though that of its parameters is set: LTO drives answer so,
        # and there are clients that compare the whole byte with the page code.
        return struct.pack(">BBH", subpage_format | self.code, self.subpage, len(body)) + body


def _as_many_as_fit(parameters: Iterable[bytes]) -> bytes:
    """Return whole parameters; an initiator asks for the rest by PARAMETER POINTER."""
    body = bytearray()
    for parameter in parameters:
        if len(body) + len(parameter) > _PAGE_BYTES:
            break
        body += parameter
    return bytes(body)


def with_supported_lists(pages: Iterable[LogPage]) -> Mapping[tuple[int, int], LogPage]:
    """Return the pages by code and subpage, and those that list them: 00h, 00h/FFh, and FFh of
    each page that has subpages."""
    found = {(row.code, row.subpage): row for row in pages}
    codes = sorted({0x00, *(code for code, _ in found)})
    for code in {code for code, subpage in found if subpage}:
        siblings = sorted(key for key in (*found, (code, ALL_SUBPAGES)) if key[0] == code)
        listing = b"".join(bytes(key) for key in siblings)
        found[code, ALL_SUBPAGES] = LogPage(code, subpage=ALL_SUBPAGES, plain=listing)
    keys = sorted({(0x00, 0x00), (0x00, ALL_SUBPAGES), *found})
    found[0x00, 0x00] = LogPage(0x00, plain=bytes(codes))
    pairs = b"".join(bytes(key) for key in keys)
    found[0x00, ALL_SUBPAGES] = LogPage(0x00, subpage=ALL_SUBPAGES, plain=pairs)
    return found


def tape_alert(
    active: frozenset[int] | set[int], reset: Callable[[], None] | None = None
) -> LogPage:
    """Log page 2Eh: each of the 64 flags, one byte, set or not (SSC-5 8.2.3)."""
    flags = [binary(flag, bytes((flag in active,))) for flag in range(1, TAPE_ALERT_FLAGS + 1)]
    return LogPage(0x2E, flags, reset=reset)


def tape_alert_bits(active: frozenset[int] | set[int]) -> bytes:
    """Return the 64 flags as 8 bytes, flag 1 in the most significant bit of the first."""
    bits = sum(1 << TAPE_ALERT_FLAGS - flag for flag in active)
    return bits.to_bytes(8, "big")
