"""A gateway on a directory, driven through `main` in this process."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tapectl.cli.app import main

Active = Callable[..., int]
Ask = Callable[..., Any]


@pytest.fixture
def active(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return what runs a command line on an activated gateway with both disks."""
    monkeypatch.setenv("TAPECTL_STATE", str(tmp_path / "state" / "tapectl.db"))
    monkeypatch.setenv("TAPECTL_HOLD_S", "0")
    monkeypatch.setenv("TAPECTL_DIRECTORY_RETRIEVAL_DELAY_S", "0")
    monkeypatch.setenv("TAPECTL_RETRIEVAL_POLL_S", "0.05")
    monkeypatch.delenv("TAPECTL_OUTPUT", raising=False)
    for name in ("store", "cache", "buffer"):
        (tmp_path / name).mkdir()

    def run(*words: str) -> int:
        return main(words)

    assert run("activate", "--name", "test", "--store", str(tmp_path / "store")) == 0
    assert run("disk", "add-cache", str(tmp_path / "cache"), "--allow-small") == 0
    assert run("disk", "add-buffer", str(tmp_path / "buffer"), "--allow-small") == 0
    return run


@pytest.fixture
def ask(active: Active, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Return what runs a command that must succeed and decodes its JSON."""

    def run(*words: str) -> Any:
        capsys.readouterr()
        assert active(*words, "--output", "json") == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run


def documented_keys() -> set[str]:
    """Return the keys that docs/json-output.md explains."""
    page = (Path(__file__).parents[3] / "docs" / "json-output.md").read_text()
    return set(re.findall(r"`([A-Z][A-Za-z]+)`", page))
