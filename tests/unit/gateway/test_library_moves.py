"""Moves by initiators and by admins: what goes where, what archives, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Never

import pytest

from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.library import OfflineDrives, StateLibrary, move_tape
from tapectl.gateway.moves import plan_load, plan_move, plan_unload
from tapectl.gateway.tape_creation import TapeCreation, create_tapes
from tapectl.gateway.tapes import describe_tape
from tapectl.scsi.library import ElementType, LibraryError, MediumType, MoveError, MoveRefusal
from tapectl.scsi.sense import ASC
from tapectl.state import events, tapes
from tapectl.state.database import State
from tapectl.state.errors import StateBusyError
from tapectl.state.tape_status import TapeStatus
from tapectl.units import GIB
from tests.unit.gateway.conftest import DRIVE, IE, SLOT, Clock, Maker

TRANSPORT = 0


class Drives:
    """Drives that remember what they hold, and refuse when told to."""

    def __init__(self) -> None:
        self.loaded: dict[int, str] = {}
        self.refuses_load: set[int] = set()
        self.prevents: set[int] = set()
        self.during_load: Callable[[], None] = lambda: None
        self.dead: set[int] = set()

    def responds(self, drive_number: int) -> bool:
        return drive_number not in self.dead

    def load(self, drive_number: int, barcode: str) -> None:
        if drive_number in self.refuses_load:
            raise MoveError(MoveRefusal.DRIVE_FAILED)
        self.during_load()
        assert drive_number not in self.loaded
        self.loaded[drive_number] = barcode

    def unload(self, drive_number: int) -> None:
        if drive_number in self.prevents:
            raise MoveError(MoveRefusal.REMOVAL_PREVENTED)
        del self.loaded[drive_number]


@pytest.fixture
def drives() -> Drives:
    return Drives()


@pytest.fixture
def library(state: State, drives: Drives, clock: Clock) -> StateLibrary:
    return StateLibrary(state, drives, hold_s=60, actor="initiator:iqn.x", now_ms=clock)


def inventory(library: StateLibrary) -> dict[int, str]:
    return {
        element.address: element.volume_tag
        for element in library.elements(None, 0, 100_000)
        if element.volume_tag is not None
    }


def refusal(library: StateLibrary, *addresses: int) -> MoveRefusal:
    before = inventory(library)
    action = library.move if len(addresses) == 2 else library.exchange
    with pytest.raises(MoveError) as caught:
        action(*addresses)
    assert inventory(library) == before
    return caught.value.refusal


def test_elements_come_by_type_and_address(library: StateLibrary, make: Maker) -> None:
    make("VTL001")
    found = library.elements(None, 0, 100)
    assert [element.address for element in found] == [
        TRANSPORT,
        *range(SLOT, SLOT + 6),
        *range(IE, IE + 4),
        *range(DRIVE, DRIVE + 2),
    ]
    assert [element.volume_tag for element in found if element.volume_tag] == ["VTL001"]
    assert [element.address for element in library.elements(ElementType.STORAGE, SLOT + 4, 9)] == [
        SLOT + 4,
        SLOT + 5,
    ]
    assert len(library.elements(None, 0, 3)) == 3
    assert library.elements(ElementType.STORAGE, SLOT + 6, 9) == []


def test_drives_have_serials_and_no_one_else(library: StateLibrary) -> None:
    serials = [element.drive_serial for element in library.elements(None, 0, 100)]
    assert serials[:-2] == [None] * 11
    assert len({*serials[-2:]}) == 2
    assert all(serial is not None and len(serial) == 10 for serial in serials[-2:])


def test_a_tape_that_an_admin_made_says_so_until_it_is_moved(
    library: StateLibrary, make: Maker
) -> None:
    make("VTL001")
    (element,) = library.elements(ElementType.IMPORT_EXPORT, IE, 1)
    assert element.placed_by_operator
    assert element.source_address is None
    library.move(IE, SLOT + 3)
    (element,) = library.elements(ElementType.STORAGE, SLOT + 3, 1)
    assert not element.placed_by_operator
    assert element.source_address == IE


def test_a_tape_remembers_its_slot_while_in_a_drive(
    library: StateLibrary, drives: Drives, make: Maker
) -> None:
    make("VTL001", to_slots=True)
    library.move(SLOT, DRIVE + 1)
    assert drives.loaded == {2: "VTL001"}
    (element,) = library.elements(ElementType.DATA_TRANSFER, DRIVE + 1, 1)
    assert element.source_address == SLOT
    library.move(DRIVE + 1, SLOT + 2)
    assert drives.loaded == {}
    assert inventory(library) == {SLOT + 2: "VTL001"}


def test_a_move_is_an_event_with_its_initiator(library: StateLibrary, make: Maker) -> None:
    make("VTL001", to_slots=True)
    library.move(SLOT, DRIVE)
    with library.state.read() as db:
        last = events.select(db, events.EventFilter())[-1]
    assert (last.type, last.actor, last.subject_id) == ("TapeMoved", "initiator:iqn.x", "VTL001")
    assert last.detail["to"] == "drive 1"


def test_events_name_the_initiator_that_has_moved_a_tape(
    library: StateLibrary, make: Maker
) -> None:
    make("VTL001", "VTL002", to_slots=True)
    library.move(SLOT, IE, nexus="iqn.1993-08.org.debian:01:abc,i,0x800000000001,iqn.y,t,0x1")
    library.exchange(SLOT + 1, IE, SLOT, nexus="iqn.z,i,0x0,iqn.y,t,0x1")
    library.move(SLOT, SLOT + 1, nexus="kernel target")  # which names no initiator
    with library.state.read() as db:
        told = events.select(db, events.EventFilter())
    moved = [event.actor for event in told if event.type == "TapeMoved"]
    debian, other = "initiator:iqn.1993-08.org.debian:01:abc", "initiator:iqn.z"
    assert moved == [debian, other, other, "initiator"]
    ejected = [event.actor for event in told if event.to_status == "IN TRANSIT TO VTS"]
    assert ejected == [debian, other]


def test_moving_into_an_import_export_slot_ejects(
    library: StateLibrary, make: Maker, clock: Clock
) -> None:
    make("VTL001", to_slots=True)
    library.move(SLOT, IE + 2)
    tape = describe_tape(library.state, "VTL001")
    assert tape.status is TapeStatus.IN_TRANSIT_TO_VTS
    assert tape.hold_until_ms == clock() + 60_000
    assert inventory(library) == {IE + 2: "VTL001"}


def test_a_tape_goes_from_a_drive_straight_to_the_import_export_slot(
    library: StateLibrary, drives: Drives, make: Maker
) -> None:
    make("VTL001", to_slots=True)
    library.move(SLOT, DRIVE)
    library.move(DRIVE, IE)
    assert drives.loaded == {}
    assert describe_tape(library.state, "VTL001").status is TapeStatus.IN_TRANSIT_TO_VTS


@pytest.mark.parametrize("destination", [SLOT + 1, DRIVE])
def test_moving_it_back_in_time_cancels(
    library: StateLibrary, make: Maker, destination: int
) -> None:
    make("VTL001", to_slots=True)
    library.move(SLOT, IE)
    library.move(IE, destination)
    tape = describe_tape(library.state, "VTL001")
    assert (tape.status, tape.hold_until_ms) == (TapeStatus.AVAILABLE, None)
    assert inventory(library) == {destination: "VTL001"}


def test_after_the_hold_the_slot_is_empty(library: StateLibrary, make: Maker, clock: Clock) -> None:
    make("VTL001", "VTL002", to_slots=True)
    library.move(SLOT, IE)
    clock.now_ms += 60_000
    assert IE not in inventory(library)
    assert refusal(library, IE, SLOT) is MoveRefusal.SOURCE_EMPTY
    # The slot takes the next one though no transfer engine has run.
    library.move(SLOT + 1, IE)
    assert inventory(library) == {IE: "VTL002"}


def test_without_a_hold_it_leaves_at_once_as_with_aws(
    state: State, drives: Drives, make: Maker, clock: Clock
) -> None:
    make("VTL001", to_slots=True)
    library = StateLibrary(state, drives, hold_s=0, now_ms=clock)
    library.move(SLOT, IE)
    assert inventory(library) == {}
    assert describe_tape(state, "VTL001").status is TapeStatus.IN_TRANSIT_TO_VTS


def test_a_new_tape_may_change_its_import_export_slot(library: StateLibrary, make: Maker) -> None:
    make("VTL001")
    library.move(IE, IE + 1)
    assert describe_tape(library.state, "VTL001").status is TapeStatus.AVAILABLE


def test_an_ejected_retrieved_tape_comes_back_retrieved(
    library: StateLibrary, make: Maker, advance: Callable[..., None]
) -> None:
    make("VTL001")
    with library.state.write() as db:
        tapes.update(db, "VTL001", element_address=None)
    advance(
        "VTL001",
        TapeStatus.IN_TRANSIT_TO_VTS,
        TapeStatus.ARCHIVING,
        TapeStatus.ARCHIVED,
        TapeStatus.RETRIEVING,
        TapeStatus.RETRIEVED,
    )
    with library.state.write() as db:
        tapes.update(db, "VTL001", element_address=SLOT)
    library.move(SLOT, IE)
    library.move(IE, SLOT)
    tape = describe_tape(library.state, "VTL001")
    assert tape.status is TapeStatus.RETRIEVED
    assert tape.write_protected


def test_a_tape_that_is_being_created_cannot_be_moved(library: StateLibrary) -> None:
    create_tapes(library.state, TapeCreation(size_bytes=100 * GIB, barcode="VTL001"))
    (element,) = library.elements(ElementType.IMPORT_EXPORT, IE, 1)
    assert not element.accessible
    assert refusal(library, IE, SLOT) is MoveRefusal.NOT_ACCESSIBLE


def test_a_broken_tape_may_be_moved_but_not_loaded_or_ejected(
    library: StateLibrary, make: Maker, advance: Callable[..., None]
) -> None:
    make("VTL001", to_slots=True)
    advance("VTL001", TapeStatus.IRRECOVERABLE)
    assert refusal(library, SLOT, DRIVE) is MoveRefusal.NOT_ACCESSIBLE
    assert refusal(library, SLOT, IE) is MoveRefusal.NOT_ACCESSIBLE
    library.move(SLOT, SLOT + 1)


def test_refusals(library: StateLibrary, drives: Drives, make: Maker) -> None:
    make("VTL001", "VTL002", to_slots=True)
    assert refusal(library, SLOT + 5, DRIVE) is MoveRefusal.SOURCE_EMPTY
    assert refusal(library, SLOT, SLOT + 1) is MoveRefusal.DESTINATION_FULL
    assert refusal(library, SLOT + 5, SLOT + 5) is MoveRefusal.SOURCE_EMPTY
    assert refusal(library, SLOT, SLOT + 6) is MoveRefusal.NO_SUCH_ELEMENT
    assert refusal(library, SLOT, TRANSPORT) is MoveRefusal.NO_SUCH_ELEMENT
    assert refusal(library, 5, SLOT) is MoveRefusal.NO_SUCH_ELEMENT
    assert drives.loaded == {}


def test_a_drive_that_does_not_load_keeps_the_tape_where_it_was(
    library: StateLibrary, drives: Drives, make: Maker
) -> None:
    make("VTL001", to_slots=True)
    drives.refuses_load = {1}
    assert refusal(library, SLOT, DRIVE) is MoveRefusal.DRIVE_FAILED


def test_a_prevented_removal_keeps_the_tape_in_the_drive(
    library: StateLibrary, drives: Drives, make: Maker
) -> None:
    make("VTL001", to_slots=True)
    library.move(SLOT, DRIVE)
    drives.prevents = {1}
    assert refusal(library, DRIVE, SLOT) is MoveRefusal.REMOVAL_PREVENTED


def test_from_drive_to_drive_a_failed_load_puts_it_back(
    library: StateLibrary, drives: Drives, make: Maker
) -> None:
    make("VTL001", to_slots=True)
    library.move(SLOT, DRIVE)
    drives.refuses_load = {2}
    assert refusal(library, DRIVE, DRIVE + 1) is MoveRefusal.DRIVE_FAILED
    assert drives.loaded == {1: "VTL001"}


def test_a_tape_that_is_deleted_while_it_is_loaded_is_given_back(
    library: StateLibrary, drives: Drives, make: Maker, advance: Callable[..., None]
) -> None:
    make("VTL001", to_slots=True)
    drives.during_load = lambda: advance("VTL001", TapeStatus.DELETING)
    with pytest.raises(MoveError):
        library.move(SLOT, DRIVE)
    assert drives.loaded == {}
    assert inventory(library) == {}


def test_exchange_swaps_drive_and_slot(library: StateLibrary, drives: Drives, make: Maker) -> None:
    make("VTL001", "VTL002", to_slots=True)
    library.move(SLOT, DRIVE)
    library.exchange(SLOT + 1, DRIVE, SLOT + 1)
    assert inventory(library) == {DRIVE: "VTL002", SLOT + 1: "VTL001"}
    assert drives.loaded == {1: "VTL002"}


def test_exchange_with_a_third_element(library: StateLibrary, make: Maker) -> None:
    make("VTL001", "VTL002", to_slots=True)
    library.exchange(SLOT, SLOT + 1, SLOT + 4)
    assert inventory(library) == {SLOT + 1: "VTL001", SLOT + 4: "VTL002"}


def test_exchange_that_fails_half_way_undoes_all(
    library: StateLibrary, drives: Drives, make: Maker
) -> None:
    make("VTL001", "VTL002", to_slots=True)
    library.move(SLOT, DRIVE)

    def fail_once() -> None:
        drives.during_load = lambda: None
        raise MoveError(MoveRefusal.DRIVE_FAILED)

    drives.during_load = fail_once
    assert refusal(library, SLOT + 1, DRIVE, SLOT + 1) is MoveRefusal.DRIVE_FAILED
    assert drives.loaded == {1: "VTL001"}


def test_exchange_refusals(library: StateLibrary, make: Maker) -> None:
    make("VTL001", "VTL002", "VTL003", to_slots=True)
    assert refusal(library, SLOT, SLOT + 4, SLOT + 5) is MoveRefusal.SOURCE_EMPTY
    assert refusal(library, SLOT, SLOT + 1, SLOT + 2) is MoveRefusal.DESTINATION_FULL


def admin_error(action: Callable[[], object]) -> TapectlError:
    with pytest.raises(TapectlError) as caught:
        action()
    return caught.value


def test_load_and_unload_by_barcode(state: State, make: Maker) -> None:
    make("VTL001", "VTL002", "VTL003", to_slots=True)
    library = StateLibrary(state, OfflineDrives(), hold_s=60)
    assert library.load_tape("VTL001") == (SLOT, DRIVE)
    assert library.load_tape("VTL002", 2) == (SLOT + 1, DRIVE + 1)
    loaded = admin_error(lambda: plan_load(state, "VTL001"))
    assert loaded.exit_code == ExitCode.TAPE_IN_DRIVE
    full = admin_error(lambda: plan_load(state, "VTL003"))
    assert (full.exit_code, full.message) == (ExitCode.DEVICE_BUSY, "every drive holds a tape")
    held = admin_error(lambda: plan_load(state, "VTL003", 1))
    assert held.message == "drive 1 holds tape VTL001"
    assert admin_error(lambda: plan_load(state, "VTL003", 3)).exit_code == ExitCode.ELEMENT
    # Home again, though the first slot is free as well.
    assert library.unload_tape("VTL002") == (DRIVE + 1, SLOT + 1)
    assert library.unload_tape("VTL001", 5) == (DRIVE, SLOT + 4)


def test_unloading_a_new_tape_never_archives_it(state: State, make: Maker) -> None:
    make("VTL001")
    library = StateLibrary(state, OfflineDrives(), hold_s=60)
    library.load_tape("VTL001")
    assert library.unload_tape("VTL001") == (DRIVE, SLOT)
    assert describe_tape(state, "VTL001").status is TapeStatus.AVAILABLE


def test_unload_refusals(state: State, make: Maker) -> None:
    make("VTL001", "VTL002", to_slots=True)
    assert admin_error(lambda: plan_unload(state, "VTL001")).exit_code == ExitCode.TAPE_STATUS
    StateLibrary(state, OfflineDrives(), hold_s=60).load_tape("VTL001")
    error = admin_error(lambda: plan_unload(state, "VTL001", 2))
    assert error.message == "slot 2 is not empty"


@pytest.mark.parametrize(
    ("text", "address"),
    [("slot:3", SLOT + 2), ("drive 2", DRIVE + 1), ("ie:1", IE), ("IE:1", IE), ("20005", SLOT + 5)],
)
def test_elements_by_name(state: State, make: Maker, text: str, address: int) -> None:
    make("VTL001", to_slots=True)
    assert plan_move(state, "VTL001", text) == (SLOT, address)


@pytest.mark.parametrize(
    ("text", "exit_code"),
    [
        ("slot:7", ExitCode.ELEMENT),
        ("slot:0", ExitCode.ELEMENT),
        ("4711", ExitCode.ELEMENT),
        ("shelf:1", ExitCode.USAGE),
        ("drive", ExitCode.USAGE),
        ("slot:1", ExitCode.ELEMENT),
    ],
)
def test_elements_that_are_none(state: State, make: Maker, text: str, exit_code: ExitCode) -> None:
    make("VTL001", to_slots=True)
    assert admin_error(lambda: plan_move(state, "VTL001", text)).exit_code == exit_code


def test_an_admin_reads_why_a_move_was_refused(
    library: StateLibrary, drives: Drives, make: Maker
) -> None:
    make("VTL001", to_slots=True)
    library.move(SLOT, DRIVE)
    drives.prevents = {1}
    error = admin_error(lambda: move_tape(library, DRIVE, SLOT))
    assert error.exit_code == ExitCode.DEVICE_BUSY
    assert "prevented" in error.message
    assert "backup software" in (error.hint or "")


def test_a_move_onto_itself_moves_nothing(
    library: StateLibrary, drives: Drives, make: Maker
) -> None:
    make("VTL001", to_slots=True)
    library.move(SLOT, SLOT)
    library.move(SLOT, DRIVE)
    drives.loaded[1] = "not unloaded"
    library.move(DRIVE, DRIVE)
    assert drives.loaded == {1: "not unloaded"}
    assert inventory(library) == {DRIVE: "VTL001"}


def test_a_drive_that_does_not_answer_is_exceptional_and_out_of_reach(
    library: StateLibrary, drives: Drives, make: Maker
) -> None:
    make("VTL001", to_slots=True)
    library.move(SLOT, DRIVE)
    drives.dead.add(1)
    dead, well = library.elements(ElementType.DATA_TRANSFER, 0, 2)
    assert dead.exception is ASC.LOGICAL_UNIT_COMMUNICATION_FAILURE
    assert (dead.accessible, dead.volume_tag) == (False, "VTL001")
    assert (well.exception, well.accessible) == (None, True)


def test_the_inventory_has_the_tapes_that_can_be_used(
    state: State, library: StateLibrary, make: Maker
) -> None:
    make("VTL001", "VTL002", to_slots=True)
    with state.write() as db:
        db.execute("UPDATE tape SET status = 'CREATING' WHERE barcode = 'VTL002'")
    assert library.inventory() == {SLOT: "VTL001"}


def test_one_element_is_read_without_looking_at_the_others(
    state: State, library: StateLibrary, make: Maker
) -> None:
    make("VTL001", "VTL002", to_slots=True)
    with state.read() as db:
        plan = db.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM tape WHERE element_address BETWEEN 1 AND 1"
        ).fetchall()
    assert "USING INDEX" in plan[0]["detail"]
    (element,) = library.elements(None, SLOT + 1, 1)
    assert element.volume_tag == "VTL002"


def test_media_are_told_apart(state: State, library: StateLibrary, make: Maker) -> None:
    make("VTL001", "VTL002", "VTL003", to_slots=True)
    with state.write() as db:
        db.execute("UPDATE tape SET worm = 1 WHERE barcode = 'VTL002'")
        db.execute("UPDATE tape SET cleaning = 1 WHERE barcode = 'VTL003'")
    kinds = [element.medium_type for element in library.elements(ElementType.STORAGE, 0, 3)]
    assert kinds == [MediumType.DATA, MediumType.WORM, MediumType.CLEANING]


def test_the_version_of_the_inventory_changes_with_it(
    library: StateLibrary, make: Maker, clock: Clock
) -> None:
    versions = [library.inventory_version()]

    def changed() -> bool:
        version = library.inventory_version()
        library.inventory()
        versions.append(version)
        return version != versions[-2]

    assert not changed()
    make("VTL001", to_slots=True)
    assert changed()
    library.move(SLOT, SLOT + 1)
    assert changed()
    library.move(SLOT + 1, IE)
    assert changed()
    clock.now_ms += 59_000
    assert not changed()
    clock.now_ms += 2_000
    assert changed()
    assert library.inventory() == {}


def test_a_state_that_cannot_be_used_is_a_library_that_fails(
    state: State, library: StateLibrary, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("VTL001", to_slots=True)

    def fail() -> Never:
        raise StateBusyError(state.path, waited_s=1)

    monkeypatch.setattr(state, "write", fail)
    with pytest.raises(LibraryError):
        library.move(SLOT, DRIVE)
    with pytest.raises(StateBusyError):
        move_tape(library, SLOT, DRIVE)
    monkeypatch.setattr(state, "read", fail)
    with pytest.raises(LibraryError):
        library.elements(None, 0, 1)
