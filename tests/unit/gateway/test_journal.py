"""Where segments go, and when there is no room for one more."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tapectl.disks.disk_directory import DiskMarker, prepare
from tapectl.disks.interface import Placement
from tapectl.gateway.journal import StateJournal
from tapectl.gateway.settings import Settings
from tapectl.medium.summary import SegmentSummary
from tapectl.scsi.cartridge import CartridgeBusyError, CartridgeWriteError
from tapectl.state import disks, segments
from tapectl.state.database import State
from tapectl.state.disks import DiskRecord, DiskRole
from tapectl.units import MIB
from tests.unit.gateway.conftest import Maker

SEGMENT_BYTES = 16 * MIB
SUMMARY = SegmentSummary(0, 0, 10, 1, 900, SEGMENT_BYTES)


@pytest.fixture
def journal(state: State, make: Maker) -> StateJournal:
    make("VTL001")
    settings = Settings.load({}, Path(os.devnull), segment_bytes=SEGMENT_BYTES)
    return StateJournal(state, settings)


def disk_path(state: State, role: DiskRole) -> Path:
    with state.read() as db:
        return disks.all_disks(db, role)[0].path


def sealed(journal: StateJournal, placement: Placement, summary: SegmentSummary = SUMMARY) -> None:
    journal.record_sealed(
        "VTL001",
        summary,
        cache_disk_id=placement.cache_disk_id,
        buffer_disk_id=placement.buffer_disk_id,
    )


def leave_to_the_store(db: sqlite3.Connection, sequence: int) -> None:
    """The store has it, and the upload buffer no more."""
    segments.mark_uploaded(db, "VTL001", sequence, object_bytes=1, now_ms=1)
    segments.clear_buffer_disk(db, "VTL001", sequence)


def lose(disk: Path) -> None:
    disk.rename(disk.with_name("away"))


def test_one_file_system_is_said_to_be_shared(state: State, journal: StateJournal) -> None:
    placement = journal.place("VTL001", SEGMENT_BYTES)
    assert placement.shared
    assert placement.cache_path == disk_path(state, DiskRole.CACHE_STORAGE)
    assert placement.buffer_path == disk_path(state, DiskRole.UPLOAD_BUFFER)


def test_a_sealed_segment_names_its_files(state: State, journal: StateJournal) -> None:
    placement = journal.place("VTL001", SEGMENT_BYTES)
    sealed(journal, placement)
    sealed(journal, placement)
    (stored,) = journal.segments("VTL001")
    assert stored.summary == SUMMARY
    assert stored.cache_path == placement.cache_path / "tapes/VTL001/00000000.seg"
    assert stored.buffer_path == placement.buffer_path / "tapes/VTL001/00000000.seg"
    assert not stored.uploaded
    with state.write() as db:
        leave_to_the_store(db, 0)
        segments.set_cache_disk(db, "VTL001", 0, None)
    (stored,) = journal.segments("VTL001")
    assert (stored.cache_path, stored.buffer_path, stored.uploaded) == (None, None, True)


def test_a_full_buffer_makes_the_writer_wait_and_an_upload_ends_it(
    state: State, journal: StateJournal
) -> None:
    placement = journal.place("VTL001", SEGMENT_BYTES)
    for sequence in range(4):
        sealed(journal, placement, replace(SUMMARY, sequence=sequence))
    with pytest.raises(CartridgeBusyError) as caught:
        journal.place("VTL001", SEGMENT_BYTES)
    assert caught.value.retry_after_s > 0
    with state.write() as db:
        leave_to_the_store(db, 0)
    with pytest.raises(CartridgeBusyError, match="CACHE_STORAGE"):
        journal.place("VTL001", SEGMENT_BYTES)
    with state.write() as db:
        segments.set_cache_disk(db, "VTL001", 0, None)
    journal.place("VTL001", SEGMENT_BYTES)


def test_open_segments_of_other_drives_are_reserved(state: State, journal: StateJournal) -> None:
    path = disk_path(state, DiskRole.UPLOAD_BUFFER) / "tapes"
    for number in range(4):
        (path / f"VTL00{number}").mkdir()
        (path / f"VTL00{number}" / "00000000.open").touch()
    with pytest.raises(CartridgeBusyError, match="UPLOAD_BUFFER"):
        journal.place("VTL001", SEGMENT_BYTES)


def test_a_file_system_that_is_fuller_than_we_know_counts(
    journal: StateJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        os, "statvfs", lambda _path: SimpleNamespace(f_bavail=1, f_frsize=4096, f_flag=0)
    )
    with pytest.raises(CartridgeBusyError):
        journal.place("VTL001", SEGMENT_BYTES)


def test_without_any_disk_of_a_role_the_write_fails(state: State, journal: StateJournal) -> None:
    lose(disk_path(state, DiskRole.UPLOAD_BUFFER))
    with pytest.raises(CartridgeWriteError, match="UPLOAD_BUFFER"):
        journal.place("VTL001", SEGMENT_BYTES)
    assert journal.disk_paths() == [disk_path(state, DiskRole.CACHE_STORAGE)]


def test_a_disk_that_died_holds_no_copy(journal: StateJournal) -> None:
    placement = journal.place("VTL001", SEGMENT_BYTES)
    sealed(journal, placement)
    lose(placement.cache_path)
    (stored,) = journal.segments("VTL001")
    assert stored.cache_path is None
    assert stored.buffer_path is not None


@pytest.fixture
def add_cache(state: State, tmp_path: Path) -> Callable[[int], Path]:
    def add(size_bytes: int) -> Path:
        path = tmp_path / f"cache-{size_bytes}"
        path.mkdir()
        prepare(path, DiskMarker(f"disk-{size_bytes}", "sgw-0", DiskRole.CACHE_STORAGE))
        record = DiskRecord(
            id=f"disk-{size_bytes}",
            role=DiskRole.CACHE_STORAGE,
            path=path,
            device_node=None,
            size_bytes=size_bytes,
            created_at_ms=9,
        )
        with state.write() as db:
            disks.insert(db, record)
        return path

    return add


def test_the_emptier_disk_is_taken(
    state: State, journal: StateJournal, add_cache: Callable[[int], Path]
) -> None:
    placement = journal.place("VTL001", SEGMENT_BYTES)
    sealed(journal, placement)
    with state.write() as db:
        leave_to_the_store(db, 0)
    larger = add_cache(60 * MIB)
    assert journal.place("VTL001", SEGMENT_BYTES).cache_path == larger


def test_a_disk_that_failed_or_is_drained_or_avoided_is_passed_over(
    state: State, journal: StateJournal, add_cache: Callable[[int], Path]
) -> None:
    first = disk_path(state, DiskRole.CACHE_STORAGE)
    other = add_cache(64 * MIB)
    placement = journal.place("VTL001", SEGMENT_BYTES)
    assert placement.cache_path == first
    assert journal.place("VTL001", SEGMENT_BYTES, avoid=[first]).cache_path == other

    journal.note_failure(first, "Input/output error")
    assert journal.place("VTL001", SEGMENT_BYTES).cache_path == other
    # Where there is no other, it is tried again; one that takes a segment is well.
    assert journal.place("VTL001", SEGMENT_BYTES, avoid=[other]).cache_path == first
    sealed(journal, placement)
    assert journal.place("VTL001", SEGMENT_BYTES, avoid=[other]).cache_path == first
    with state.read() as db:
        assert not any(disk.failed for disk in disks.all_disks(db))

    with state.write() as db:
        disks.set_draining(db, placement.cache_disk_id, 1)
    assert journal.place("VTL001", SEGMENT_BYTES).cache_path == other
    with pytest.raises(CartridgeWriteError):
        journal.place("VTL001", SEGMENT_BYTES, avoid=[other])
    assert journal.place_copy(DiskRole.CACHE_STORAGE, SEGMENT_BYTES, avoid=[other]) is None


def test_a_read_only_file_system_takes_no_segment(
    journal: StateJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = SimpleNamespace(f_bavail=1 << 20, f_frsize=4096, f_flag=os.ST_RDONLY)
    monkeypatch.setattr(os, "statvfs", lambda _path: status)
    with pytest.raises(CartridgeWriteError):
        journal.place("VTL001", SEGMENT_BYTES)


def test_only_what_the_store_has_and_the_buffer_no_more_is_released(
    state: State, journal: StateJournal
) -> None:
    placement = journal.place("VTL001", SEGMENT_BYTES)
    for sequence in range(4):
        sealed(journal, placement, replace(SUMMARY, sequence=sequence))
    with state.write() as db:
        segments.mark_uploaded(db, "VTL001", 0, object_bytes=1, now_ms=1)
        leave_to_the_store(db, 1)
        leave_to_the_store(db, 2)
        segments.clear_buffer_disk(db, "VTL001", 3)
    (path,) = journal.release("VTL001", (0, 1, 3, 9))
    assert path == placement.cache_path / "tapes" / "VTL001" / "00000001.seg"
    kept = {one.summary.sequence: one.cache_path for one in journal.segments("VTL001")}
    assert [sequence for sequence, path in kept.items() if path is None] == [1]
    assert journal.release("VTL001", (1,)) == []


def test_what_is_on_a_disk_that_is_away_or_to_go_is_not_released(
    state: State, journal: StateJournal
) -> None:
    placement = journal.place("VTL001", SEGMENT_BYTES)
    sealed(journal, placement)
    with state.write() as db:
        leave_to_the_store(db, 0)
        disks.set_draining(db, placement.cache_disk_id, 1)
    assert journal.release("VTL001", (0,)) == []
    with state.write() as db:
        disks.set_draining(db, placement.cache_disk_id, None)
    lose(placement.cache_path)
    assert journal.release("VTL001", (0,)) == []
