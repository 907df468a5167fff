"""The edge: every failure is one line, a hint and an exit status, and never a traceback."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tapectl.cli.app import hoist_global_options, main
from tapectl.cli.failure import wants_json
from tapectl.errors import ExitCode
from tapectl.state.database import State

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TAPECTL_STATE", str(tmp_path / "tapectl.db"))
    monkeypatch.delenv("TAPECTL_OUTPUT", raising=False)


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def failing(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(State, "open", failing)


def test_version(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tapectl 0.")


def test_before_activation_every_command_says_what_to_do(capsys: Capture, tmp_path: Path) -> None:
    for words in (["tape", "list"], ["status"], ["sync"], ["serve"], ["disk", "list"], ["events"]):
        assert main(words) == ExitCode.NOT_ACTIVATED
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith("tapectl: no gateway")
        assert lines[1].startswith("hint: ")
        assert len(lines) == 2
    assert list(tmp_path.iterdir()) == []


def test_errors_are_json_where_output_is(capsys: Capture) -> None:
    assert main(["tape", "list", "--output", "json"]) == ExitCode.NOT_ACTIVATED
    written = capsys.readouterr()
    assert written.out == ""
    error = json.loads(written.err)["error"]
    assert error["code"] == "not_activated"
    assert error["exit_code"] == ExitCode.NOT_ACTIVATED
    assert error["aws_code"] == "GatewayNotFound"
    assert error["hint"]


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-noun"],
        ["tape", "no-such-verb"],
        ["tape", "show"],
        ["tape", "list", "--no-such-option"],
        ["tape", "list", "--output", "xml"],
        ["tape", "create", "--size"],
        ["tape", "create", "--size", "1TiB", "--count", "many"],
    ],
)
def test_usage_errors_have_our_form(words: list[str], capsys: Capture) -> None:
    assert main(words) == ExitCode.USAGE
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("tapectl: ")
    assert lines[1].startswith("hint: run `tapectl")
    assert len(lines) == 2


@pytest.mark.parametrize("words", [[], ["tape"]])
def test_a_noun_alone_shows_its_help(words: list[str], capsys: Capture) -> None:
    assert main(words) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert said.startswith("Usage: tapectl")
    assert "Commands:" in said
    assert "hint:" not in said


def test_a_usage_error_is_json_too(capsys: Capture) -> None:
    assert main(["tape", "show", "-o", "json"]) == ExitCode.USAGE
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "usage"


def test_ctrl_c_is_silent(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    fail_with(monkeypatch, KeyboardInterrupt())
    assert main(["tape", "list"]) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == ""


def test_a_bug_says_that_it_is_one(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    fail_with(monkeypatch, AssertionError("impossible"))
    assert main(["tape", "list"]) == ExitCode.FAILURE
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "AssertionError: impossible" in said
    assert "this is a bug" in said


def test_destruction_without_a_terminal_needs_yes(
    capsys: Capture, active: Callable[..., int]
) -> None:
    assert active("tape", "create", "--size", "100GiB", "--barcode", "VTL001L5") == 0
    capsys.readouterr()
    assert active("tape", "delete", "VTL001L5") == ExitCode.USAGE
    assert capsys.readouterr().err.splitlines() == [
        "tapectl: there is no terminal to ask at: Delete tape VTL001L5 and all its data?",
        "hint: say --yes to do it",
    ]
    assert active("tape", "delete", "VTL001L5", "--yes", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["TapeStatus"] == "DELETING"


def test_nobody_is_asked_about_what_is_not_there(active: Callable[..., int]) -> None:
    assert active("tape", "delete", "NOSUCH01") == ExitCode.TAPE_NOT_FOUND
    assert active("autocreate", "delete", "XY") == ExitCode.TAPE_NOT_FOUND
    initiator = "iqn.1993-08.org.debian:01:abc"
    assert active("chap", "delete", "tapedrive-01", initiator) == ExitCode.CHAP_NOT_FOUND
    assert active("chap", "delete", "tapedrive-99", initiator) == ExitCode.DEVICE_NOT_FOUND


def test_global_options_stand_on_either_side() -> None:
    assert hoist_global_options(["tape", "list", "--state", "x", "--config=y"]) == [
        "--state",
        "x",
        "--config=y",
        "tape",
        "list",
    ]
    assert hoist_global_options(["a", "--", "--state", "x"]) == ["a", "--", "--state", "x"]


def test_json_is_seen_before_anything_is_parsed() -> None:
    assert wants_json(["tape", "list", "--output=json"], {})
    assert wants_json(["tape", "list"], {"TAPECTL_OUTPUT": "json"})
    assert not wants_json(["tape", "list", "-o", "tsv"], {"TAPECTL_OUTPUT": "json"})
    assert not wants_json(["tape", "list", "--output"], {})


def test_quiet_writes_nothing_but_errors(active: Callable[..., int], capsys: Capture) -> None:
    capsys.readouterr()
    words = ("tape", "create", "--size", "100GiB", "--barcode", "VTL001L5", "--wait")
    assert active(*words, "--quiet") == 0
    assert active("-q", "tape", "list") == 0
    assert capsys.readouterr() == ("", "")
    assert active(*words, "--quiet") == ExitCode.TAPE_EXISTS
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("tapectl: there is a tape with barcode VTL001L5")


def test_without_input_nobody_is_asked(
    active: Callable[..., int], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    active("tape", "create", "--size", "100GiB", "--barcode", "VTL001L5", "--wait")
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    capsys.readouterr()
    assert active("tape", "delete", "VTL001L5", "--no-input") == ExitCode.USAGE
    assert "say --yes" in capsys.readouterr().err
    assert active("tape", "delete", "VTL001L5", "--no-input", "--yes") == 0


def test_help_fits_into_80_columns(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    for words in (["--help"], ["activate", "--help"], ["tape", "create", "--help"]):
        assert main(words) == 0
        usage_and_options = capsys.readouterr().out.split("Examples:")[0]
        assert max(map(len, usage_and_options.splitlines())) <= 80
