"""What initiators know of the inventory, so that they can be told of what else changes it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tapectl.scsi.library import ElementType, Library
from tapectl.scsi.sense import ASC
from tapectl.scsi.smc.addresses import type_at

Move = tuple[int, int]
"""Source and destination address."""


class KnownInventory:
    """Where every cartridge is, as seen at the last look and moved by initiators since.

    What initiators have moved is known to them: whatever else is different at the next look was
    somebody else, a person or the gateway itself. A cartridge that cannot be used yet has not
    come yet.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._version = library.inventory_version()
        self._places = dict(library.inventory())

    def moved(self, moves: Iterable[Move]) -> None:
        """An initiator has moved cartridges, all at once."""
        taken = [(self._places.pop(source, None), destination) for source, destination in moves]
        self._places |= {address: tag for tag, address in taken if tag is not None}

    def look(self) -> Sequence[ASC]:
        """Return the unit attention conditions of what has changed since, and know it from now on.

        Costs next to nothing while nothing has happened.

        A cartridge that came into an import/export element or left one: IMPORT OR EXPORT ELEMENT
        ACCESSED. Any other that came, left or is elsewhere: NOT READY TO READY CHANGE, MEDIUM MAY
        HAVE CHANGED, as libraries do when a person moves a cartridge at their panel.
        """
        version = self._library.inventory_version()
        if version == self._version:
            return ()
        # What happens between these two calls is looked for once more.
        self._version = version
        before, self._places = self._places, dict(self._library.inventory())
        differences = before.items() ^ self._places.items()
        codes = {
            ASC.IMPORT_OR_EXPORT_ELEMENT_ACCESSED
            if any(self._is_import_export(at) for at, tag in differences if tag == moved)
            else ASC.NOT_READY_TO_READY_CHANGE
            for moved in {tag for _, tag in differences}
        }
        return sorted(codes, key=lambda code: code.value)

    def _is_import_export(self, address: int) -> bool:
        return type_at(self._library.ranges(), address) is ElementType.IMPORT_EXPORT
