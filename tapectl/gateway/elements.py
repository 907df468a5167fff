"""The elements of the library as people name them: drives, slots, import/export slots."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.scsi.changer_personality import CHANGER_PERSONALITIES
from tapectl.scsi.library import ElementRange, ElementType
from tapectl.state.gateways import GatewayRecord


class ElementError(TapectlError):
    """An element of the library cannot be used for what was asked."""

    exit_code = ExitCode.ELEMENT
    code = "element"
    aws_code = "InvalidParameters"


_WORDS: Mapping[ElementType, str] = MappingProxyType(
    {
        ElementType.MEDIUM_TRANSPORT: "transport",
        ElementType.STORAGE: "slot",
        ElementType.IMPORT_EXPORT: "import/export",
        ElementType.DATA_TRANSFER: "drive",
    }
)

_TYPES_BY_WORD: Mapping[str, ElementType] = MappingProxyType(
    {
        "slot": ElementType.STORAGE,
        "import/export": ElementType.IMPORT_EXPORT,
        "ie": ElementType.IMPORT_EXPORT,
        "drive": ElementType.DATA_TRANSFER,
    }
)

_NAMED = re.compile(r"^([a-z/]+)[ :](\d{1,5})$")


@dataclass(frozen=True, slots=True)
class ElementMap:
    """The address ranges of a library. Numbers people use begin at 1 in each range."""

    ranges: Sequence[ElementRange]

    @classmethod
    def of(cls, gateway: GatewayRecord) -> ElementMap:
        """Return the map of a gateway's library."""
        personality = CHANGER_PERSONALITIES[gateway.changer_type]
        return cls(
            personality.ranges(gateway.drive_count, gateway.slot_count, gateway.import_export_count)
        )

    def type_of(self, address: int) -> ElementType | None:
        """Return the type of the element at an address, None if there is no element."""
        for span in self.ranges:
            if span.first <= address < span.first + span.count:
                return span.element_type
        return None

    def addresses(self, element_type: ElementType) -> range:
        """Return the addresses of one type."""
        span = next(span for span in self.ranges if span.element_type is element_type)
        return range(span.first, span.first + span.count)

    def number(self, address: int) -> int:
        """Return the number, from 1, of an element within its type."""
        element_type = self.type_of(address)
        if element_type is None:
            raise ElementError(f"the library has no element {address}")
        return address - self.addresses(element_type).start + 1

    def address(self, element_type: ElementType, number: int) -> int:
        """Return the address of the `number`-th element of a type; raise ElementError."""
        addresses = self.addresses(element_type)
        if not 1 <= number <= len(addresses):
            word = _WORDS[element_type]
            raise ElementError(
                f"the library has no {word} {number}",
                hint=f"it has {word} 1 to {len(addresses)}",
            )
        return addresses[number - 1]

    def first_free(
        self, element_type: ElementType, occupied: Collection[int], count: int = 1
    ) -> Sequence[int]:
        """Return the lowest `count` addresses of a type that are not occupied; fewer if there are
        not so many."""
        free: list[int] = []
        for address in self.addresses(element_type):
            if len(free) == count:
                break
            if address not in occupied:
                free.append(address)
        return free

    def name(self, address: int) -> str:
        """Return `drive 1`, `slot 20` or `import/export 3`."""
        element_type = self.type_of(address)
        if element_type is None:
            return f"element {address}"
        return f"{_WORDS[element_type]} {self.number(address)}"

    def parse(self, text: str) -> int:
        """Return the address that `slot:20`, `drive:1`, `ie:3` or a bare address stands for.

        Raises ElementError if there is no such element, UsageError if it is none of these.
        """
        text = text.strip().lower()
        if text.isascii() and text.isdigit():
            if self.type_of(int(text)) is None:
                raise ElementError(
                    f"the library has no element with this address: {text}",
                    hint="elements are slot:20, drive:1 or ie:3, counted from 1",
                )
            return int(text)
        match = _NAMED.match(text)
        if match is None or match[1] not in _TYPES_BY_WORD:
            raise UsageError(
                f"not an element of the library: {text}",
                hint="name one as slot:20, drive:1, ie:3 or by its address",
            )
        return self.address(_TYPES_BY_WORD[match[1]], int(match[2]))
