"""Another changer, more or fewer elements: where the tapes are then, and what is refused."""

from __future__ import annotations

import json

import pytest

from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.library import OfflineDrives, StateLibrary
from tapectl.gateway.library_change import LibraryChange, change_library
from tapectl.gateway.tapes import describe_tape
from tapectl.scsi.changer_personality import CHANGER_PERSONALITIES
from tapectl.state import events
from tapectl.state.database import State
from tapectl.store.memory import MemoryStore
from tests.support.failing_store import FailNth
from tests.unit.gateway.conftest import DRIVE, IE, SLOT, Clock, Maker


@pytest.fixture
def change(state: State, store: MemoryStore, clock: Clock):
    def run(*, served: bool = False, **wanted):
        return change_library(
            state,
            LibraryChange(**wanted),
            open_store=lambda _record: store,
            served=served,
            now_ms=clock,
        )

    return run


@pytest.fixture
def library(state: State, clock: Clock) -> StateLibrary:
    return StateLibrary(state, OfflineDrives(), hold_s=60, now_ms=clock)


@pytest.fixture
def three_tapes(library: StateLibrary, make: Maker) -> None:
    """One in the second slot that came from the first, one in a drive, one as AWS makes it."""
    make("TAPE001A", "TAPE001B", to_slots=True)
    make("TAPE001C")
    library.move(SLOT + 1, DRIVE)
    library.move(SLOT, SLOT + 1)


def places(state: State) -> dict[str, tuple[str | None, int | None]]:
    names = ("TAPE001A", "TAPE001B", "TAPE001C")
    found = {name: describe_tape(state, name) for name in names}
    return {name: (tape.location, tape.element_address) for name, tape in found.items()}


@pytest.mark.usefixtures("three_tapes")
@pytest.mark.parametrize("changer_type", CHANGER_PERSONALITIES)
def test_tapes_stay_in_the_slots_of_their_numbers(change, state: State, changer_type: str) -> None:
    change(changer_type=changer_type)
    first = [span.first for span in CHANGER_PERSONALITIES[changer_type].ranges(2, 6, 4)]
    assert places(state) == {
        "TAPE001A": ("slot 2", first[1] + 1),
        "TAPE001B": ("drive 1", first[3]),
        "TAPE001C": ("import/export 1", first[2]),
    }
    again = StateLibrary(state, OfflineDrives(), hold_s=60)
    (slot,) = again.elements(None, first[1] + 1, 1)
    assert slot.source_address == first[1]


def test_the_change_is_in_the_state_the_store_and_the_events(
    change, state: State, store: MemoryStore
) -> None:
    gateway = change(changer_type="STK-L700", slot_count=7)
    assert describe_gateway(state) == gateway
    assert (gateway.changer_type, gateway.slot_count, gateway.drive_count) == ("STK-L700", 7, 2)
    marker = json.loads(store.get(f"gateways/{gateway.id}.json"))
    assert (marker["changer_type"], marker["slot_count"]) == ("STK-L700", 7)
    with state.read() as db:
        (event,) = events.select(db, events.EventFilter(type="LibraryChanged"))
    assert event.detail["slot_count"] == 7


@pytest.mark.usefixtures("three_tapes")
@pytest.mark.parametrize(
    ("wanted", "exit_code"),
    [
        ({"slot_count": 1}, ExitCode.ELEMENT),
        ({"changer_type": "STK-L701"}, ExitCode.USAGE),
        ({"slot_count": 0}, ExitCode.USAGE),
        ({"slot_count": 10_001}, ExitCode.USAGE),
        ({"drive_count": 65}, ExitCode.USAGE),
    ],
)
def test_what_is_refused_changes_nothing(change, state: State, wanted, exit_code) -> None:
    gateway, before = describe_gateway(state), places(state)
    with pytest.raises(TapectlError) as caught:
        change(**wanted)
    assert caught.value.exit_code is exit_code
    assert (describe_gateway(state), places(state)) == (gateway, before)


def test_barcodes_that_the_changer_cannot_read_are_refused(change, make: Maker) -> None:
    make("TOOLONG001")
    with pytest.raises(TapectlError, match="TOOLONG001"):
        change(changer_type="IBM-03584L32-0402")
    change(changer_type="IBM-3573-TL")


@pytest.mark.parametrize(
    "wanted", [{"slot_count": 5}, {"drive_count": 1}, {"changer_type": "STK-L700"}]
)
def test_a_library_that_is_served_only_grows(change, wanted) -> None:
    with pytest.raises(TapectlError, match="served"):
        change(served=True, **wanted)
    assert change(served=True, slot_count=8, drive_count=3).drive_count == 3


@pytest.mark.usefixtures("three_tapes")
def test_import_export_slots_that_do_not_fit_any_more_move_with_their_tapes(
    change, state: State
) -> None:
    change(changer_type="STK-L700")
    change(import_export_count=1000)
    assert places(state)["TAPE001C"] == ("import/export 1", 20000)


def test_a_store_that_fails_leaves_the_library_as_it_was(
    state: State, store: MemoryStore, clock: Clock
) -> None:
    before = describe_gateway(state)
    failing = FailNth(store, 1, forever=True)
    with pytest.raises(TapectlError):
        change_library(
            state,
            LibraryChange(slot_count=7),
            open_store=lambda _record: failing,
            served=False,
            now_ms=clock,
        )
    assert describe_gateway(state) == before


def test_a_library_in_use_takes_over_its_new_elements(
    change, library: StateLibrary, make: Maker
) -> None:
    make("TAPE001A", to_slots=True)
    change(served=True, slot_count=10)
    library.reload()
    library.move(SLOT, SLOT + 9)
    assert library.inventory() == {SLOT + 9: "TAPE001A"}
    assert IE in [span.first for span in library.ranges()]
