"""Mode pages as data, and the encoding of MODE SENSE and MODE SELECT (SPC-5 6.13, 7.5)."""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tapectl.scsi.sense import ASC, illegal_request, invalid_field_in_parameter_list

ALL_PAGES = 0x3F
ALL_SUBPAGES = 0xFF
_SUBPAGE_FORMAT = 0x40

PageCode = tuple[int, int]


class PageControl(enum.IntEnum):
    """Which values MODE SENSE is to return (SPC-5 table 187)."""

    CURRENT = 0
    CHANGEABLE = 1
    DEFAULT = 2
    SAVED = 3


@dataclass(frozen=True, slots=True)
class ModePage:
    """One page: `default` and `changeable` are the bytes after the page's header, as long.

    `overlay`, where the page shows something that is not set by MODE SELECT,
    takes the bytes and returns them with that filled in. `check`, where not every
    combination of bits is one that can be set, takes new bytes and where the first of
    them stands in the parameter list, and raises CheckCondition. A page that is
    `per_nexus` has values of its own for each I_T nexus (SPC-5 7.5.4, mode page policy).
    """

    code: int
    default: bytes
    changeable: bytes
    subpage: int = 0
    overlay: Callable[[bytes], bytes] | None = None
    check: Callable[[bytes, int], None] | None = None
    per_nexus: bool = False

    @property
    def key(self) -> PageCode:
        return self.code, self.subpage

    def encode(self, body: bytes) -> bytes:
        """Return header and body, in page_0 or subpage format."""
        if self.subpage:
            return struct.pack(">BBH", _SUBPAGE_FORMAT | self.code, self.subpage, len(body)) + body
        return bytes((self.code, len(body))) + body


def page(code: int, default: str, changeable: str = "", subpage: int = 0) -> ModePage:
    """Return a page from two hex strings; none of it is changeable when the second is empty."""
    body = bytes.fromhex(default)
    mask = bytes.fromhex(changeable) if changeable else bytes(len(body))
    return ModePage(code, body, mask, subpage)


class ModePages:
    """The pages of one logical unit with their current values."""

    def __init__(self, pages: Iterable[ModePage]) -> None:
        # "In ascending order by page code, then subpage code"; page 00h would come last.
        self._pages = {row.key: row for row in sorted(pages, key=lambda row: row.key)}
        self._values: dict[PageCode, bytes] = {}
        self._nexus_values: dict[str, dict[PageCode, bytes]] = {}
        self.reset()

    def reset(self) -> None:
        """Go back to the default values; none are saved."""
        self._values = {key: row.default for key, row in self._pages.items()}
        self._nexus_values.clear()

    def forget(self, nexus: str) -> None:
        """A nexus was lost: what it had set for itself goes."""
        self._nexus_values.pop(nexus, None)

    def value(self, key: PageCode, nexus: str) -> bytes:
        """Return the current bytes after the header of a page, as they are for one nexus."""
        own = self._nexus_values.get(nexus)
        return own[key] if own and key in own else self._values[key]

    def bit(self, key: PageCode, byte: int, bit: int) -> bool:
        """Return one bit of a current value; `byte` counts from the page's first header byte."""
        row = self._pages.get(key)
        if row is None:
            return False
        header_bytes = 4 if row.subpage else 2
        return bool(self._values[key][byte - header_bytes] >> bit & 1)

    def sense(self, code: int, subpage: int, control: PageControl, nexus: str) -> bytes | None:
        """Return the pages that were asked for, one after the other; None if there is no such page.

        Raises CheckCondition for saved values.
        """
        wanted = [row for row in self._pages.values() if _matches(row, code, subpage)]
        if not wanted:
            return None
        if control is PageControl.SAVED:
            raise illegal_request(ASC.SAVING_PARAMETERS_NOT_SUPPORTED)
        return b"".join(row.encode(self._body(row, control, nexus)) for row in wanted)

    def _body(self, row: ModePage, control: PageControl, nexus: str) -> bytes:
        if control is PageControl.CHANGEABLE:
            return row.changeable
        body = row.default if control is PageControl.DEFAULT else self.value(row.key, nexus)
        return row.overlay(body) if row.overlay else body

    def check(
        self, parameters: memoryview, offset: int, nexus: str
    ) -> Sequence[tuple[PageCode, bytes]]:
        """Return the new values in a MODE SELECT parameter list from `offset` on; change nothing.

        Raises CheckCondition for a page that is not there or has another length, a list cut
        short, and for a bit that cannot be changed and has been.
        """
        changes = []
        while offset < len(parameters):
            key, body_at, length = _page_header(parameters, offset)
            row = self._pages.get(key)
            if row is None:
                raise invalid_field_in_parameter_list(offset)
            if length != len(row.default):
                raise invalid_field_in_parameter_list(body_at - 1)
            body = bytes(parameters[body_at : body_at + length])
            if len(body) != length:
                raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
            current = self._body(row, PageControl.CURRENT, nexus)
            for index, mask in enumerate(row.changeable):
                if (body[index] ^ current[index]) & ~mask & 0xFF:
                    raise invalid_field_in_parameter_list(body_at + index)
            if row.check is not None:
                row.check(body, body_at)
            changes.append((key, body))
            offset = body_at + length
        return changes

    def apply(self, changes: Sequence[tuple[PageCode, bytes]], nexus: str) -> bool:
        """Make checked values current; return whether any that others share has changed."""
        changed = False
        for key, body in changes:
            if self._pages[key].per_nexus:
                self._nexus_values.setdefault(nexus, {})[key] = body
            else:
                changed |= self._values[key] != body
                self._values[key] = body
        return changed


def _matches(row: ModePage, code: int, subpage: int) -> bool:
    return code in (ALL_PAGES, row.code) and subpage in (ALL_SUBPAGES, row.subpage)


def _page_header(parameters: memoryview, offset: int) -> tuple[PageCode, int, int]:
    """Return page and subpage code, where the body starts, and how long it says it is."""
    code = parameters[offset] & 0x3F
    header_bytes = 4 if parameters[offset] & _SUBPAGE_FORMAT else 2
    if offset + header_bytes > len(parameters):
        raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
    if header_bytes == 4:
        subpage, length = struct.unpack_from(">BH", parameters, offset + 1)
        return (code, subpage), offset + 4, length
    return (code, 0), offset + 2, parameters[offset + 1]
