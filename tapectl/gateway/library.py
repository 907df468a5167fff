"""The inventory and the robot, straight on the state: implements scsi.library.Library."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol

from tapectl.errors import TapectlError
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.devices import device_serial
from tapectl.gateway.elements import ElementError, ElementMap
from tapectl.gateway.moves import (
    DeviceBusyError,
    Eject,
    Step,
    apply_step,
    check_step,
    plan_load,
    plan_move,
    plan_unload,
)
from tapectl.scsi.library import (
    Element,
    ElementRange,
    ElementType,
    LibraryError,
    MediumType,
    MoveError,
    MoveRefusal,
)
from tapectl.scsi.sense import ASC
from tapectl.scsi.transport_id import initiator_port, node_name
from tapectl.state import events, tapes
from tapectl.state.database import State
from tapectl.state.errors import StateError
from tapectl.state.gateways import read_gateway
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import Occupant, Stamp

# Who moved a tape, in the events, where no more is known of him; else his name comes after it.
_INITIATOR = "initiator"


class DriveControl(Protocol):
    """What the robot asks of the drives; numbers count from 1. Calls may block."""

    def responds(self, drive_number: int) -> bool:
        """Whether the drive is there to take a cartridge or give one; does not block."""
        ...

    def load(self, drive_number: int, barcode: str) -> None:
        """Take a cartridge in; raise MoveError(DRIVE_FAILED) having changed nothing."""
        ...

    def unload(self, drive_number: int) -> None:
        """Give the cartridge out, flushed; raise MoveError(DRIVE_FAILED or REMOVAL_PREVENTED)
        having changed nothing."""
        ...


class OfflineDrives:
    """Drives while nothing is served: a tape in one is not open, there is nothing to do."""

    def responds(self, drive_number: int) -> bool:  # noqa: ARG002 -- it is the same for all
        """Nothing is wrong with a drive that nobody uses."""
        return True

    def load(self, drive_number: int, barcode: str) -> None:
        """A later `serve` loads what the state says is in the drive."""

    def unload(self, drive_number: int) -> None:
        """Nothing has the tape open."""


class StateLibrary:
    """scsi.library.Library on the state file. Threads may share one; moves run one at a time.

    Events tell who moved a tape: the initiator of the nexus that asked, or `actor` where none did.
    """

    def __init__(
        self,
        state: State,
        drives: DriveControl,
        *,
        hold_s: float,
        actor: str = _INITIATOR,
        now_ms: Callable[[], int] = clock_now_ms,
    ) -> None:
        self.state = state
        self._drives = drives
        # How long an ejected tape stays where it is; may change at any time.
        self.hold_s = hold_s
        self._actor = actor
        self._now_ms = now_ms
        self._robot = threading.Lock()
        self._next_hold_end_ms: int | None = None
        self.reload()

    def reload(self) -> None:
        """Take over which elements the library has; nothing else may use it meanwhile."""
        with self.state.read() as db:
            gateway = read_gateway(db)
        self._elements = ElementMap.of(gateway)
        serials = {
            address: device_serial(gateway, number)
            for number, address in enumerate(
                self._elements.addresses(ElementType.DATA_TRANSFER), start=1
            )
        }
        # Most elements are empty most of the time, and initiators list all of them often.
        self._empty: Mapping[int, Element] = MappingProxyType(
            {
                address: Element(address, span.element_type, drive_serial=serials.get(address))
                for span in self._elements.ranges
                for address in range(span.first, span.first + span.count)
            }
        )

    def ranges(self) -> Sequence[ElementRange]:
        """Return the address ranges, by ascending element type code."""
        return self._elements.ranges

    def elements(
        self, element_type: ElementType | None, first: int, count: int
    ) -> Sequence[Element]:
        """Return up to `count` elements with address >= `first`, of one type or of all."""
        found: list[Element] = []
        with _state_is_the_library(), self.state.read() as db:
            for span in self._elements.ranges:
                if element_type is not None and span.element_type is not element_type:
                    continue
                begin = max(first, span.first)
                end = min(span.first + span.count, begin + count - len(found))
                # Initiators read a large library one element at a time: look at no other.
                there = self._occupants(db, begin, end - 1) if begin < end else {}
                for address in range(begin, end):
                    occupant = there.get(address)
                    element = self._without_tape(address)
                    found.append(element if occupant is None else _occupied(element, occupant))
        return found

    def inventory(self) -> Mapping[int, str]:
        """Return the barcodes of the tapes that can be used, by element address."""
        with _state_is_the_library(), self.state.read() as db:
            there = self._occupants(db, 0, tapes.LAST_ELEMENT)
        self._next_hold_end_ms = min(
            (occupant.hold_until_ms for occupant in there.values() if occupant.hold_until_ms),
            default=None,
        )
        return {
            address: occupant.barcode for address, occupant in there.items() if _usable(occupant)
        }

    def inventory_version(self) -> object:
        """Return the newest event, for every tape that comes, leaves or moves has one, and the end
        of a hold that the last inventory saw coming."""
        with _state_is_the_library(), self.state.read() as db:
            event_id = events.last_id(db)
        end_ms = self._next_hold_end_ms
        return event_id, end_ms if end_ms is not None and end_ms <= self._now_ms() else None

    def move(self, source: int, destination: int, *, nexus: str | None = None) -> None:
        """Move a cartridge; into an import/export element it ejects. Raises MoveError."""
        with _state_is_the_library(), self._robot:
            self._perform(((source, destination),), nexus)

    def exchange(
        self,
        source: int,
        first_destination: int,
        second_destination: int,
        *,
        nexus: str | None = None,
    ) -> None:
        """Move source to first destination and what was there to the second. Raises MoveError."""
        # What makes room goes first.
        pairs = ((first_destination, second_destination), (source, first_destination))
        with _state_is_the_library(), self._robot:
            self._perform(pairs, nexus)

    def load_tape(self, barcode: str, drive: int | None = None) -> tuple[int, int]:
        """Load a tape by barcode; return source and destination. Raises TapectlError."""
        return self._move_planned(plan_load(self.state, barcode, drive))

    def unload_tape(self, barcode: str, slot: int | None = None) -> tuple[int, int]:
        """Unload a tape by barcode; return source and destination. Raises TapectlError."""
        return self._move_planned(plan_unload(self.state, barcode, slot))

    def move_tape(self, barcode: str, to_element: str) -> tuple[int, int]:
        """Move a tape by barcode; return source and destination. Raises TapectlError."""
        return self._move_planned(plan_move(self.state, barcode, to_element))

    def _occupants(self, db: sqlite3.Connection, first: int, last: int) -> Mapping[int, Occupant]:
        now_ms = self._now_ms()
        return {
            occupant.element_address: occupant
            for occupant in tapes.occupants(db, first, last)
            if occupant.hold_until_ms is None or occupant.hold_until_ms > now_ms
        }

    def _without_tape(self, address: int) -> Element:
        """Return an element as it is without a tape; a drive that does not answer is no use."""
        empty = self._empty[address]
        if empty.element_type is not ElementType.DATA_TRANSFER:
            return empty
        if self._drives.responds(self._elements.number(address)):
            return empty
        failure = ASC.LOGICAL_UNIT_COMMUNICATION_FAILURE
        return replace(empty, accessible=False, exception=failure)

    def _move_planned(self, plan: tuple[int, int]) -> tuple[int, int]:
        move_tape(self, *plan)
        return plan

    def _perform(self, pairs: Sequence[tuple[int, int]], nexus: str | None) -> None:
        """Make several moves at once, or none: ask, let the drives act, then write it down."""
        steps = self._check(pairs)
        if all(step.source == step.destination for step in steps):
            return  # it is there
        with contextlib.ExitStack() as undo:
            for step in steps:
                self._unload_source(step, undo)
            for step in steps:
                self._load_destination(step, undo)
            self._write_down(pairs, steps, self._actor if nexus is None else _actor_of(nexus))
            undo.pop_all()

    def _check(self, pairs: Sequence[tuple[int, int]]) -> Sequence[Step]:
        with self.state.write() as db:
            tapes.release_expired_holds(db, self._now_ms())
            steps = [check_step(db, self._elements, *pair) for pair in pairs]
            taken = tapes.occupied_elements(db) - {step.source for step in steps}
        wanted = [step.destination for step in steps]
        for address in wanted:
            if address in taken or wanted.count(address) > 1:
                raise MoveError(
                    MoveRefusal.DESTINATION_FULL, f"{self._elements.name(address)} is not empty"
                )
        return steps

    def _write_down(
        self, pairs: Sequence[tuple[int, int]], steps: Sequence[Step], actor: str
    ) -> None:
        eject = Eject(Stamp(actor, self._now_ms()), self.hold_s)
        with self.state.write() as db:
            # Another process may have moved, ejected or deleted a tape while the drives acted.
            again = [check_step(db, self._elements, *pair) for pair in pairs]
            taken = tapes.occupied_elements(db) - {step.source for step in steps}
            if again != steps or taken & {step.destination for step in steps}:
                raise MoveError(MoveRefusal.SOURCE_EMPTY, "the tape was moved meanwhile")
            # Addresses are unique: all leave before any arrives.
            for step in steps:
                tapes.update(db, step.barcode, element_address=None)
            for step in steps:
                apply_step(db, self._elements, step, eject)

    def _unload_source(self, step: Step, undo: contextlib.ExitStack) -> None:
        number = self._drive_number(step.source)
        if number is not None:
            self._drives.unload(number)
            undo.callback(self._drives.load, number, step.barcode)

    def _load_destination(self, step: Step, undo: contextlib.ExitStack) -> None:
        number = self._drive_number(step.destination)
        if number is not None:
            self._drives.load(number, step.barcode)
            undo.callback(self._drives.unload, number)

    def _drive_number(self, address: int) -> int | None:
        if self._elements.type_of(address) is not ElementType.DATA_TRANSFER:
            return None
        return self._elements.number(address)


def _actor_of(nexus: str) -> str:
    """Return who acts through a nexus, for the events. The kernel's target names no initiators."""
    name = node_name(initiator_port(nexus))
    return _INITIATOR if name == nexus else f"{_INITIATOR}:{name}"


@contextlib.contextmanager
def _state_is_the_library() -> Iterator[None]:
    """Where the state file cannot be used it is the library that fails."""
    try:
        yield
    except StateError as exc:
        raise LibraryError(str(exc)) from exc


def _usable(occupant: Occupant) -> bool:
    return occupant.status != TapeStatus.CREATING


def _occupied(empty: Element, occupant: Occupant) -> Element:
    return Element(
        empty.address,
        empty.element_type,
        volume_tag=occupant.barcode,
        source_address=occupant.source_element,
        placed_by_operator=bool(occupant.placed_by_operator),
        accessible=empty.accessible and _usable(occupant),
        drive_serial=empty.drive_serial,
        medium_type=_medium_type(occupant),
        exception=empty.exception,
    )


def _medium_type(occupant: Occupant) -> MediumType:
    if occupant.cleaning:
        return MediumType.CLEANING
    return MediumType.WORM if occupant.worm else MediumType.DATA


_DRIVE_REFUSALS = frozenset({MoveRefusal.REMOVAL_PREVENTED, MoveRefusal.DRIVE_FAILED})

_HINTS: Mapping[MoveRefusal, str] = MappingProxyType(
    {
        MoveRefusal.REMOVAL_PREVENTED: "the backup software holds the tape: release it there first",
        MoveRefusal.DRIVE_FAILED: "see what `tapectl serve` logs of this drive",
        MoveRefusal.SOURCE_EMPTY: "run `tapectl tape list`",
        MoveRefusal.DESTINATION_FULL: "run `tapectl tape list`",
        MoveRefusal.NO_SUCH_ELEMENT: "run `tapectl device list` and `tapectl gateway show`",
    }
)


def move_tape(library: StateLibrary, source: int, destination: int) -> None:
    """Move for an admin: as StateLibrary.move, but a refusal is a TapectlError with a hint."""
    try:
        library.move(source, destination)
    except MoveError as exc:
        raise _admin_error(exc) from exc
    except LibraryError as exc:
        # To a person it is what it is: the state file.
        raise exc.__cause__ or exc from None


def _admin_error(exc: MoveError) -> TapectlError:
    kind = DeviceBusyError if exc.refusal in _DRIVE_REFUSALS else ElementError
    return kind(f"the tape was not moved: {exc}", hint=_HINTS.get(exc.refusal))
