"""Command lines of tapectl that a document shows, and whether the parser would take them."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
import typer.main

from tapectl.cli.app import hoist_global_options
from tapectl.cli.commands import app

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# But for the text of the key check in medium-format.md.
INLINE = re.compile(r"`(tapectl (?!encrypted block)[^`]+)`")
# Blocks to be typed as they are; in others (YAML, units) a command ends with its line.
SHELL = ("", "sh")
# Drawings, lists of commands, and data.
NO_COMMANDS = ("text", "json", "python")
# What may stand before the command and runs it.
RUNNER = re.compile(r"(\w+=\S* )*(tapectl|do|then|as_tapectl|podman run) ")
# What a sentence that only names a command leaves out: arguments, the verb.
INCOMPLETE = ("MissingParameter", "BadOptionUsage", "NoArgsIsHelpError")


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The words after `tapectl`, and where they stand; `whole` where they can be typed as is."""

    page: str
    words: tuple[str, ...]
    whole: bool

    def __str__(self) -> str:
        return f"{self.page}: tapectl {shlex.join(self.words)}"


def command_lines(page: Path) -> Iterator[CommandLine]:
    """Yield every command of the page, of its blocks and of its sentences."""
    text = page.read_text()
    for language, block in FENCED.findall(text):
        if language in NO_COMMANDS:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            start = 0 if language in SHELL else line.find("tapectl ")
            for words in _commands(line[start:] if start >= 0 else ""):
                yield CommandLine(page.name, tuple(words), whole=True)
    for sentence in INLINE.findall(FENCED.sub("", text)):
        if not re.search(r"[<>|\[\]]|\.\.\.", sentence):
            for words in _commands(sentence.replace("\n", " ")):
                yield CommandLine(page.name, tuple(words), whole=False)


def _commands(line: str) -> Iterator[list[str]]:
    """Yield the words after each `tapectl` that the shell would run in this line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    for token in [*lexer, ";"]:
        if token.strip("();<>|&"):
            words.append(token)
            continue
        names = [n for n, word in enumerate(words) if re.fullmatch(r"(\S*bin/)?tapectl", word)]
        if names and (names[0] == 0 or RUNNER.match(" ".join(words))):
            yield words[names[0] + 1 :]
        # What comes after > and < is the name of a file.
        words = [] if token[0] in "();|&" else ["#"]


@functools.cache
def root_command() -> Any:
    """Return the command `tapectl`, whose classes have no public names."""
    return typer.main.get_command(app)


def refusal(line: CommandLine) -> str | None:
    """Return why the parser refuses the command, None if it takes it. Nothing is run."""
    command, words, parent = root_command(), hoist_global_options(line.words), None
    name: str | None = "tapectl"
    try:
        while True:
            parent = command.make_context(name, list(words), parent=parent)
            if not hasattr(command, "resolve_command"):
                return None
            words = [*parent._protected_args, *parent.args]
            name, command, words = command.resolve_command(parent, words)
    except typer.Exit:  # --help, --version
        return None
    except typer.TyperException as error:
        if not line.whole and type(error).__name__ in INCOMPLETE:
            return None
        return f"{line}: {error}"


def is_read(words: Sequence[str]) -> bool:
    """Return whether the command only looks, and needs nothing but a gateway."""
    if not words or {"--repair", "--watch", "--follow", "--gateway", "--store"} & set(words):
        return False
    if words[0] in {"status", "check", "metrics", "events", "--version"}:
        return True
    return len(words) > 1 and words[1] in {"list", "show", "size"}
