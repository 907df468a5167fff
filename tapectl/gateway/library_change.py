"""Another media changer, or other numbers of elements, for a library that has tapes already."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway import gateway_document
from tapectl.gateway.activation import check_library, describe_gateway
from tapectl.gateway.barcodes import check_barcode
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.elements import ElementError, ElementMap
from tapectl.state import events, gateways, tapes
from tapectl.state.database import State
from tapectl.state.gateways import GatewayRecord
from tapectl.state.tapes import TapeFilter
from tapectl.store.interface import ObjectStore


class LibraryServedError(TapectlError):
    """A library that is served can only grow."""

    exit_code = ExitCode.DEVICE_BUSY
    code = "library_served"

    def __init__(self) -> None:
        super().__init__(
            "a library that is served can get more elements, but no fewer and no other changer",
            hint="stop `tapectl serve` first",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryChange:
    """What is to be different; None stays as it is."""

    changer_type: str | None = None
    drive_count: int | None = None
    slot_count: int | None = None
    import_export_count: int | None = None

    def applied_to(self, gateway: GatewayRecord) -> GatewayRecord:
        """Return the gateway as it is to be."""
        wanted = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) is not None
        }
        return dataclasses.replace(gateway, **wanted)


def change_library(
    state: State,
    change: LibraryChange,
    *,
    open_store: Callable[[GatewayRecord], ObjectStore],
    served: bool,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> GatewayRecord:
    """Change the library and return its gateway; every tape stays in the slot of its number, at
    whatever address that has now. Waits for the store.

    Raises UsageError, ElementError where a tape would have no place, BarcodeError where a barcode
    would be too long, LibraryServedError, and the store's own errors; nothing has changed then.
    """
    before = describe_gateway(state)
    after = change.applied_to(before)
    check_library(
        after.changer_type, after.drive_count, after.slot_count, after.import_export_count
    )
    if served and not _grows(before, after):
        raise LibraryServedError
    with state.read() as db:
        _new_places(db, before, after)
    store = open_store(after)
    with state.read() as db:
        standing = gateways.read_standing(db)
    found = gateway_document.require_active(store, after.id, standing.store_epoch)
    document = gateway_document.GatewayDocument.of(after, standing.store_epoch)
    left = gateway_document.replace_gateway(store, found, document)
    try:
        with state.write() as db:
            # Somebody else may have moved a tape meanwhile, or changed the library too.
            if gateways.read_gateway(db) != before:
                raise ElementError("the library was changed by another command meanwhile")
            _rebuild(db, before, after)
            events.append(db, _event(after, actor, now_ms()))
    except BaseException:
        gateway_document.replace_gateway(store, left, found.document)
        raise
    return after


def _grows(before: GatewayRecord, after: GatewayRecord) -> bool:
    return (
        after.changer_type == before.changer_type
        and after.drive_count >= before.drive_count
        and after.slot_count >= before.slot_count
        and after.import_export_count >= before.import_export_count
    )


def _new_places(
    db: sqlite3.Connection, before: GatewayRecord, after: GatewayRecord
) -> Mapping[str, tuple[int | None, int | None]]:
    """Return the new element and source element of every tape; raise ElementError if one has no
    place, BarcodeError if the changer cannot read its barcode."""
    places: dict[str, tuple[int | None, int | None]] = {}
    old, new = ElementMap.of(before), ElementMap.of(after)
    for tape in tapes.select(db, TapeFilter()):
        check_barcode(tape.barcode, after.changer_type)
        element = _translate(old, new, tape.element_address)
        if tape.element_address is not None and element is None:
            raise ElementError(
                f"tape {tape.barcode} is in {old.name(tape.element_address)}, which the library"
                " would not have",
                hint="move the tape first, or ask for more",
            )
        places[tape.barcode] = element, _translate(old, new, tape.source_element)
    return places


def _translate(old: ElementMap, new: ElementMap, address: int | None) -> int | None:
    """Return where the element of the same type and number is now, None if it is not there."""
    kind = old.type_of(address) if address is not None else None
    if address is None or kind is None:
        return None
    number = old.number(address)
    return new.address(kind, number) if number <= len(new.addresses(kind)) else None


def _rebuild(db: sqlite3.Connection, before: GatewayRecord, after: GatewayRecord) -> None:
    places = _new_places(db, before, after)
    # Addresses are unique: all leave before any arrives.
    for barcode in places:
        tapes.update(db, barcode, element_address=None)
    for barcode, (element, source) in places.items():
        tapes.update(db, barcode, element_address=element, source_element=source)
    gateways.update_library(db, after)


def _event(after: GatewayRecord, actor: str, at_ms: int) -> events.NewEvent:
    return events.NewEvent(
        at_ms=at_ms,
        actor=actor,
        subject_kind="gateway",
        subject_id=after.id,
        type="LibraryChanged",
        detail={
            "changer_type": after.changer_type,
            "drive_count": after.drive_count,
            "slot_count": after.slot_count,
            "import_export_count": after.import_export_count,
        },
    )
