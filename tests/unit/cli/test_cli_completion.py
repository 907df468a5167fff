"""What is installed for TAB is what is shown, and what elements it offers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main

from tapectl.cli.commands import app
from tapectl.cli.completing import MAX_ELEMENTS, free_elements
from tapectl.cli.completion import Shell, script

Active = Callable[..., int]


@pytest.mark.parametrize("shell", list(Shell))
def test_the_script_that_is_installed_is_the_one_that_is_shown(
    active: Active,
    shell: Shell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert active("completion", "install", shell.value) == 0
    path = Path(capsys.readouterr().out.split()[1].rstrip(";"))
    assert path.is_relative_to(tmp_path)
    assert active("completion", "show", shell.value) == 0
    assert path.read_text() == capsys.readouterr().out == script(shell)


def test_a_few_free_elements_of_each_type_are_offered(active: Active) -> None:
    for barcode in ("VTL001L5", "VTL002L5"):
        words = ("--size", "100GiB", "--barcode", barcode, "--to-slots", "--wait")
        assert active("tape", "create", *words) == 0
    context = typer.main.get_command(app).make_context("tapectl", ["status"])
    found = [pair[0] for pair in free_elements(context, "")]
    assert [name for name in found if name.startswith("drive:")] == [
        f"drive:{number}" for number in range(1, 11)
    ]
    slots = [name for name in found if name.startswith("slot:")]
    assert slots == [f"slot:{number}" for number in range(3, 3 + MAX_ELEMENTS)]
    assert [pair[0] for pair in free_elements(context, "slot:160")] == ["slot:160", "slot:1600"]
