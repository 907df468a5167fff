"""What the robot has done, kept while the library is without power (SMC-3 7.2.3, 7.2.4)."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Iterable, Sequence

from tapectl.scsi.log_pages import LogPage, LogParameter, ascii_text, binary, counter
from tapectl.scsi.nonvolatile import NonvolatileMemory, NonvolatileMemoryError
from tapectl.scsi.smc.inventory import Move

_MEMORY_NAME = "statistics"
# Places, place retries, picks, pick retries, volume identifiers determined and unreadable.
_ELEMENT = struct.Struct(">6I")
_COUNTER_BYTES = 4
# Error events are numbered as they come; as many as this are kept.
ERROR_EVENTS = 16
_EVENT_NUMBERS = 0x10000
_EVENT_BYTES = 120
# Parameter codes of the media changer statistics log page.
_MOVES, _PICKS, _PLACES = 0x00, 0x01, 0x03
_PICK_RETRIES, _PLACE_RETRIES = 0x02, 0x04
_DOOR_OPENS, _INVENTORIES, _ERRORS = 0x08, 0x09, 0x0A
_COUNTED = (_MOVES, _PICKS, _PLACES, _DOOR_OPENS, _INVENTORIES, _ERRORS)


class ChangerStatistics:
    """Counters of the whole changer and of every element that was used.

    A robot without a hand neither misses nor tries again, so its retries are always zero. What
    cannot be kept at once is kept with the next change.
    """

    def __init__(self, memory: NonvolatileMemory) -> None:
        self._memory = memory
        self._totals: Counter[int] = Counter()
        self._places: Counter[int] = Counter()
        self._picks: Counter[int] = Counter()
        self._error_events: dict[int, str] = {}
        stored = memory.get(_MEMORY_NAME)
        if stored is not None:
            document = json.loads(stored)
            for counts, name in self._named():
                counts.update({int(key): value for key, value in document[name].items()})
            errors: dict[str, str] = document.get("errors", {})
            self._error_events = {int(number): what for number, what in errors.items()}

    def count_moves(self, moves: Iterable[Move]) -> None:
        """Cartridges were moved."""
        for source, destination in moves:
            self._totals.update((_MOVES, _PICKS, _PLACES))
            self._picks[source] += 1
            self._places[destination] += 1
        self._keep()

    def count_door_open(self) -> None:
        """The import/export elements were opened."""
        self._count(_DOOR_OPENS)

    def count_inventory(self) -> None:
        """An initiator had the elements looked at."""
        self._count(_INVENTORIES)

    def count_error(self, what: str) -> None:
        """A move failed by a fault of the library, which `what` describes."""
        last = next(reversed(self._error_events), -1)
        self._error_events[(last + 1) % _EVENT_NUMBERS] = what
        if len(self._error_events) > ERROR_EVENTS:
            del self._error_events[next(iter(self._error_events))]
        self._count(_ERRORS)

    def log_pages(self) -> Sequence[LogPage]:
        """Return the log pages of error events, of the changer and of its elements."""
        codes = sorted((*_COUNTED, _PICK_RETRIES, _PLACE_RETRIES))
        totals = [counter(code, self._totals[code], _COUNTER_BYTES) for code in codes]
        elements = [self._element(at) for at in sorted(self._places.keys() | self._picks.keys())]
        events = sorted(self._error_events.items())
        return (
            LogPage(0x07, [_error_event(*event) for event in events], reset=self._reset_events),
            LogPage(0x14, totals, reset=self._reset_totals),
            LogPage(0x15, elements, reset=self._reset_elements),
        )

    def _element(self, address: int) -> LogParameter:
        return binary(
            address, _ELEMENT.pack(self._places[address], 0, self._picks[address], 0, 0, 0)
        )

    def _count(self, code: int) -> None:
        self._totals[code] += 1
        self._keep()

    def _reset_events(self) -> None:
        self._error_events.clear()
        self._keep()

    def _reset_totals(self) -> None:
        self._totals.clear()
        self._keep()

    def _reset_elements(self) -> None:
        self._places.clear()
        self._picks.clear()
        self._keep()

    def _named(self) -> Sequence[tuple[Counter[int], str]]:
        return (self._totals, "totals"), (self._places, "places"), (self._picks, "picks")

    def _keep(self) -> None:
        document: dict[str, object] = {name: dict(counts) for counts, name in self._named()}
        document["errors"] = self._error_events
        try:
            self._memory.put(_MEMORY_NAME, json.dumps(document).encode())
        except NonvolatileMemoryError:
            return  # the move is made; a command must not fail for having been counted


def _error_event(number: int, what: str) -> LogParameter:
    return ascii_text(number, what, min(len(what), _EVENT_BYTES))
