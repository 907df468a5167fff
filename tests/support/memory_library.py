"""A library in memory: elements by address, a robot that never fails unless it is told to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tapectl.scsi.library import (
    Element,
    ElementRange,
    ElementType,
    LibraryError,
    MediumType,
    MoveError,
    MoveRefusal,
)

_HOLDERS = (ElementType.STORAGE, ElementType.IMPORT_EXPORT, ElementType.DATA_TRANSFER)


class MemoryLibrary:
    """Exactly `tapectl.scsi.library.Library`. `refusal`, when set, is what the next move meets;
    while it is `broken` nothing can be done."""

    def __init__(self, ranges: Sequence[ElementRange]) -> None:
        self._ranges = tuple(sorted(ranges, key=lambda span: span.element_type))
        self.refusal: MoveRefusal | None = None
        self.broken = False
        self._elements = {
            address: Element(
                address,
                span.element_type,
                drive_serial=f"DRIVE{address - span.first:05}"
                if span.element_type is ElementType.DATA_TRANSFER
                else None,
            )
            for span in self._ranges
            for address in range(span.first, span.first + span.count)
        }

    def put(
        self,
        address: int,
        volume_tag: str,
        *,
        by_operator: bool = False,
        medium_type: MediumType = MediumType.DATA,
    ) -> None:
        """A cartridge appears in an element."""
        self._elements[address] = replace(
            self._elements[address],
            volume_tag=volume_tag,
            placed_by_operator=by_operator,
            medium_type=medium_type,
        )

    def take(self, address: int) -> str | None:
        """Somebody takes the cartridge out of an element; return its tag."""
        element = self._elements[address]
        self._take(element)
        return element.volume_tag

    def change(self, address: int, **fields: Any) -> None:
        """Something else about an element changes."""
        self._elements[address] = replace(self._elements[address], **fields)

    def at(self, address: int) -> Element:
        return self._elements[address]

    def ranges(self) -> Sequence[ElementRange]:
        return self._ranges

    def elements(
        self, element_type: ElementType | None, first: int, count: int
    ) -> Sequence[Element]:
        self._fail_if_broken()
        found = [
            element
            for element in self._elements.values()
            if element.address >= first and element_type in (None, element.element_type)
        ]
        found.sort(key=lambda element: (element.element_type, element.address))
        return found[:count]

    def inventory(self) -> Mapping[int, str]:
        return {
            address: element.volume_tag
            for address, element in self._elements.items()
            if element.volume_tag is not None and element.accessible
        }

    def inventory_version(self) -> object:
        self._fail_if_broken()
        return self.inventory()

    def move(self, source: int, destination: int, *, nexus: str) -> None:  # noqa: ARG002
        self._refuse_if_told()
        taken = self._holder(source)
        target = self._holder(destination)
        if taken.volume_tag is None:
            raise MoveError(MoveRefusal.SOURCE_EMPTY)
        if source == destination:
            return
        if target.volume_tag is not None:
            raise MoveError(MoveRefusal.DESTINATION_FULL)
        self._take(taken)
        self._place(target, taken)

    def exchange(
        self,
        source: int,
        first_destination: int,
        second_destination: int,
        *,
        nexus: str,  # noqa: ARG002
    ) -> None:
        self._refuse_if_told()
        taken, first = self._holder(source), self._holder(first_destination)
        second = self._holder(second_destination)
        if taken.volume_tag is None or first.volume_tag is None:
            raise MoveError(MoveRefusal.SOURCE_EMPTY)
        if second.volume_tag is not None and second_destination != source:
            raise MoveError(MoveRefusal.DESTINATION_FULL)
        self._take(taken)
        self._place(first, taken)
        self._place(second, first)

    def _fail_if_broken(self) -> None:
        if self.broken:
            raise LibraryError

    def _refuse_if_told(self) -> None:
        self._fail_if_broken()
        refusal, self.refusal = self.refusal, None
        if refusal is not None:
            raise MoveError(refusal)

    def _holder(self, address: int) -> Element:
        element = self._elements.get(address)
        if element is None or element.element_type not in _HOLDERS:
            raise MoveError(MoveRefusal.NO_SUCH_ELEMENT)
        return element

    def _take(self, element: Element) -> None:
        self._elements[element.address] = replace(
            element, volume_tag=None, source_address=None, placed_by_operator=False
        )

    def _place(self, target: Element, taken: Element) -> None:
        came_from = taken.address
        if taken.element_type is ElementType.DATA_TRANSFER and taken.source_address is not None:
            came_from = taken.source_address
        self._elements[target.address] = replace(
            target,
            volume_tag=taken.volume_tag,
            medium_type=taken.medium_type,
            source_address=came_from,
            placed_by_operator=False,
        )
