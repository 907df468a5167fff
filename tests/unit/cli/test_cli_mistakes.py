"""What people mistype: each mistake is named, with the next step, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tapectl.errors import ExitCode

Active = Callable[..., int]
Refused = Callable[..., list[str]]


@pytest.fixture
def refused(active: Active, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Return what runs a command line that must fail so, and returns its message and hint."""

    def run(exit_code: ExitCode, *words: str) -> list[str]:
        capsys.readouterr()
        assert active(*words) == exit_code
        written = capsys.readouterr()
        message, hint = written.err.splitlines()
        assert written.out == ""
        return [message.removeprefix("tapectl: "), hint.removeprefix("hint: ")]

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("tape create --size 1TiB --count x", "--count takes a whole number: x"),
        ("tape create --size 1TiB --count 1.5", "--count takes a whole number: 1.5"),
        ("tape eject VTL001L5 --hold 1h", "--hold takes a number: 1h"),
        ("tape eject VTL001L5 --hold -1", "--hold takes 0 or more: -1"),
        ("events --limit 0", "--limit takes 1 or more: 0"),
        ("tape cat VTL001L5 first", "FILE takes a whole number: first"),
    ],
)
def test_values_that_are_none(words: str, message: str, refused: Refused) -> None:
    said, hint = refused(ExitCode.USAGE, *words.split())
    assert said == message
    assert hint.startswith("run `tapectl ")


@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("--listen", "127.0.0.1:port", "as in 127.0.0.1:3260 or [::1]:3260"),
        ("--frontend", "kernel", "want user or lio or auto"),
        ("--log-format", "xml", "want text or json"),
    ],
)
def test_options_of_serve_are_options(option: str, value: str, hint: str, refused: Refused) -> None:
    said = refused(ExitCode.USAGE, "serve", option, value)
    assert said == [f"{option} cannot be this: {value}", hint]


def test_a_barcode_that_is_almost_right(active: Active, refused: Refused) -> None:
    active("tape", "create", "--size", "100GiB", "--barcode", "VTL001L5")
    assert refused(ExitCode.TAPE_NOT_FOUND, "tape", "show", "VTL01L5") == [
        "no tape with barcode VTL01L5",
        "did you mean VTL001L5?",
    ]
    assert refused(ExitCode.TAPE_NOT_FOUND, "tape", "show", "OTHER999")[1] == (
        "run `tapectl tape list`"
    )
    assert refused(ExitCode.TAPE_INVALID, "tape", "show", "vtl001l5")[1] == (
        "capital letters: VTL001L5"
    )


def test_a_list_that_is_empty_for_its_filter_says_so(
    active: Active, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("VTL*",), ("--status", "ARCHIVED"), ("--pool", "GLACIER")):
        capsys.readouterr()
        assert active("tape", "list", *words) == 0
        assert capsys.readouterr().err == "no such tapes; `tapectl tape list` shows all\n"
    assert active("tape", "list") == 0
    assert "tapectl tape create" in capsys.readouterr().err


def test_a_check_looks_at_the_store_before_there_is_a_tape_in_it(
    active: Active, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert active("check") == 0
    (tmp_path / "store").rename(tmp_path / "gone")
    capsys.readouterr()
    assert active("check", "--output", "json") == ExitCode.CHECK_FINDINGS
    findings = json.loads(capsys.readouterr().out)["Findings"]
    assert "store_unreachable" in {one["Code"] for one in findings}


def test_a_limit_of_nothing_is_too_low(refused: Refused) -> None:
    message, hint = refused(ExitCode.USAGE, "bandwidth", "set", "--upload", "0")
    assert message == "the upload limit is too low: 0 bit/s"
    assert "tapectl bandwidth clear" in hint


def test_a_tier_that_is_none_is_told_before_the_status(active: Active, refused: Refused) -> None:
    active("tape", "create", "--size", "100GiB", "--barcode", "VTL001L5")
    message, _ = refused(ExitCode.USAGE, "tape", "retrieve", "VTL001L5", "--tier", "Fast")
    assert message == "no such retrieval tier: Fast"


@pytest.mark.parametrize(
    "words",
    [
        "tape create --size 1TiB",
        "tape eject VTL001L5",
        "tape retrieve VTL001L5",
        "tape delete VTL001L5 --yes",
        "tape assign-pool VTL001L5 GLACIER",
        "archive delete VTL001L5 --yes",
        "disk drain /mnt/cache",
    ],
)
def test_a_time_to_wait_where_nothing_is_waited_for(words: str, refused: Refused) -> None:
    said = refused(ExitCode.USAGE, *words.split(), "--timeout", "5")
    assert said == ["--timeout goes with --wait", "say --wait, or leave --timeout away"]


def test_files_of_keys_that_are_none(active: Active, refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "page").write_text("hello")
    message, hint = refused(ExitCode.TAPE_KEY, "key", "import", str(tmp_path / "page"))
    assert message == f"no file of keys, or a damaged one: {tmp_path / 'page'}"
    assert "tapectl key export" in hint
    active("key", "create")
    message, hint = refused(ExitCode.USAGE, "key", "export", str(tmp_path / "page"))
    assert message == f"cannot write the keys (File exists): {tmp_path / 'page'}"
    assert "new file" in hint
    assert (tmp_path / "page").read_text() == "hello"


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (ExitCode.USAGE, "tape create --size 1TiB --if-not-exists"),
        (ExitCode.USAGE, "tape create --size 1TiB --barcode VTL009L5 --prefix VTL"),
        (ExitCode.USAGE, "tape create --cleaning --size 1TiB"),
        (ExitCode.USAGE, "tape export VTL001L5 image"),
        (ExitCode.USAGE, "tape import VTL001L5 /nonexistent.tap"),
        (ExitCode.USAGE, "recovery restore VTL001L5 --at yesterday --point 1"),
        (ExitCode.TAPE_STATUS, "tape unload VTL001L5"),
        (ExitCode.ELEMENT, "tape move VTL001L5 99999"),
        (ExitCode.ELEMENT, "tape move VTL001L5 slot:2"),
        (ExitCode.ELEMENT, "tape cat VTL001L5 7"),
        (ExitCode.POOL, "pool delete GLACIER --yes"),
        (ExitCode.SETTING_INVALID, "tape list --config /nonexistent.toml"),
    ],
)
def test_every_mistake_has_a_next_step(
    exit_code: ExitCode, words: str, active: Active, refused: Refused
) -> None:
    for barcode in ("VTL001L5", "VTL002L5"):
        create = ("tape", "create", "--size", "100GiB", "--to-slots", "--wait")
        assert active(*create, "--barcode", barcode) == 0
    assert all(refused(exit_code, *words.split()))
