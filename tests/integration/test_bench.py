"""The benchmarks run: a row of each kind, with few bytes. What they find is nobody's to assert."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.bench import drives, filemarks, flat_memory, positions
from tests.bench.__main__ import SECTIONS
from tests.bench.report import markers, replace_between_markers
from tests.bench.targets import served, tgtd
from tests.support.clients import PROJECT, require_program, require_shared
from tests.support.tapebench import Tapebench


def test_drives_beside_tgtd(
    tmp_path: Path, tapebench: Tapebench, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_program("tgtd", "tgt")
    require_shared("bench", "tgt-ref.sh")
    row = drives.Workload("64k", (), 1, goals=(1.5, 1.5))
    groups = (drives.Group("one row", (row,)),)
    monkeypatch.setattr(filemarks, "SAMPLES", 2)
    monkeypatch.setattr(filemarks, "LOAD_MIB", 3)
    results = drives.new_results()
    said: list[str] = []
    with (
        tgtd(tmp_path / "tgtd", 4) as reference,
        served("tapectl", tmp_path / "ours", 4) as (ours, gateway),
    ):
        drives.measure(
            *(results, groups, tapebench, [reference, ours], 0),
            scale=1,
            deadline_s=time.monotonic() + 60,
            say=said.append,
        )
        marks = filemarks.measure(tapebench, [reference, ours])
        memory = flat_memory.measure(tapebench, gateway, 4)
    (table,) = drives.tables(results, groups)
    assert [row[:2] for row in table.rows] == [
        (f"64k {operation}", target)
        for operation in ("write", "read")
        for target in ("tapectl", "tgtd")
    ]
    assert (len(said), len(marks.rows), len(memory.rows)) == (4, 6, flat_memory.STEPS)


def test_positioning(tmp_path: Path, tapebench: Tapebench) -> None:
    (table,) = positions.measure(tmp_path, tapebench, (10_000,))
    assert [row[0] for row in table.rows] == ["10,000"]


@pytest.mark.parametrize("section", SECTIONS)
def test_the_page_has_a_place_for_the_tables(section: str) -> None:
    page = (PROJECT / "docs" / "benchmarks.md").read_text()
    written = replace_between_markers(page, section, "tables")
    begin, end = markers(section)
    assert f"{begin}\ntables\n{end}" in written
    assert replace_between_markers(written, section, "tables") == written
