"""Mode pages as data, and the encoding of MODE SENSE and MODE SELECT (SPC-5 6.13, 7.5)."""

from __future__ import annotations

import enum
import json
import struct
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from tapectl.scsi.nonvolatile import NonvolatileMemory, VolatileMemory
from tapectl.scsi.sense import (
    ASC,
    illegal_request,
    invalid_field_in_cdb,
    invalid_field_in_parameter_list,
)

ALL_PAGES = 0x3F
ALL_SUBPAGES = 0xFF
_PARAMETERS_SAVABLE, _SUBPAGE_FORMAT = 0x80, 0x40
_SAVED_VALUES = "mode pages"

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
    `selected` is called with what MODE SELECT has made current; `kept`, where a part of that was
    meant for the moment only, returns what is left of it.
    MODE SELECT can save a page that is `savable`, and may send as few as `shortest` bytes of one
    that was shorter in earlier standards; the others then stay as they are.
    """

    code: int
    default: bytes
    changeable: bytes
    subpage: int = 0
    overlay: Callable[[bytes], bytes] | None = None
    check: Callable[[bytes, int], None] | None = None
    per_nexus: bool = False
    savable: bool = False
    shortest: int | None = None
    selected: Callable[[bytes], None] | None = None
    kept: Callable[[bytes], bytes] | None = None

    @property
    def key(self) -> PageCode:
        return self.code, self.subpage

    def encode(self, body: bytes) -> bytes:
        """Return header and body, in page_0 or subpage format."""
        first = (_PARAMETERS_SAVABLE if self.savable else 0) | self.code
        if self.subpage:
            return struct.pack(">BBH", _SUBPAGE_FORMAT | first, self.subpage, len(body)) + body
        return bytes((first, len(body))) + body


def page(
    code: int,
    default: str,
    changeable: str = "",
    subpage: int = 0,
    *,
    savable: bool = False,
    shortest: int | None = None,
) -> ModePage:
    """Return a page from two hex strings; none of it is changeable when the second is empty."""
    body = bytes.fromhex(default)
    mask = bytes.fromhex(changeable) if changeable else bytes(len(body))
    return ModePage(code, body, mask, subpage, savable=savable, shortest=shortest)


class ModePages:
    """The pages of one logical unit with their current values, and the saved ones in `memory`.

    Those whose keys are `hidden` have their default values for good, and no client can see them.
    `changed` is called after current values may have become others. Raises NonvolatileMemoryError
    where the memory cannot be read.
    """

    def __init__(
        self,
        pages: Iterable[ModePage],
        memory: NonvolatileMemory | None = None,
        *,
        hidden: Collection[PageCode] = (),
    ) -> None:
        # "In ascending order by page code, then subpage code"; page 00h would come last.
        self._pages = {row.key: row for row in sorted(pages, key=lambda row: row.key)}
        self._visible = {key: row for key, row in self._pages.items() if key not in hidden}
        self._memory = memory if memory is not None else VolatileMemory()
        self._saved = self._load_saved()
        self._values: dict[PageCode, bytes] = {}
        self._nexus_values: dict[str, dict[PageCode, bytes]] = {}
        self.changed: Callable[[], None] = lambda: None
        self.reset()

    def reset(self) -> None:
        """Go back to the saved values, and to the default ones of pages that are not saved."""
        self._values = {key: self._saved.get(key, row.default) for key, row in self._pages.items()}
        self._nexus_values.clear()
        self.changed()

    def _load_saved(self) -> dict[PageCode, bytes]:
        """Return what was saved of pages that still have the same length."""
        stored = self._memory.get(_SAVED_VALUES)
        saved: dict[PageCode, bytes] = {}
        for code, subpage, body in json.loads(stored) if stored else ():
            row = self._visible.get((code, subpage))
            value = bytes.fromhex(body)
            if row is not None and row.savable and len(value) == len(row.default):
                saved[row.key] = value
        return saved

    def forget(self, nexus: str) -> None:
        """A nexus was lost: what it had set for itself goes."""
        if self._nexus_values.pop(nexus, None) is not None:
            self.changed()

    def value(self, key: PageCode, nexus: str) -> bytes:
        """Return the current bytes after the header of a page, as they are for one nexus."""
        own = self._nexus_values.get(nexus)
        return own[key] if own and key in own else self._values[key]

    def changed_values(self, nexus: str) -> dict[PageCode, bytes]:
        """Return, by page, what is current for a nexus where it is other than after a reset."""
        current = {**self._values, **self._nexus_values.get(nexus, {})}
        return {
            key: body
            for key, body in current.items()
            if body != self._saved.get(key, self._pages[key].default)
        }

    def nexus_values(self, key: PageCode) -> Sequence[bytes]:
        """Return what each nexus that has set a page for itself has set."""
        return [own[key] for own in self._nexus_values.values() if key in own]

    def shown(self, key: PageCode, nexus: str) -> bytes:
        """Return the bytes after the header as MODE SENSE shows their current values."""
        return self._body(self._pages[key], PageControl.CURRENT, nexus)

    def reset_page(self, key: PageCode) -> None:
        """Give one page its saved or default values again."""
        self._values[key] = self._saved.get(key, self._pages[key].default)
        self.changed()

    def bit(self, key: PageCode, byte: int, bit: int) -> bool:
        """Return one bit of a current value; `byte` counts from the page's first header byte."""
        row = self._pages.get(key)
        if row is None:
            return False
        header_bytes = 4 if row.subpage else 2
        return bool(self._values[key][byte - header_bytes] >> bit & 1)

    def sense(self, code: int, subpage: int, control: PageControl, nexus: str) -> bytes | None:
        """Return the pages that were asked for, one after the other; None if there is no such page.

        Raises CheckCondition for the saved values of pages of which there are none.
        """
        wanted = [row for row in self._visible.values() if _matches(row, code, subpage)]
        if not wanted:
            return None
        if control is PageControl.SAVED and not all(row.savable for row in wanted):
            raise illegal_request(ASC.SAVING_PARAMETERS_NOT_SUPPORTED)
        return b"".join(row.encode(self._body(row, control, nexus)) for row in wanted)

    def _body(self, row: ModePage, control: PageControl, nexus: str) -> bytes:
        if control is PageControl.CHANGEABLE:
            return row.changeable
        if control is PageControl.DEFAULT:
            body = row.default
        elif control is PageControl.SAVED:
            body = self._saved.get(row.key, row.default)
        else:
            body = self.value(row.key, nexus)
        return row.overlay(body) if row.overlay else body

    def check(
        self, parameters: memoryview, offset: int, nexus: str
    ) -> Sequence[tuple[PageCode, bytes]]:
        """Return the new values in a MODE SELECT parameter list from `offset` on; change nothing.

        A page may be longer than ours with zeros, and zeros may follow the last one: drivers that
        read, modify and write a buffer of fixed size send them. Raises CheckCondition for a page
        that is not there or has another length, a list cut short, and for a bit that cannot be
        changed and has been.
        """
        changes = []
        while any(parameters[offset:]):
            key, body_at, length = _page_header(parameters, offset)
            row = self._visible.get(key)
            if row is None:
                raise invalid_field_in_parameter_list(offset)
            offset = body_at + length
            body = bytes(parameters[body_at:offset])
            if len(body) != length:
                raise illegal_request(ASC.PARAMETER_LIST_LENGTH_ERROR)
            changes.append((key, self._check_page(row, body, body_at, nexus)))
        return changes

    def _check_page(self, row: ModePage, body: bytes, body_at: int, nexus: str) -> bytes:
        """Return the new value of a page, as long as the page is."""
        length = len(row.default)
        shortest = length if row.shortest is None else row.shortest
        if len(body) < shortest or any(body[length:]):
            raise invalid_field_in_parameter_list(body_at - 1)
        current = self._body(row, PageControl.CURRENT, nexus)
        body = body[:length] + current[len(body) :]
        for index, mask in enumerate(row.changeable):
            if (body[index] ^ current[index]) & ~mask & 0xFF:
                raise invalid_field_in_parameter_list(body_at + index)
        if row.check is not None:
            row.check(body, body_at)
        return body

    def save(self, changes: Sequence[tuple[PageCode, bytes]]) -> None:
        """Save checked values, and the current ones of every other savable page.

        Raises CheckCondition for pages that cannot be saved, NonvolatileMemoryError.
        """
        savable = [key for key, row in self._pages.items() if row.savable]
        if not savable or any(key not in savable for key, _ in changes):
            raise invalid_field_in_cdb(1, 0)
        saved = {key: self._values[key] for key in savable}
        saved |= {key: self._kept(key, body) for key, body in changes}
        rows = [[*key, body.hex()] for key, body in saved.items()]
        self._memory.put(_SAVED_VALUES, json.dumps(rows).encode())
        self._saved = saved

    def apply(self, changes: Sequence[tuple[PageCode, bytes]], nexus: str) -> bool:
        """Make checked values current; return whether any that others share has changed."""
        changed = False
        for key, body in changes:
            row = self._pages[key]
            if row.per_nexus:
                self._nexus_values.setdefault(nexus, {})[key] = self._kept(key, body)
            else:
                shown = self._body(row, PageControl.CURRENT, nexus)
                changed |= _differs(shown, body, row.changeable)
                self._values[key] = self._kept(key, body)
            if row.selected is not None:
                row.selected(body)
        self.changed()
        return changed

    def _kept(self, key: PageCode, body: bytes) -> bytes:
        kept = self._pages[key].kept
        return kept(body) if kept is not None else body


def _differs(one: bytes, other: bytes, mask: bytes) -> bool:
    """Whether two values of a page differ in bits that MODE SELECT can change."""
    return any((a ^ b) & c for a, b, c in zip(one, other, mask, strict=True))


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
