"""Help of every command: it is there, it teaches with an example, and it costs nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tapectl.cli.app import main
from tapectl.cli.root import root_command

HEAVY = (
    "boto3",
    "rich",
    "tabulate",
    "sqlite3",
    "tapectl.state",
    "tapectl.gateway",
    "tapectl.serve",
)


PYTHON_TYPES = re.compile(r"<(str|path|int|float|list|bool)\b|int range|float range")


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the words and the command of everything that can be run."""
    if not hasattr(command, "commands"):
        yield words, command
        return
    for name, child in command.commands.items():
        yield from leaves(child, (*words, name))


COMMANDS = dict(leaves(root_command()))


def test_the_commands_of_the_first_landing_are_there() -> None:
    assert {" ".join(words) for words in COMMANDS} >= {
        "activate", "status", "quickstart", "serve", "sync", "events",
        "disk list", "disk add-cache", "disk add-buffer", "disk show",
        "tape create", "tape list", "tape show", "tape load", "tape unload", "tape move",
        "tape eject", "tape cancel-eject", "tape retrieve", "tape cancel-retrieve", "tape delete",
        "archive list", "archive show", "archive delete",
        "device list", "device show",
    }  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_says_what_it_does_and_shows_an_example(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: tapectl {' '.join(words)}")
    assert "[[" not in text
    assert not PYTHON_TYPES.search(text)
    assert "{" not in text.splitlines()[0]
    assert "Examples:" in text
    assert f"tapectl {' '.join(words)}" in text.split("Examples:")[1]


@pytest.mark.parametrize("noun", ["", *sorted({words[0] for words in COMMANDS if len(words) > 1})])
def test_lists_of_commands_say_it_in_whole_sentences(
    noun: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*noun.split(), "--help"]) == 0
    listed = capsys.readouterr().out.partition("Commands:")[2].partition("Examples:")[0]
    assert listed
    assert [line for line in listed.splitlines() if line.endswith("...")] == []


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_says_what_it_is_for(words: tuple[str, ...]) -> None:
    for parameter in COMMANDS[words].params:
        assert parameter.help, parameter.name


@pytest.mark.parametrize(
    "words",
    [w for w in COMMANDS if w[-1] in ("list", "show", "create", "status") and w[0] != "completion"],
    ids=" ".join,
)
def test_what_reads_or_creates_takes_output(words: tuple[str, ...]) -> None:
    assert "output" in {parameter.name for parameter in COMMANDS[words].params}


def test_help_imports_nothing_heavy() -> None:
    probe = (
        "import sys; from tapectl.cli.app import main; status = main(['--help']);"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr);"
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr.strip() == "[]"
