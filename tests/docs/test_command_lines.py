"""Every command line in the documents is one that tapectl takes, and those that only look work."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tapectl.cli.app import main
from tapectl.errors import ExitCode
from tests.support.clients import PROJECT
from tests.support.command_lines import CommandLine, command_lines, is_read, refusal, root_command
from tests.support.gateway import Gateway

PAGES = sorted([PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")])
# The tape that the documents take for their examples.
BARCODE = "VTL001L5"


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


def test_those_that_only_look_work(
    make_gateway: Callable[..., Gateway],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "1", disk_options=["--allow-small"])
    gateway.create_tapes("--barcode", BARCODE)
    monkeypatch.setenv("TAPECTL_STATE", str(gateway.state))
    monkeypatch.chdir(gateway.root)
    wholes = (replace(line, whole=True) for page in PAGES for line in lines_of(page))
    reads = {line.words for line in wholes if is_read(line.words) and refusal(line) is None}
    assert len(reads) > 15
    for words in sorted(reads):
        # What a lab has findings about is not what is asked here.
        allowed = (ExitCode.OK, ExitCode.CHECK_FINDINGS) if words[0] == "check" else (ExitCode.OK,)
        assert main(words) in allowed, f"tapectl {' '.join(words)}: {capsys.readouterr().err}"


def test_the_readme_lists_every_command_there_is() -> None:
    readme = (PROJECT / "README.md").read_text()
    (block,) = re.findall(r"## Commands\n```text\n(.*?)```", readme, re.DOTALL)
    listed: set[str] = set()
    for line in block.splitlines():
        name, *words = re.split(r"  +", line)[0].removeprefix("tapectl ").split(" ")
        if words and words[0][0].isalpha():
            listed |= {f"{name} {verb}" for verb in words[0].split("|")}
        else:
            listed |= set(name.split("|"))
    found: set[str] = set()
    for name, command in root_command().commands.items():
        verbs = getattr(command, "commands", ())
        found |= {f"{name} {verb}" for verb in verbs} or {name}
    assert listed == found


GUIDES = [page for page in PAGES if page.parent.name == "guides"]
MAKES = {("tape", "create"), ("device", "allow"), ("device", "set-changer")}


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_the_gateway_and_tapes_of_a_guide_can_be_made(
    page: Path,
    make_gateway: Callable[..., Gateway],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = [line.words for line in lines_of(page) if line.whole and "$" not in str(line)]
    activations = [words for words in made if words[0] == "activate"]
    assert len(activations) <= 1
    gateway = make_gateway()
    monkeypatch.setenv("TAPECTL_STATE", str(gateway.state))
    # In a directory instead of the bucket.
    options = activations[0][1:] if activations else ("--store", "s3://")
    wanted = [str(gateway.store) if word.startswith("s3://") else word for word in options]
    assert main(["activate", *wanted]) == ExitCode.OK, capsys.readouterr().err
    for role, path in (("cache", gateway.cache), ("buffer", gateway.buffer)):
        assert main(["disk", f"add-{role}", str(path)]) == ExitCode.OK, capsys.readouterr().err
    for words in made:
        if words[:2] in MAKES:
            assert main(words) == ExitCode.OK, f"{words}: {capsys.readouterr().err}"
