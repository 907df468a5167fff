"""The life of a tape through the command line, without a server: what each command says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tapectl.cli.app import main
from tapectl.errors import ExitCode
from tests.unit.cli.conftest import Active, Ask, documented_keys


def test_a_tape_goes_to_the_shelf_and_comes_back(ask: Ask, active: Active) -> None:
    (created,) = ask("tape", "create", "--size", "100GiB", "--barcode", "VTL001L5", "--wait")
    assert created["TapeStatus"] == "AVAILABLE"
    assert created["TapeSizeInBytes"] == 100 << 30
    assert created["Location"] == "import/export 1"
    moved = ask("tape", "move", "VTL001L5", "slot:7")
    assert moved["Location"] == "slot 7"
    loaded = ask("tape", "load", "VTL001L5", "tapedrive-02")
    assert loaded["Location"] == "drive 2"
    assert ask("device", "show", "tapedrive-02")["TapeBarcode"] == "VTL001L5"
    assert active("tape", "eject", "VTL001L5") == ExitCode.TAPE_IN_DRIVE
    assert ask("tape", "unload", "VTL001L5")["Location"] == "slot 7"
    assert ask("tape", "eject", "VTL001L5", "--hold", "60")["TapeStatus"] == "IN TRANSIT TO VTS"
    assert ask("tape", "cancel-eject", "VTL001L5")["TapeStatus"] == "AVAILABLE"
    assert ask("tape", "eject", "VTL001L5", "--wait")["TapeStatus"] == "ARCHIVED"
    assert [tape["TapeBarcode"] for tape in ask("archive", "list")] == ["VTL001L5"]
    assert ask("tape", "retrieve", "VTL001L5")["TapeStatus"] == "RETRIEVING"
    assert ask("tape", "cancel-retrieve", "VTL001L5")["TapeStatus"] == "ARCHIVED"
    retrieved = ask("tape", "retrieve", "VTL001L5", "--wait")
    assert retrieved["TapeStatus"] == "RETRIEVED"
    assert retrieved["WriteProtected"] is True
    assert active("tape", "delete", "VTL001L5", "--yes") == ExitCode.TAPE_STATUS
    assert ask("tape", "eject", "VTL001L5", "--wait")["TapeStatus"] == "ARCHIVED"
    assert ask("archive", "delete", "VTL001L5", "--yes", "--wait")["TapeStatus"] == "DELETED"
    assert ask("tape", "list") == []
    assert [tape["TapeStatus"] for tape in ask("tape", "list", "--status", "deleted")] == [
        "DELETED"
    ]
    steps = [event["To"] for event in ask("events", "VTL001L5") if event["To"]]
    assert steps[:2] == ["CREATING", "AVAILABLE"]
    assert steps[-2:] == ["DELETING", "DELETED"]


def test_every_key_is_documented(ask: Ask) -> None:
    ask("tape", "create", "--size", "100GiB", "--count", "2", "--wait")
    documents = [
        ask("status"),
        ask("sync"),
        *ask("tape", "list"),
        *ask("disk", "list"),
        *ask("device", "list"),
        *ask("events"),
        ask("autocreate", "set", "BKP", "--minimum", "1", "--size", "1TiB"),
        *ask("bandwidth", "set", "--upload", "1Mbit"),
        ask("disk", "size", "--write", "1Gbit", "--upload", "1Mbit", "--hours", "1"),
        ask("gateway", "set", "--name", "basement"),
        ask("gateway", "deactivate", "--dry-run"),
    ]
    keys = {key for document in documents for key in document}
    assert keys <= documented_keys()


def test_provisioning_twice_changes_nothing(ask: Ask, active: Active) -> None:
    by_barcode = ("tape", "create", "--size", "1TiB", "--barcode", "VTL002L5", "--if-not-exists")
    by_token = ("tape", "create", "--size", "1TiB", "--count", "3", "--client-token", "monday")
    first = [ask(*by_barcode), ask(*by_token)]
    assert [ask(*by_barcode), ask(*by_token)] == first
    assert len(ask("tape", "list")) == 4
    assert active(*by_token[:-1], "monday", "--pool", "DEEP_ARCHIVE") == ExitCode.USAGE


def test_tsv_is_for_cut_and_awk(active: Active, capsys: pytest.CaptureFixture[str]) -> None:
    active("tape", "create", "--size", "100GiB", "--barcode", "VTL003L5")
    capsys.readouterr()
    assert active("tape", "list", "-o", "tsv") == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split("\t")[:3] == ["TapeBarcode", "TapeStatus", "TapeSizeInBytes"]
    assert row.split("\t")[:3] == ["VTL003L5", "CREATING", str(100 << 30)]


def test_waiting_ends_with_the_timeout(active: Active, capsys: pytest.CaptureFixture[str]) -> None:
    active("tape", "create", "--size", "100GiB", "--barcode", "VTL004L5", "--wait")
    words = ("tape", "eject", "VTL004L5", "--hold", "600", "--wait", "--timeout", "0")
    assert active(*words) == ExitCode.WAIT_TIMEOUT
    assert "hint: it goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "exit_code"),
    [
        (("tape", "show", "NOSUCH01"), ExitCode.TAPE_NOT_FOUND),
        (("tape", "show", "no such"), ExitCode.TAPE_INVALID),
        (("tape", "create", "--size", "99GiB"), ExitCode.TAPE_INVALID),
        (("tape", "create", "--size", "16TiB"), ExitCode.TAPE_INVALID),
        (("tape", "create", "--size", "100.5GiB"), ExitCode.TAPE_INVALID),
        (("tape", "create", "--size", "big"), ExitCode.USAGE),
        (("tape", "create", "--size", "1TiB", "--pool", "NOPOOL"), ExitCode.POOL),
        (("tape", "create", "--size", "1TiB", "--barcode", "low"), ExitCode.TAPE_INVALID),
        (("tape", "list", "--status", "LOST"), ExitCode.USAGE),
        (("archive", "show", "NOSUCH01"), ExitCode.TAPE_NOT_FOUND),
        (("device", "show", "tapedrive-11"), ExitCode.DEVICE_NOT_FOUND),
        (("disk", "show", "/nowhere"), ExitCode.DISK_MISSING),
        (("disk", "add-cache", "/nowhere"), ExitCode.DISK_PATH),
        (("activate", "--store", "/nowhere"), ExitCode.ALREADY_ACTIVATED),
        (("serve", "--listen", "not:an:address"), ExitCode.USAGE),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_input(
    active: Active,
    words: tuple[str, ...],
    exit_code: ExitCode,
    capsys: pytest.CaptureFixture[str],
) -> None:
    capsys.readouterr()
    assert active(*words) == exit_code
    written = capsys.readouterr()
    assert written.out == ""
    lines = written.err.splitlines()
    assert lines[0].startswith("tapectl: ")
    assert lines[1:] == [] or (len(lines) == 2 and lines[1].startswith("hint: "))


INITIATOR = "iqn.1993-08.org.debian:01:abc"


def test_chap_takes_secrets_from_files_only(ask: Ask, active: Active, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("correct horse 1\n")
    set_words = ("chap", "set", "tapedrive-01", INITIATOR, "--secret-file", str(secret))
    assert ask(*set_words)["Mutual"] is False
    listed = ask("chap", "list")
    assert [entry["InitiatorName"] for entry in listed] == [INITIATOR]
    assert "correct" not in json.dumps([listed, ask("events")])
    assert ask("device", "show", "tapedrive-01")["ChapEnabled"] is True
    secret.write_text("short\n")
    assert active(*set_words) == ExitCode.USAGE
    assert active("chap", "delete", "tapedrive-01", INITIATOR, "--yes") == 0
    assert active("chap", "delete", "tapedrive-01", INITIATOR, "--yes") == ExitCode.CHAP_NOT_FOUND
    secret.write_text("correct horse 2\n")
    everywhere = ask("chap", "set", "all", INITIATOR, "--secret-file", str(secret))
    assert everywhere == ask("chap", "list")
    assert [entry["Device"] for entry in everywhere] == [
        device["Device"] for device in ask("device", "list")
    ]
    assert active("chap", "delete", "all", INITIATOR, "--yes") == 0
    assert ask("chap", "list") == []


def test_completion_knows_barcodes_and_is_silent_without_a_state(
    active: Active, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import typer.main

    from tapectl.cli.commands import app
    from tapectl.cli.completing import barcodes

    active("tape", "create", "--size", "100GiB", "--barcode", "VTL005L5")
    root = typer.main.get_command(app)
    context = root.make_context("tapectl", [], resilient_parsing=True)
    assert barcodes(context, "VTL") == [("VTL005L5", "CREATING")]
    assert barcodes(context, "X") == []
    monkeypatch.setenv("TAPECTL_STATE", str(tmp_path / "absent.db"))
    assert barcodes(context, "") == []


def test_media_of_another_generation_and_cleaning_cartridges(ask: Ask, active: Active) -> None:
    (tape,) = ask("tape", "create", "--size", "1TiB", "--generation", "lto8")
    assert (tape["Generation"], tape["Cleaning"], tape["CleaningsLeft"]) == ("LTO-8", False, None)
    (cleaner,) = ask("tape", "create", "--cleaning", "--barcode", "CLNU01L1", "--to-slots")
    assert (cleaner["Generation"], cleaner["Cleaning"], cleaner["CleaningsLeft"]) == (
        "LTO-5",
        True,
        50,
    )
    assert cleaner["TapeSizeInBytes"] == 0
    assert {row["Generation"] for row in ask("tape", "list")} == {"LTO-5", "LTO-8"}
    assert active("tape", "create") == ExitCode.USAGE
    assert active("tape", "create", "--size", "1TiB", "--generation", "LTO-0") == ExitCode.USAGE
    assert active("tape", "create", "--cleaning", "--size", "1TiB") == ExitCode.USAGE


def test_a_cleaning_cartridge_goes_to_the_shelf_as_any_other(ask: Ask) -> None:
    ask("tape", "create", "--cleaning", "--barcode", "CLNU01L1", "--wait")
    assert ask("tape", "eject", "CLNU01L1", "--wait")["TapeStatus"] == "ARCHIVED"
    (row,) = ask("archive", "list")
    assert (row["Cleaning"], row["CleaningsLeft"]) == (True, 50)
    assert ask("tape", "retrieve", "CLNU01L1", "--wait")["TapeStatus"] == "RETRIEVED"
    assert ask("tape", "show", "CLNU01L1")["Cleaning"] is True


def test_a_tape_is_loaded_where_most_can_be_done_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAPECTL_STATE", str(tmp_path / "state" / "tapectl.db"))
    for name in ("store", "cache", "buffer"):
        (tmp_path / name).mkdir()

    def run(*words: str) -> str:
        capsys.readouterr()
        assert main(words) == 0, capsys.readouterr().err
        return capsys.readouterr().err

    kinds = "IBM-ULT3580-TD9,IBM-ULT3580-TD7,IBM-ULT3580-TD6"
    run("activate", "--store", str(tmp_path / "store"), "--drives", "3", "--drive-type", kinds)
    run("disk", "add-cache", str(tmp_path / "cache"), "--allow-small")
    run("disk", "add-buffer", str(tmp_path / "buffer"), "--allow-small")
    for barcode, generation in (("TAPE5A", "LTO-5"), ("TAPE5B", "LTO-5"), ("TAPE5C", "LTO-5")):
        words = ("--size", "1TiB", "--barcode", barcode, "--generation", generation, "--wait")
        run("tape", "create", *words)
    assert run("tape", "load", "TAPE5A") == ""
    assert run("tape", "load", "TAPE5B") == "warning: drive 2, ULT3580-TD7, does not write LTO-5\n"
    assert run("tape", "load", "TAPE5C") == "warning: drive 1, ULT3580-TD9, cannot read LTO-5\n"


def test_a_bucket_tells_its_tapes_to_a_machine_without_a_gateway(
    ask: Ask, active: Active, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("tape", "create", "--size", "1TiB", "--barcode", "VTL001L5", "--tag", "a=b", "--wait")
    here = ask("recovery", "list")
    assert [point["TapeBarcode"] for point in here] == ["VTL001L5"]
    monkeypatch.setenv("TAPECTL_STATE", str(tmp_path / "elsewhere" / "tapectl.db"))
    assert active("recovery", "list") == ExitCode.NOT_ACTIVATED
    bucket = ("--store", str(tmp_path / "store"))
    assert ask("recovery", "list", *bucket) == here
    assert ask("recovery", "list", "VTL001L5", *bucket) == here
    (gateway,) = ask("gateway", "list", *bucket)
    assert ask("recovery", "list", "--gateway", gateway["GatewayId"], *bucket) == here
    assert (
        active("recovery", "list", "--gateway", "sgw-00000000", *bucket) == ExitCode.GATEWAY_UNKNOWN
    )
    assert active("recovery", "list", "VTL002L5", *bucket) == ExitCode.TAPE_NOT_FOUND
    (tmp_path / "empty").mkdir()
    assert ask("recovery", "list", "--store", str(tmp_path / "empty")) == []
    assert not (tmp_path / "elsewhere").exists()


def test_events_since_a_time(ask: Ask, active: Active) -> None:
    ask("tape", "create", "--size", "1TiB", "--barcode", "VTL001L5")
    assert ask("events", "--since", "1h") == ask("events", "--since", "2000-01-01") == ask("events")
    assert ask("events", "--since", "2999-01-01T00:00") == []
    assert active("events", "--since", "yesterday") == ExitCode.USAGE
