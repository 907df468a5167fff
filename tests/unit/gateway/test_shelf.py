"""Eject, cancel, archive, retrieve: what the shelf allows in which status."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.events import list_events
from tapectl.gateway.shelf import (
    cancel_eject,
    cancel_retrieve,
    complete_retrieval,
    delete_archive,
    describe_archive,
    eject_tape,
    list_archive,
    retrieve_tape,
)
from tapectl.gateway.tape_info import TapeInfo
from tapectl.gateway.tapes import describe_tape
from tapectl.state import tapes
from tapectl.state.database import State
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import Stamp
from tests.unit.gateway.conftest import DRIVE, Clock, Maker

Advance = Callable[..., None]
TO_ARCHIVED = (TapeStatus.IN_TRANSIT_TO_VTS, TapeStatus.ARCHIVING, TapeStatus.ARCHIVED)


def refused(action: Callable[..., TapeInfo], *arguments: object, **options: object) -> TapectlError:
    with pytest.raises(TapectlError) as caught:
        action(*arguments, **options)
    return caught.value


def test_an_ejected_tape_is_held_in_an_import_export_slot(
    state: State, make: Maker, clock: Clock
) -> None:
    make("VTL001", to_slots=True)
    tape = eject_tape(state, "VTL001", hold_s=60, now_ms=clock)
    assert (tape.status, tape.location) == (TapeStatus.IN_TRANSIT_TO_VTS, "import/export 1")
    assert tape.hold_until_ms == clock() + 60_000


def test_a_new_tape_is_ejected_where_it_lies(state: State, make: Maker) -> None:
    make("VTL001")
    assert eject_tape(state, "VTL001", hold_s=60).location == "import/export 1"


def test_without_a_hold_it_is_out_of_the_library(state: State, make: Maker) -> None:
    make("VTL001", to_slots=True)
    assert eject_tape(state, "VTL001", hold_s=0).location is None


def test_a_loaded_tape_is_not_ejected(state: State, make: Maker) -> None:
    make("VTL001")
    with state.write() as db:
        tapes.update(db, "VTL001", element_address=DRIVE)
    error = refused(eject_tape, state, "VTL001", hold_s=60)
    assert error.exit_code == ExitCode.TAPE_IN_DRIVE
    assert error.hint == "run `tapectl tape unload VTL001` first"


def test_an_ejected_tape_is_not_ejected_again(state: State, make: Maker) -> None:
    make("VTL001")
    eject_tape(state, "VTL001", hold_s=60)
    error = refused(eject_tape, state, "VTL001", hold_s=60)
    assert error.exit_code == ExitCode.TAPE_STATUS
    assert error.message == "tape VTL001 is IN TRANSIT TO VTS and cannot be ejected"
    assert error.hint == "it is ejected already"


def test_with_all_import_export_slots_taken_there_is_no_eject(state: State, make: Maker) -> None:
    make("VTL001", to_slots=True)
    make("NEW001", "NEW002", "NEW003", "NEW004")
    error = refused(eject_tape, state, "VTL001", hold_s=60)
    assert error.exit_code == ExitCode.ELEMENT
    assert describe_tape(state, "VTL001").status is TapeStatus.AVAILABLE


def test_a_cancelled_eject_goes_home(state: State, make: Maker) -> None:
    make("VTL001", "VTL002", to_slots=True)
    eject_tape(state, "VTL002", hold_s=60)
    tape = cancel_eject(state, "VTL002")
    assert (tape.status, tape.location) == (TapeStatus.AVAILABLE, "slot 2")
    assert tape.hold_until_ms is None


def test_an_eject_can_be_cancelled_after_the_hold_while_it_uploads(
    state: State, make: Maker
) -> None:
    make("VTL001", "VTL002", to_slots=True)
    eject_tape(state, "VTL001", hold_s=0)
    with state.write() as db:
        tapes.update(db, "VTL002", element_address=tapes.get(db, "VTL001").source_element)
    # Its own slot was taken meanwhile.
    assert cancel_eject(state, "VTL001").location == "slot 2"


@pytest.mark.parametrize("statuses", [(), TO_ARCHIVED[:2], TO_ARCHIVED])
def test_nothing_else_can_be_cancelled(
    state: State, make: Maker, advance: Advance, statuses: tuple[TapeStatus, ...]
) -> None:
    make("VTL001")
    advance("VTL001", *statuses)
    error = refused(cancel_eject, state, "VTL001")
    assert error.exit_code == ExitCode.TAPE_STATUS
    assert "no eject to cancel" in error.message


def test_a_retrieval_from_begin_to_end(state: State, make: Maker, advance: Advance) -> None:
    make("VTL001")
    advance("VTL001", *TO_ARCHIVED)
    assert describe_tape(state, "VTL001").location == "shelf"
    asked = retrieve_tape(state, "VTL001", "bulk")
    assert (asked.status, asked.retrieval_tier) == (TapeStatus.RETRIEVING, "Bulk")
    assert complete_retrieval(state, "VTL001", Stamp("transfer", 5), restore_until_ms=99)
    tape = describe_archive(state, "VTL001")
    assert (tape.status, tape.location) == (TapeStatus.RETRIEVED, "import/export 1")
    assert tape.write_protected
    assert tape.restore_until_ms == 99
    assert tape.retrieved_to is not None


@pytest.mark.parametrize("statuses", [(), TO_ARCHIVED[:1], (*TO_ARCHIVED, TapeStatus.RETRIEVING)])
def test_only_an_archived_tape_is_retrieved(
    state: State, make: Maker, advance: Advance, statuses: tuple[TapeStatus, ...]
) -> None:
    make("VTL001")
    advance("VTL001", *statuses)
    error = refused(retrieve_tape, state, "VTL001")
    assert error.exit_code == ExitCode.TAPE_STATUS
    assert error.hint == "only an ARCHIVED tape can be retrieved"


def test_tiers(state: State, make: Maker, advance: Advance) -> None:
    make("VTL001", pool_id="DEEP_ARCHIVE")
    advance("VTL001", *TO_ARCHIVED)
    assert refused(retrieve_tape, state, "VTL001", "Overnight").exit_code == ExitCode.USAGE
    assert "Deep Archive" in refused(retrieve_tape, state, "VTL001", "Expedited").message
    assert describe_tape(state, "VTL001").status is TapeStatus.ARCHIVED
    retrieve_tape(state, "VTL001", "Standard")


def test_a_retrieved_tape_waits_while_no_slot_is_free(
    state: State, make: Maker, advance: Advance
) -> None:
    make("VTL001")
    advance("VTL001", *TO_ARCHIVED)
    retrieve_tape(state, "VTL001")
    make(*(f"NEW00{n}" for n in range(4)))
    make(*(f"OLD00{n}" for n in range(5)), to_slots=True)
    with state.write() as db:
        tapes.update(db, "OLD004", element_address=None)
    assert complete_retrieval(state, "VTL001", Stamp("transfer", 5), restore_until_ms=None)
    assert describe_tape(state, "VTL001").location == "slot 5"


def test_a_full_library_says_what_a_retrieval_waits_for(
    state: State, make: Maker, advance: Advance
) -> None:
    make("VTL001")
    advance("VTL001", *TO_ARCHIVED)
    retrieve_tape(state, "VTL001")
    make(*(f"NEW00{n}" for n in range(4)))
    make(*(f"OLD00{n}" for n in range(6)), to_slots=True)
    assert not complete_retrieval(state, "VTL001", Stamp("transfer", 5), restore_until_ms=None)
    tape = describe_tape(state, "VTL001")
    assert tape.status is TapeStatus.RETRIEVING
    assert tape.status_detail == "waits for a free slot in the library"


def test_a_cancelled_retrieval_does_not_come(state: State, make: Maker, advance: Advance) -> None:
    make("VTL001")
    advance("VTL001", *TO_ARCHIVED)
    retrieve_tape(state, "VTL001")
    assert cancel_retrieve(state, "VTL001").status is TapeStatus.ARCHIVED
    assert not complete_retrieval(state, "VTL001", Stamp("transfer", 5), restore_until_ms=None)
    assert "no retrieval to cancel" in refused(cancel_retrieve, state, "VTL001").message


def test_the_archive_lists_what_is_on_the_shelf(
    state: State, make: Maker, advance: Advance
) -> None:
    make("VTL001", "VTL002", "VTL003")
    advance("VTL001", *TO_ARCHIVED)
    advance("VTL002", *TO_ARCHIVED, TapeStatus.RETRIEVING)
    assert [tape.barcode for tape in list_archive(state)] == ["VTL001", "VTL002"]
    assert "not in the archive" in refused(describe_archive, state, "VTL003").message


def test_an_archived_tape_can_be_deleted(state: State, make: Maker, advance: Advance) -> None:
    make("VTL001")
    advance("VTL001", *TO_ARCHIVED)
    assert delete_archive(state, "VTL001").status is TapeStatus.DELETING


@pytest.mark.parametrize(
    ("statuses", "hint"),
    [((), "tape delete VTL001"), ((*TO_ARCHIVED, TapeStatus.RETRIEVING), "cancel-retrieve")],
)
def test_others_are_not_deleted_from_the_archive(
    state: State, make: Maker, advance: Advance, statuses: tuple[TapeStatus, ...], hint: str
) -> None:
    make("VTL001")
    advance("VTL001", *statuses)
    error = refused(delete_archive, state, "VTL001")
    assert error.exit_code == ExitCode.TAPE_STATUS
    assert hint in (error.hint or "")


def test_the_whole_life_is_told_by_events(state: State, make: Maker, advance: Advance) -> None:
    make("VTL001")
    eject_tape(state, "VTL001", hold_s=0, actor="cli:alice")
    advance("VTL001", *TO_ARCHIVED[1:])
    retrieve_tape(state, "VTL001")
    told = list_events(state, subject="VTL001")
    assert [(event.from_status, event.to_status) for event in told] == [
        (None, "CREATING"),
        ("CREATING", "AVAILABLE"),
        ("AVAILABLE", "IN TRANSIT TO VTS"),
        ("IN TRANSIT TO VTS", "ARCHIVING"),
        ("ARCHIVING", "ARCHIVED"),
        ("ARCHIVED", "RETRIEVING"),
    ]
    assert told[2].actor == "cli:alice"
    assert list_events(state, subject="VTL001", after_id=told[-2].id) == told[-1:]
    assert list_events(state, subject="VTL001", limit=2) == told[-2:]
    assert list_events(state, event_type="GatewayActivated")[0].subject_kind == "gateway"
