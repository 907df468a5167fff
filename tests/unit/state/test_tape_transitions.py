"""Tapes in the state: every transition, its event, and what a query returns."""

from __future__ import annotations

import itertools
import sqlite3

import pytest

from tapectl.medium.summary import SegmentSummary
from tapectl.state import events, segments, tapes
from tapectl.state.database import State
from tapectl.state.errors import TapeNotFoundError, TapeStatusError
from tapectl.state.tape_status import TRANSITIONS, TapeStatus
from tapectl.state.tapes import Stamp, TapeFilter, TapeRecord

CREATED = Stamp("cli:root", 1_000)
LATER = Stamp("transfer", 2_000)


def a_tape(barcode: str = "VTL001", **columns: object) -> TapeRecord:
    values: dict[str, object] = {
        "barcode": barcode,
        "tape_uuid": f"uuid of {barcode}",
        "size_bytes": 100 << 30,
        "pool_id": "GLACIER",
        "created_at_ms": 1_000,
        "status_at_ms": 1_000,
    }
    return TapeRecord(**{**values, **columns})  # type: ignore[arg-type]


def put(state: State, tape: TapeRecord) -> None:
    with state.write() as db:
        tapes.insert(db, tape, CREATED)


def force(db: sqlite3.Connection, status: TapeStatus) -> None:
    db.execute("UPDATE tape SET status = ?", (status,))


ALLOWED = [(a, b) for a, targets in TRANSITIONS.items() for b in sorted(targets)]
FORBIDDEN = [pair for pair in itertools.product(TapeStatus, TapeStatus) if pair not in ALLOWED]


@pytest.mark.parametrize(("before", "after"), ALLOWED)
def test_an_allowed_transition_leaves_its_event(
    state: State, before: TapeStatus, after: TapeStatus
) -> None:
    put(state, a_tape())
    with state.write() as db:
        force(db, before)
        tape = tapes.transition(db, "VTL001", after, LATER)
    assert (tape.status, tape.previous_status, tape.status_at_ms) == (after, before, 2_000)
    with state.read() as db:
        last = events.select(db, events.EventFilter())[-1]
    assert (last.subject_id, last.from_status, last.to_status) == ("VTL001", before, after)
    assert (last.actor, last.at_ms, last.type) == ("transfer", 2_000, "TapeStatusTransition")


@pytest.mark.parametrize(("before", "after"), FORBIDDEN)
def test_any_other_transition_changes_nothing(
    state: State, before: TapeStatus, after: TapeStatus
) -> None:
    put(state, a_tape())
    with state.write() as db:
        force(db, before)
    refused = TapeNotFoundError if before is TapeStatus.DELETED else TapeStatusError
    with pytest.raises(refused), state.write() as db:
        tapes.transition(db, "VTL001", after, LATER)
    with state.read() as db:
        tape = tapes.find(db, "VTL001")
        assert tape is not None
        assert tape.status is before
        assert len(events.select(db, events.EventFilter())) == 1


def test_the_database_itself_knows_every_status_and_no_other(state: State) -> None:
    put(state, a_tape())
    for status in TapeStatus:
        with state.write() as db:
            force(db, status)
    with pytest.raises(sqlite3.IntegrityError), state.write() as db:
        db.execute("UPDATE tape SET status = 'BORROWED'")


def walk(state: State, *statuses: TapeStatus) -> TapeRecord:
    with state.write() as db:
        for at_ms, status in enumerate(statuses, start=10):
            tape = tapes.transition(db, "VTL001", status, Stamp("transfer", at_ms * 1_000))
    return tape


TO_SHELF = (TapeStatus.IN_TRANSIT_TO_VTS, TapeStatus.ARCHIVING, TapeStatus.ARCHIVED)


def test_a_tape_to_the_shelf_gives_up_its_element_and_gets_its_times(state: State) -> None:
    put(state, a_tape(element_address=20_000, status=TapeStatus.AVAILABLE))
    tape = walk(state, *TO_SHELF)
    assert tape.element_address is None
    assert (tape.ejected_at_ms, tape.archive_completed_at_ms) == (10_000, 12_000)


def test_a_retrieved_tape_is_write_protected_and_again_on_the_shelf(state: State) -> None:
    put(state, a_tape(status=TapeStatus.AVAILABLE))
    tape = walk(state, *TO_SHELF, TapeStatus.RETRIEVING, TapeStatus.RETRIEVED)
    assert tape.write_protected
    assert tape.retrieved_at_ms == 14_000
    assert walk(state, *TO_SHELF).write_protected


def test_a_cancelled_retrieval_keeps_the_time_of_archival(state: State) -> None:
    put(state, a_tape(status=TapeStatus.AVAILABLE))
    tape = walk(state, *TO_SHELF, TapeStatus.RETRIEVING, TapeStatus.ARCHIVED)
    assert tape.archive_completed_at_ms == 12_000


def test_a_cancelled_eject_of_a_written_tape_is_writable(state: State) -> None:
    put(state, a_tape(status=TapeStatus.AVAILABLE))
    tape = walk(state, TapeStatus.IN_TRANSIT_TO_VTS, TapeStatus.AVAILABLE)
    assert not tape.write_protected


def test_progress_belongs_to_archiving_and_retrieving_alone(state: State) -> None:
    put(state, a_tape(status=TapeStatus.AVAILABLE))
    assert walk(state, *TO_SHELF[:2]).progress == 0
    with state.write() as db:
        tapes.update(db, "VTL001", progress=40.5)
    assert walk(state, TapeStatus.ARCHIVED).progress is None


def test_facts_of_a_transition_are_written_with_it(state: State) -> None:
    put(state, a_tape())
    with state.write() as db:
        tape = tapes.transition(
            db, "VTL001", TapeStatus.AVAILABLE, LATER, store_epoch=1, store_etag="e"
        )
    assert (tape.store_epoch, tape.store_etag) == (1, "e")


@pytest.mark.parametrize("column", ["status", "tape_uuid", "size_bytes", "no_such_column"])
def test_columns_that_never_change_cannot_be_set(state: State, column: str) -> None:
    put(state, a_tape())
    with pytest.raises(ValueError, match=column), state.write() as db:
        tapes.update(db, "VTL001", **{column: "x"})


def test_a_deleted_tape_is_gone_but_its_barcode_stays_taken(state: State) -> None:
    put(state, a_tape(status=TapeStatus.AVAILABLE))
    walk(state, TapeStatus.DELETING, TapeStatus.DELETED)
    with state.read() as db:
        with pytest.raises(TapeNotFoundError):
            tapes.get(db, "VTL001")
        assert tapes.select(db, TapeFilter()) == []
        assert len(tapes.select(db, TapeFilter(statuses=frozenset({TapeStatus.DELETED})))) == 1
    with pytest.raises(sqlite3.IntegrityError):
        put(state, a_tape(tape_uuid="another"))


def test_two_tapes_never_share_an_element(state: State) -> None:
    put(state, a_tape("VTL001", element_address=1))
    with pytest.raises(sqlite3.IntegrityError):
        put(state, a_tape("VTL002", element_address=1))


@pytest.mark.parametrize("barcode", ["ABCD", "A" * 17, "abcde", "ABC-1", "ABCD "])
def test_the_database_refuses_what_is_no_barcode(state: State, barcode: str) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        put(state, a_tape(barcode))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (TapeFilter(), ["AAA001", "AAA002", "BBB001"]),
        (TapeFilter(barcode_glob="AAA*"), ["AAA001", "AAA002"]),
        (TapeFilter(barcode_glob="*00[2-9]"), ["AAA002"]),
        (TapeFilter(pool_id="DEEP_ARCHIVE"), ["BBB001"]),
        (TapeFilter(statuses=frozenset({TapeStatus.AVAILABLE})), ["AAA002"]),
        (TapeFilter(statuses=frozenset()), []),
    ],
)
def test_filters(state: State, wanted: TapeFilter, found: list[str]) -> None:
    put(state, a_tape("AAA001", element_address=5))
    put(state, a_tape("AAA002", status=TapeStatus.AVAILABLE))
    put(state, a_tape("BBB001", pool_id="DEEP_ARCHIVE"))
    with state.read() as db:
        assert [tape.barcode for tape in tapes.select(db, wanted)] == found


def test_the_shelf_does_not_count_against_the_quota(state: State) -> None:
    put(state, a_tape("AAA001", status=TapeStatus.AVAILABLE))
    put(state, a_tape("AAA002", status=TapeStatus.ARCHIVED))
    with state.read() as db:
        assert tapes.totals(db) == tapes.TapeTotals(1, 100 << 30)


def seal(state: State, sequence: int = 0) -> None:
    record = segments.SegmentRecord(
        barcode="VTL001",
        summary=SegmentSummary(sequence, 0, 10, 1, 900, 1000),
        sealed_at_ms=5_000,
        cache_disk_id=None,
        buffer_disk_id=None,
    )
    with state.write() as db:
        segments.insert(db, record)


def test_a_tape_is_archived_when_its_hold_is_over_and_all_is_uploaded(state: State) -> None:
    put(state, a_tape(status=TapeStatus.AVAILABLE, element_address=30_000))
    seal(state)
    with state.write() as db:
        tapes.transition(db, "VTL001", TapeStatus.IN_TRANSIT_TO_VTS, LATER, hold_until_ms=9_000)
    with state.read() as db:
        assert tapes.next_hold_end_ms(db) == 9_000
        assert tapes.ready_to_archive(db, 9_000) == []
    with state.write() as db:
        segments.mark_uploaded(db, "VTL001", 0, object_bytes=500, now_ms=6_000)
    with state.read() as db:
        assert tapes.ready_to_archive(db, 8_999) == []
        assert [tape.barcode for tape in tapes.ready_to_archive(db, 9_000)] == ["VTL001"]


def test_the_end_of_a_hold_empties_the_element(state: State) -> None:
    put(state, a_tape(status=TapeStatus.AVAILABLE, element_address=30_000))
    with state.write() as db:
        tapes.transition(db, "VTL001", TapeStatus.IN_TRANSIT_TO_VTS, LATER, hold_until_ms=9_000)
        assert tapes.release_expired_holds(db, 8_999) == 0
        assert tapes.in_element(db, 30_000) is not None
        assert tapes.release_expired_holds(db, 9_000) == 1
        assert tapes.in_element(db, 30_000) is None
        assert tapes.next_hold_end_ms(db) is None


def test_sealing_a_segment_twice_changes_nothing(state: State) -> None:
    put(state, a_tape(status=TapeStatus.AVAILABLE))
    seal(state)
    with state.write() as db:
        segments.mark_uploaded(db, "VTL001", 0, object_bytes=500, now_ms=6_000)
    seal(state)
    with state.read() as db:
        (record,) = segments.of_tape(db, "VTL001")
        assert record.uploaded_at_ms == 6_000
        assert segments.waiting_uploads(db) == segments.SegmentTotals(0, 0)
