"""Moves of tapes between elements, as steps within a transaction and as plans by barcode.

A move into an import/export element ejects: the tape becomes IN TRANSIT TO VTS,
and for the time of the hold it stays there, where a move back cancels. What the
drives themselves must do about a move is the business of `library`.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.barcodes import check_barcode
from tapectl.gateway.drive_types import drive_personalities
from tapectl.gateway.elements import ElementError, ElementMap
from tapectl.gateway.media import use_of
from tapectl.gateway.tapes import refuse_loaded
from tapectl.scsi.library import ElementType, MoveError, MoveRefusal
from tapectl.state import events, tapes
from tapectl.state.database import State
from tapectl.state.errors import TapeStatusError
from tapectl.state.gateways import read_gateway
from tapectl.state.tape_status import LOADABLE, TapeStatus
from tapectl.state.tapes import Stamp, TapeRecord


class DeviceBusyError(TapectlError):
    """A drive is not free for what was asked."""

    exit_code = ExitCode.DEVICE_BUSY
    code = "device_busy"
    aws_code = "OperationAborted"


@dataclass(frozen=True, slots=True)
class Step:
    """One tape on its way from one element to another."""

    barcode: str
    source: int
    destination: int


@dataclass(frozen=True, slots=True)
class Eject:
    """How a tape is ejected: by whom, and until when it can be cancelled by moving it back."""

    by: Stamp
    hold_s: float

    @property
    def hold_until_ms(self) -> int | None:
        return self.by.at_ms + round(self.hold_s * 1000) if self.hold_s > 0 else None


def loadable_status(tape: TapeRecord) -> TapeStatus | None:
    """Return the status in which the tape can be loaded: its own, or the one an ejected tape goes
    back to; None if it can be loaded in neither."""
    status = tape.status
    if status is TapeStatus.IN_TRANSIT_TO_VTS and tape.previous_status is not None:
        status = tape.previous_status
    return status if status in LOADABLE else None


def check_step(db: sqlite3.Connection, elements: ElementMap, source: int, destination: int) -> Step:
    """Return the step that moves what is in `source`; raise MoveError if it must not.

    Whether the destination is free is left to the caller: in an exchange it is not yet.
    """
    robots = elements.addresses(ElementType.MEDIUM_TRANSPORT)
    for address in (source, destination):
        if elements.type_of(address) is None or address in robots:
            raise MoveError(MoveRefusal.NO_SUCH_ELEMENT, f"no element {address}")
    tape = tapes.in_element(db, source)
    if tape is None:
        raise MoveError(MoveRefusal.SOURCE_EMPTY, f"{elements.name(source)} is empty")
    kinds = (elements.type_of(source), elements.type_of(destination))
    exports = kinds[1] is ElementType.IMPORT_EXPORT and kinds[0] is not kinds[1]
    needs_loadable = exports or kinds[1] is ElementType.DATA_TRANSFER
    if tape.status is TapeStatus.CREATING or (needs_loadable and loadable_status(tape) is None):
        raise MoveError(MoveRefusal.NOT_ACCESSIBLE, f"tape {tape.barcode} is {tape.status}")
    return Step(tape.barcode, source, destination)


def apply_step(db: sqlite3.Connection, elements: ElementMap, step: Step, eject: Eject) -> None:
    """Put the tape in its new element, with what follows: eject or cancelled eject, events."""
    tape = tapes.get(db, step.barcode)
    from_type, to_type = elements.type_of(step.source), elements.type_of(step.destination)
    if to_type is ElementType.IMPORT_EXPORT and from_type is not ElementType.IMPORT_EXPORT:
        _place(db, tape, elements, step)
        begin_eject(db, tape, eject, step.destination)
    else:
        if tape.status is TapeStatus.IN_TRANSIT_TO_VTS and to_type is not from_type:
            assert tape.previous_status is not None
            tapes.transition(db, tape.barcode, tape.previous_status, eject.by)
        _place(db, tape, elements, step)
    detail = {
        "from": elements.name(step.source),
        "to": elements.name(step.destination),
        "source": step.source,
        "destination": step.destination,
    }
    events.append(db, tapes.event_of(tape.barcode, eject.by, "TapeMoved", detail))


def begin_eject(
    db: sqlite3.Connection, tape: TapeRecord, eject: Eject, element_address: int | None
) -> None:
    """Make the tape IN TRANSIT TO VTS. It stays in the element while the hold lasts, and without a
    hold or an element it leaves the library at once."""
    hold_until_ms = eject.hold_until_ms if element_address is not None else None
    tapes.transition(
        db,
        tape.barcode,
        TapeStatus.IN_TRANSIT_TO_VTS,
        eject.by,
        element_address=element_address if hold_until_ms is not None else None,
        hold_until_ms=hold_until_ms,
    )


def plan_load(state: State, barcode: str, drive: int | None = None) -> tuple[int, int]:
    """Return source and destination of loading a tape.

    Unless a drive is named it is the first free one, of those that can do most with the tape.

    Raises TapeNotFoundError, TapeStatusError, TapeInDriveError, DeviceBusyError, ElementError.
    """
    check_barcode(barcode)
    drives = drive_personalities(state)
    with state.read() as db:
        elements = ElementMap.of(read_gateway(db))
        tape = tapes.get(db, barcode)
        refuse_loaded(tape, elements)
        source = _require_element(tape)
        if loadable_status(tape) is None:
            raise TapeStatusError(
                f"tape {barcode} is {tape.status} and cannot be loaded",
                status=tape.status,
                hint=f"run `tapectl tape show {barcode}`",
            )
        if drive is None:
            occupied = tapes.occupied_elements(db)
            free = elements.first_free(ElementType.DATA_TRANSFER, occupied, len(drives))
            if not free:
                raise DeviceBusyError(
                    "every drive holds a tape", hint="run `tapectl tape unload` for one of them"
                )
            return source, min(
                free, key=lambda address: use_of(tape, drives[elements.number(address) - 1])
            )
        address = elements.address(ElementType.DATA_TRANSFER, drive)
        other = tapes.in_element(db, address)
    if other is not None:
        raise DeviceBusyError(
            f"{elements.name(address)} holds tape {other.barcode}",
            hint=f"run `tapectl tape unload {other.barcode}` first",
        )
    return source, address


def plan_unload(state: State, barcode: str, slot: int | None = None) -> tuple[int, int]:
    """Return source and destination of unloading a tape, into the named storage slot, or the one
    it came from, or the first free one.

    Never into an import/export slot: that would archive it. Raises as plan_load.
    """
    check_barcode(barcode)
    with state.read() as db:
        elements = ElementMap.of(read_gateway(db))
        tape = tapes.get(db, barcode)
        address = tape.element_address
        if address is None or elements.type_of(address) is not ElementType.DATA_TRANSFER:
            raise TapeStatusError(
                f"tape {barcode} is not loaded in a drive",
                status=tape.status,
                hint="run `tapectl device list` for what is",
            )
        occupied = tapes.occupied_elements(db)
    if slot is not None:
        destination = elements.address(ElementType.STORAGE, slot)
        if destination in occupied:
            raise ElementError(
                f"{elements.name(destination)} is not empty",
                hint="leave --slot away, or name another",
            )
        return address, destination
    return address, home_slot(elements, tape, occupied)


def plan_move(state: State, barcode: str, to_element: str) -> tuple[int, int]:
    """Return source and destination of moving a tape to an element (`slot:20`, `drive:1`, `ie:3`
    or an address). Raises TapeNotFoundError, ElementError, TapeStatusError, UsageError."""
    check_barcode(barcode)
    with state.read() as db:
        elements = ElementMap.of(read_gateway(db))
        tape = tapes.get(db, barcode)
        destination = elements.parse(to_element)
        source = _require_element(tape)
        occupant = tapes.in_element(db, destination)
    if occupant is not None:
        what = "already there" if occupant.barcode == barcode else f"tape {occupant.barcode}"
        raise ElementError(
            f"{elements.name(destination)} is not empty: {what}",
            hint="name another; `tapectl tape list` shows which are taken",
        )
    return source, destination


def home_slot(elements: ElementMap, tape: TapeRecord, occupied: frozenset[int]) -> int:
    """Return the storage slot a tape goes back to: the one it left, or the first free one.

    Raises ElementError when every slot is taken.
    """
    home = tape.source_element
    if home is not None and home not in occupied and elements.type_of(home) is ElementType.STORAGE:
        return home
    free = elements.first_free(ElementType.STORAGE, occupied)
    if not free:
        raise ElementError("no storage slot is free", hint="move or eject another tape first")
    return free[0]


def _require_element(tape: TapeRecord) -> int:
    if tape.element_address is None:
        raise TapeStatusError(
            f"tape {tape.barcode} is {tape.status} and not in the library",
            status=tape.status,
            hint=f"run `tapectl tape retrieve {tape.barcode}` once it is ARCHIVED",
        )
    return tape.element_address


def _place(db: sqlite3.Connection, tape: TapeRecord, elements: ElementMap, step: Step) -> None:
    changes: dict[str, tapes.Value] = {
        "element_address": step.destination,
        # SMC ImpExp: 0, the medium transport placed it.
        "placed_by_operator": 0,
    }
    # A drive is never where a tape came from: it goes back to the slot it was loaded from.
    if elements.type_of(step.source) is not ElementType.DATA_TRANSFER:
        changes["source_element"] = step.source
    tapes.update(db, tape.barcode, **changes)
