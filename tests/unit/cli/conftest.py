"""A gateway on a directory, driven through `main` in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tapectl.cli.app import main


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
