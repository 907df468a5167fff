"""Standard streams that are closed, full or of another encoding: no traceback, and nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tapectl.cli.app import main
from tapectl.errors import ExitCode

Active = Callable[..., int]
TAPECTL = f"{sys.executable} -m tapectl.cli.app"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", line.replace("tapectl", TAPECTL, 1)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "exit_code"),
    [
        ("tapectl pool list >&-", ExitCode.OK),
        ("tapectl pool list 2>&-", ExitCode.OK),
        ("tapectl pool list <&- >&- 2>&-", ExitCode.OK),
        ("tapectl tape show NOSUCH01 2>&-", ExitCode.TAPE_NOT_FOUND),
        ("tapectl tape show NOSUCH01 2>/dev/full", ExitCode.TAPE_NOT_FOUND),
    ],
)
@pytest.mark.usefixtures("active")
def test_closed_streams(line: str, exit_code: ExitCode) -> None:
    done = shell(line)
    assert done.returncode == exit_code, done.stderr
    assert done.stderr == ""


def test_nobody_is_asked_at_a_closed_standard_input(active: Active) -> None:
    active("tape", "create", "--size", "100GiB", "--barcode", "VTL001L5")
    done = shell("tapectl tape delete VTL001L5 <&-")
    assert done.returncode == ExitCode.USAGE
    assert "--yes" in done.stderr


@pytest.mark.parametrize("words", ["tape list", "tape list -o tsv", "report", "--help", "metrics"])
def test_standard_output_that_is_full(words: str, active: Active) -> None:
    active("tape", "create", "--size", "100GiB")
    done = shell(f"tapectl {words} >/dev/full")
    assert done.returncode == ExitCode.FAILURE
    assert done.stderr.splitlines() == [
        "tapectl: cannot write standard output: No space left on device",
        "hint: make room where it goes to",
    ]


def test_what_ascii_lacks_is_written_as_its_number(active: Active) -> None:
    active("tag", "add", "gateway", "größe=ü")
    assert shell("tapectl tag list gateway", **ASCII).returncode == 0
    table = shell("tapectl tag list gateway --output table", **ASCII)
    assert table.returncode == 0
    _, rule, row = table.stdout.splitlines()
    assert set(rule) == {"-", " "}
    assert row.split() == [r"gr\xf6\xdfe", r"\xfc"]


def test_words_that_are_no_text(active: Active, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("tape", "list", "\udcff"), ("disk", "add-cache", "/tmp/\udcff")):
        capsys.readouterr()
        assert active(*words) == ExitCode.USAGE
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith("tapectl: not UTF-8: ")
        assert len(lines) == 2


@pytest.mark.usefixtures("active")
def test_an_error_is_one_line_whatever_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["tape", "show", "A\nB\x1b[2J"]) == ExitCode.TAPE_INVALID
    said = capsys.readouterr().err
    assert said.splitlines()[0] == r"tapectl: not a barcode: A\nB\x1b[2J"
    assert main(["tape", "show", "A\nB", "--output", "json"]) == ExitCode.TAPE_INVALID
    assert json.loads(capsys.readouterr().err)["error"]["message"] == "not a barcode: A\nB"


def test_a_closed_standard_output_is_not_the_state(active: Active, tmp_path: Path) -> None:
    before = (tmp_path / "state" / "tapectl.db").read_bytes()[:16]
    assert shell("tapectl tape create --size 100GiB <&- >&- 2>&-").returncode == 0
    assert (tmp_path / "state" / "tapectl.db").read_bytes()[:16] == before
    assert active("tape", "list") == 0
