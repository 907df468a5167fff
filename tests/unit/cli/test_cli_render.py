"""What is written in each format: people get titles and units, scripts raw values."""

from __future__ import annotations

import json

import pytest

from tapectl.cli.render import (
    Column,
    OutputFormat,
    iso_time,
    render_record,
    render_rows,
    show_size,
)

COLUMNS = (
    Column("TapeBarcode", "Barcode"),
    Column("TapeSizeInBytes", "Size", show_size, right=True),
    Column("VTLDevice", "Device"),
)
ROWS = [
    {"TapeBarcode": "VTL001L5", "TapeSizeInBytes": 100 << 30, "VTLDevice": None},
    {"TapeBarcode": "VTL2", "TapeSizeInBytes": 1536 << 30, "VTLDevice": "tape\tdrive\n01"},
]


def test_json_is_one_array(capsys: pytest.CaptureFixture[str]) -> None:
    render_rows(ROWS, COLUMNS, output=OutputFormat.JSON, empty="none")
    assert json.loads(capsys.readouterr().out) == ROWS


def test_tsv_has_raw_values_one_row_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    render_rows(ROWS, COLUMNS, output=OutputFormat.TSV, empty="none")
    assert capsys.readouterr().out.splitlines() == [
        "TapeBarcode\tTapeSizeInBytes\tVTLDevice",
        "VTL001L5\t107374182400\t",
        "VTL2\t1649267441664\ttape\\tdrive\\n01",
    ]


def test_plain_lines_columns_up_and_has_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    render_rows(ROWS[:1], COLUMNS, output=OutputFormat.PLAIN, empty="none")
    assert capsys.readouterr().out.splitlines() == [
        "Barcode       Size  Device",
        "VTL001L5   100 GiB",
    ]


def test_without_a_terminal_the_default_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    render_rows(ROWS[:1], COLUMNS, output=None, empty="none")
    assert capsys.readouterr().out.startswith("Barcode       Size")


def test_table_shows_every_value(capsys: pytest.CaptureFixture[str]) -> None:
    render_rows(ROWS, COLUMNS, output=OutputFormat.TABLE, empty="none")
    written = capsys.readouterr().out
    assert "VTL001L5" in written
    assert "1.5 TiB" in written
    assert "\x1b" not in written  # no terminal, no colours


@pytest.mark.parametrize("output", [OutputFormat.TABLE, OutputFormat.PLAIN])
def test_people_are_told_of_an_empty_list_on_stderr(
    output: OutputFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    render_rows([], COLUMNS, output=output, empty="no tapes yet")
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err == "no tapes yet\n"


def test_scripts_get_an_empty_list_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    render_rows([], COLUMNS, output=OutputFormat.JSON, empty="none")
    assert json.loads(capsys.readouterr().out) == []
    render_rows([], COLUMNS, output=OutputFormat.TSV, empty="none")
    assert capsys.readouterr().out == "TapeBarcode\tTapeSizeInBytes\tVTLDevice\n"


def test_a_record_leaves_out_what_has_no_value(capsys: pytest.CaptureFixture[str]) -> None:
    render_record(ROWS[0], COLUMNS, output=OutputFormat.PLAIN)
    assert capsys.readouterr().out.splitlines() == ["Barcode  VTL001L5", "Size     100 GiB"]
    render_record(ROWS[0], COLUMNS, output=OutputFormat.JSON)
    assert json.loads(capsys.readouterr().out) == ROWS[0]


def test_times_in_json_are_utc() -> None:
    assert iso_time(0) == "1970-01-01T00:00:00.000Z"
    assert iso_time(None) is None
