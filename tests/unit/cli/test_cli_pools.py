"""Pools and tags through the command line, on a directory: what each command says."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import pytest
import typer.main

from tapectl.cli.app import main
from tapectl.cli.commands import app
from tapectl.cli.completing import archive_classes, encryptions, lock_types, pools, resources
from tapectl.errors import ExitCode
from tests.unit.cli.conftest import Active, Ask, documented_keys

LEDGER = ("pool", "create", "ledger", "--storage-class", "glacier")
LOCK = ("--retention-lock-type", "governance", "--retention-days", "30")


def test_a_directory_keeps_the_rules_of_a_lock(ask: Ask, active: Active) -> None:
    pool = ask(*LEDGER, *LOCK, "--tag", "owner=audit")
    assert ask(*LEDGER, *LOCK, "--if-not-exists")["PoolId"] == pool["PoolId"]
    assert active(*LEDGER, *LOCK) == ExitCode.POOL
    (tape,) = ask(
        *("tape", "create", "--size", "100GiB", "--barcode", "VTL001L5", "--pool", "ledger"),
        *("--tag", "case=2026/17", "--wait"),
    )
    assert (tape["PoolId"], tape["RetentionLockType"]) == (pool["PoolId"], None)
    locked = ask("tape", "eject", "VTL001L5", "--wait")
    assert locked["RetentionLockType"] == "GOVERNANCE"
    assert ask("pool", "show", "ledger")["Tapes"] == 1
    assert [row["TapeBarcode"] for row in ask("archive", "list", "--pool", "ledger")] == [
        "VTL001L5"
    ]
    bypass = "--bypass-governance-retention"
    assert active("archive", "delete", "VTL001L5", "--yes") == ExitCode.TAPE_LOCKED
    assert active("tape", "assign-pool", "VTL001L5", "DEEP_ARCHIVE") == ExitCode.TAPE_LOCKED
    assert active("pool", "delete", "ledger", "--yes") == ExitCode.POOL
    moved = ask("tape", "assign-pool", "VTL001L5", "DEEP_ARCHIVE", bypass, "--wait")
    assert (moved["PoolId"], moved["RetainUntilDate"]) == ("DEEP_ARCHIVE", None)
    ask("tape", "create", "--size", "1TiB", "--barcode", "VTL002L5", "--pool", "ledger", "--wait")
    ask("tape", "eject", "VTL002L5", "--wait")
    ask("archive", "delete", "VTL002L5", bypass, "--yes", "--wait")
    told = ask("events", "--type", "RetentionLockBypassed")
    assert [(event["TapeBarcode"], event["Detail"]["what"]) for event in told] == [
        ("VTL001L5", "assigned to another pool"),
        ("VTL002L5", "deleted"),
    ]
    assert {event["Detail"]["retention_mode"] for event in told} == {"GOVERNANCE"}
    assert {event["Actor"] for event in told} == {f"cli:{getpass.getuser()}"}
    assert active("tape", "assign-pool", "VTL001L5", "ledger") == ExitCode.POOL
    assert ask("pool", "delete", "ledger", "--yes")["PoolStatus"] == "DELETED"
    assert ask("archive", "delete", "VTL001L5", "--yes", "--wait")["TapeStatus"] == "DELETED"


def test_a_gateway_can_be_activated_with_tags(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    state = ("--state", str(tmp_path / "state" / "tapectl.db"))
    words = ("activate", "--name", "test", "--store", str(store), "--tag", "site=Frankfurt")
    assert main([*state, *words[:-1], "novalue"]) == ExitCode.USAGE
    assert main([*state, *words]) == 0
    (marker,) = store.glob("gateways/*.json")
    assert json.loads(marker.read_text())["tags"] == {"site": "Frankfurt"}


def test_tags_are_shown_wherever_the_resource_is(ask: Ask, active: Active) -> None:
    ask(*LEDGER)
    ask("tape", "create", "--size", "100GiB", "--barcode", "VTL001L5")
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]
    for resource in ("VTL001L5", "ledger", "gateway"):
        assert ask("tag", "add", resource, "a=1", "b=") == tags
        assert ask("tag", "list", resource) == tags
    shown = [*ask("tape", "list"), ask("pool", "show", "ledger"), ask("gateway", "show")]
    assert [row["Tags"] for row in shown] == [tags] * 3
    assert ask("tag", "remove", "VTL001L5", "a", "c") == tags[1:]
    for words in (("add", "VTL001L5", "a"), ("add", "nosuch", "a=1"), ("add", "GLACIER", "a=1")):
        assert active("tag", *words) == ExitCode.USAGE
    assert active("tag", "list", "tape/NOSUCH01") == ExitCode.TAPE_NOT_FOUND
    documents = [*shown, *ask("pool", "list"), *tags]
    assert {key for row in documents for key in row} <= documented_keys()


@pytest.mark.parametrize(
    ("words", "exit_code"),
    [
        (("pool", "show", "nosuch"), ExitCode.POOL),
        (("pool", "delete", "GLACIER", "--yes"), ExitCode.POOL),
        (("pool", "create", "x", "--storage-class", "STANDARD"), ExitCode.USAGE),
        ((*LEDGER, "--retention-days", "5"), ExitCode.USAGE),
        ((*LEDGER, "--retention-lock-type", "COMPLIANCE"), ExitCode.USAGE),
        ((*LEDGER, "--tag", "novalue"), ExitCode.USAGE),
        (("tape", "assign-pool", "NOSUCH01", "GLACIER"), ExitCode.TAPE_NOT_FOUND),
        (("tape", "create", "--size", "1TiB", "--kms-key", "alias/k"), ExitCode.USAGE),
        (("tape", "create", "--size", "1TiB", "--encryption", "ROT13"), ExitCode.USAGE),
        (("tape", "list", "--pool", "nosuch"), ExitCode.POOL),
    ],
)
def test_what_cannot_be_is_said(active: Active, words: tuple[str, ...], exit_code: int) -> None:
    assert active(*words) == exit_code


def test_completion_knows_pools(active: Active, ask: Ask) -> None:
    spaced = ask("pool", "create", "two words", "--storage-class", "GLACIER")["PoolId"]
    active(*LEDGER)
    context = typer.main.get_command(app).make_context("tapectl", [], resilient_parsing=True)
    assert pools(context, "led") == [("ledger", "GLACIER, lock NONE")]
    assert pools(context, "pool-") == [(spaced, "two words")]
    assert {"gateway", "ledger"} <= {pair[0] for pair in resources(context, "")}
    assert archive_classes("deep") == ["DEEP_ARCHIVE"]
    assert lock_types("gov") == ["GOVERNANCE"]
    assert encryptions("sse-k") == ["SSE-KMS"]
