"""Every command line in the documents is one that tapectl takes, and those that only look work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.clients import PROJECT
from tests.support.command_lines import CommandLine, command_lines, refusal

PAGES = sorted([PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")])


def lines_of(page: Path) -> list[CommandLine]:
    return list(command_lines(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_is_one_that_tapectl_takes(page: Path) -> None:
    assert [why for line in lines_of(page) if (why := refusal(line))] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```sh\ntapectl tape list  # all\n```\n", ["tape list"]),
        ("```\nbin/tapectl tape cat A | tapectl sync > x; ls\n```\n", ["tape cat A", "sync"]),
        ("```sh\nfor i in 1 2; do tapectl sync; done\n```\n", ["sync"]),
        ("```sh\ntapectl tape create \\\n  --count 2\n```\n", ["tape create --count 2"]),
        ("```yaml\n- command: tapectl apply -f x.yaml\n```\n", ["apply -f x.yaml"]),
        ("```text\ntapectl no|such\n```\n", []),
        ("Say `tapectl tape eject`, or `tapectl tape <verb>`.\n", ["tape eject"]),
    ],
)  # fmt: skip
def test_commands_are_found(tmp_path: Path, text: str, found: list[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    assert [" ".join(line.words) for line in lines_of(page)] == found


@pytest.mark.parametrize(
    "words",
    ["tape nonsense", "nonsense", "tape list --nonsense", "tape eject", "serve --user", "tape"],
)
def test_what_tapectl_does_not_take_is_told(words: str) -> None:
    assert refusal(CommandLine("page", tuple(words.split()), whole=True))
