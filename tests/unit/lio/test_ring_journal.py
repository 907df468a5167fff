"""What a killed worker leaves is read by the next one, of the same ring only."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapectl.lio.disorder import Disorder, DisplacedRequest
from tapectl.lio.journal import Journal, Phase, journal_path
from tapectl.scsi.ssc.continuation import Place

BEFORE, AFTER = Place(1, 5, 9), Place(1, 6, 9)
SENSE = bytes.fromhex("70 00 80")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return journal_path(tmp_path / "tapectl.db", "tapedrive-01")


def test_a_new_journal_has_nothing_left(path: Path) -> None:
    assert Journal(path, "ring one").left is None


def test_a_command_that_was_begun_is_left_with_the_place_before_it(path: Path) -> None:
    journal = Journal(path, "ring one")
    journal.changed(BEFORE, b"what the drive was")
    journal.begin(7, 4096, BEFORE, attempts=2)
    left = Journal(path, "ring one").left
    assert left is not None
    assert (left.phase, left.command_id, left.tail) == (Phase.BEGUN, 7, 4096)
    assert (left.attempts, left.place) == (2, BEFORE)
    assert left.continuation == b"what the drive was"


def test_a_command_that_is_done_is_left_with_its_outcome_and_what_it_changed(path: Path) -> None:
    journal = Journal(path, "ring one")
    journal.changed(BEFORE, b"what the drive was")
    journal.begin(1, 8, BEFORE, attempts=1)
    journal.done((2, SENSE, 512), 600, AFTER, b"what it is now")
    left = Journal(path, "ring one").left
    assert left is not None
    assert (left.phase, left.status, left.sense) == (Phase.DONE, 2, SENSE)
    assert (left.data_in_bytes, left.data_bytes) == (512, 600)
    assert (left.place, left.continuation) == (AFTER, b"what it is now")
    journal.answered()
    left = Journal(path, "ring one").left
    assert left is not None
    assert (left.phase, left.place, left.continuation) == (Phase.NONE, AFTER, b"what it is now")


def test_no_cartridge_has_no_place(path: Path) -> None:
    journal = Journal(path, "ring one")
    journal.changed(BEFORE, b"x")
    journal.changed(None, b"empty")
    left = Journal(path, "ring one").left
    assert left is not None
    assert left.place is None


def test_another_ring_is_none_of_ours(path: Path) -> None:
    Journal(path, "ring one").changed(BEFORE, b"x")
    assert Journal(path, "ring two").left is None
    assert Journal(path, "ring one").left is None  # it is the other's journal now


@pytest.mark.parametrize("damage", ["too long", "bytes"])
def test_a_continuation_that_is_not_whole_is_none(path: Path, damage: str) -> None:
    journal = Journal(path, "ring one")
    journal.changed(BEFORE, bytes(20_000) if damage == "too long" else b"all of it")
    if damage == "bytes":
        path.write_bytes(path.read_bytes().replace(b"all of it", b"all or it"))
    left = Journal(path, "ring one").left
    assert left is not None
    assert left.continuation == b""


def disorder(command_id: int) -> Disorder:
    """Return one that is like no other."""
    request = DisplacedRequest(command_id, bytes(16), [(4096, 10), (8192, 5)])
    return Disorder([request], [112 * command_id])


def test_which_disorder_counts_is_told_by_the_tail(path: Path) -> None:
    journal = Journal(path, "ring one")
    journal.put_disorder(disorder(1), 100, now=0)
    journal.put_disorder(disorder(2), 200, now=100)
    journal.put_disorder(disorder(3), 300, now=200)
    # It died before the tail was moved there.
    assert Journal(path, "ring one").disorder_at(200) == disorder(2)
    # The other is none any more: it is of a tail that comes again.
    assert Journal(path, "ring one").disorder_at(300) is None


def test_a_ring_in_order_has_no_disorder_wherever_its_tail_comes_to(path: Path) -> None:
    journal = Journal(path, "ring one")
    journal.put_disorder(disorder(1), 100, now=0)
    journal.put_disorder(disorder(2), 200, now=100)
    journal.put_no_disorder()
    assert Journal(path, "ring one").disorder_at(200) is None


def test_a_disorder_that_is_too_large_has_no_room(path: Path) -> None:
    journal = Journal(path, "ring one")
    assert journal.has_room_for(disorder(1))
    assert not journal.has_room_for(Disorder([DisplacedRequest(1, bytes(16), [(0, 1)] * 4096)], []))
