"""How many segments are open on a disk: as the files say, however often they change."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tapectl.gateway.open_segments import OpenSegments


@pytest.fixture
def tapes(tmp_path: Path) -> Path:
    for barcode in ("VTL001", "VTL002"):
        (tmp_path / barcode).mkdir()
        (tmp_path / barcode / "00000001.seg").touch()
        (tmp_path / barcode / "00000002.open").touch()
    (tmp_path / "lost+found").touch()
    return tmp_path


def let_time_pass(tapes: Path) -> None:
    """Make all changes so far old ones."""
    for folder in tapes.iterdir():
        os.utime(folder, (1, 1))


def test_every_change_shows_at_once(tapes: Path) -> None:
    opens = OpenSegments()
    assert opens.count(tapes) == 2
    for number in range(3, 9):
        (tapes / "VTL001" / f"{number:08d}.open").touch()
        assert opens.count(tapes) == number
    let_time_pass(tapes)
    assert opens.count(tapes) == 8
    name = tapes / "VTL002" / "00000002.open"
    name.rename(name.with_suffix(".seg"))
    assert opens.count(tapes) == 7
    (tapes / "VTL003").mkdir()
    (tapes / "VTL003" / "00000000.open").touch()
    assert opens.count(tapes) == 8


def test_a_tape_that_goes_takes_its_segments_along(tapes: Path) -> None:
    opens = OpenSegments()
    let_time_pass(tapes)
    assert opens.count(tapes) == 2
    (tapes / "VTL001").rename(tapes.with_name("elsewhere"))
    assert opens.count(tapes) == 1


def test_folders_that_did_not_change_are_not_read_again(
    tapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens = OpenSegments()
    let_time_pass(tapes)
    opens.count(tapes)
    read: list[object] = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: (read.append(path), listdir(path))[1])
    (tapes / "VTL002" / "00000003.open").touch()
    assert opens.count(tapes) == 3
    assert read == [str(tapes / "VTL002")]


def test_where_there_are_many_files_a_look_is_good_for_a_moment(
    tapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3, 1200):
        (tapes / "VTL001" / f"{number:08d}.seg").touch()
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    opens = OpenSegments()
    assert opens.count(tapes) == 2
    (tapes / "VTL002" / "00000003.open").touch()
    assert opens.count(tapes) == 2
    now_s += 0.1
    assert opens.count(tapes) == 3


def test_a_disk_that_is_not_there_is_told(tapes: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        OpenSegments().count(tapes / "away")
