"""The marker that says whose disk a directory is."""

from __future__ import annotations

import json

import pytest

from tapectl.disks.disk_directory import (
    CACHE_ROLE,
    MARKER_NAME,
    DiskMarker,
    prepare,
    read_marker,
    remove_marker,
)

MARKER = DiskMarker("disk-0a1b2c3d", "gw-1", CACHE_ROLE)


def test_a_prepared_directory_says_whose_it_is(tmp_path):
    prepare(tmp_path, MARKER)
    prepare(tmp_path, MARKER)
    assert read_marker(tmp_path) == MARKER
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tapectl-disk.json", "tapes"]


def test_taking_the_marker_away_keeps_segments(tmp_path):
    prepare(tmp_path, MARKER)
    (tmp_path / "tapes" / "TAP001L5").mkdir()
    remove_marker(tmp_path)
    assert read_marker(tmp_path) is None
    assert (tmp_path / "tapes" / "TAP001L5").is_dir()


def test_an_untouched_directory_is_empty_again(tmp_path):
    prepare(tmp_path, MARKER)
    remove_marker(tmp_path)
    remove_marker(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"version": 1}', "\xff"])
def test_another_file_of_that_name_is_no_marker(tmp_path, text):
    (tmp_path / MARKER_NAME).write_text(text, encoding="latin-1")
    assert read_marker(tmp_path) is None


def test_a_marker_of_a_later_version_is_not_understood(tmp_path):
    prepare(tmp_path, MARKER)
    fields = json.loads((tmp_path / MARKER_NAME).read_text())
    (tmp_path / MARKER_NAME).write_text(json.dumps({**fields, "version": 2}))
    assert read_marker(tmp_path) is None
