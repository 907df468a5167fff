"""TAB in real shells, with the completion scripts as they are installed."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tapectl.cli.app import main
from tests.support.clients import PROJECT, require_program

INITIATOR = "iqn.1993-08.org.debian:01:abc"
LIMIT_S = 30.0
# What is typed before TAB, and the line that stands there afterwards.
LINES = (
    ("tapectl tape sho", "tapectl tape show"),
    ("tapectl tape show VT", "tapectl tape show VTL001L5"),
    ("tapectl tape move VTL001L5 dri", "tapectl tape move VTL001L5 drive:1"),
    ("tapectl tape move VTL001L5 drive:", "tapectl tape move VTL001L5 drive:1"),
    ("tapectl device disallow all iqn", f"tapectl device disallow all {INITIATOR}"),
    (
        "tapectl device disallow all iqn.1993-08.org.debian:01:",
        f"tapectl device disallow all {INITIATOR}",
    ),
    ("tapectl tape list --output js", "tapectl tape list --output json"),
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A gateway with a tape, a drive and an initiator, and the shells' way to it."""
    root = tmp_path_factory.mktemp("shells")
    state = root / "state" / "tapectl.db"
    for name in ("store", "cache", "buffer"):
        (root / name).mkdir()
    for words in (
        ("activate", "--store", str(root / "store"), "--drives", "1"),
        ("disk", "add-cache", str(root / "cache"), "--allow-small"),
        ("disk", "add-buffer", str(root / "buffer"), "--allow-small"),
        ("tape", "create", "--size", "100GiB", "--barcode", "VTL001L5", "--wait"),
        ("device", "allow", "all", INITIATOR),
    ):
        assert main(["--state", str(state), "--quiet", *words]) == 0
    for name in ("_tapectl", "tapectl", "tapectl.fish"):
        shutil.copy(PROJECT / "completions" / name, root)
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(root),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "TAPECTL_STATE": str(state),
    }


class Terminal:
    """A shell at a terminal."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.execvpe(words[0], words, environment)
        self._readable = select.poll()  # select(2) knows no descriptor above 1023
        self._readable.register(self._fd, select.POLLIN | select.POLLHUP)

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def read_until(self, pattern: str) -> re.Match[str]:
        """Return the first match in what comes from now on."""
        seen, deadline = "", time.monotonic() + LIMIT_S
        while (found := re.search(pattern, seen)) is None:
            assert time.monotonic() < deadline, f"no {pattern!r} in {seen!r}"
            if self._readable.poll(1000):
                seen += os.read(self._fd, 65536).decode(errors="replace")
        return found

    def close(self) -> None:
        os.close(self._fd)  # a hangup ends an interactive shell
        os.waitpid(self._pid, 0)


@pytest.fixture
def terminal(environment: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*words: str) -> Terminal:
        opened.append(Terminal(list(words), environment))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def completed(shell: Terminal, typed: str) -> str:
    """Return the command line after TAB: it is made an argument of printf, and printed."""
    shell.type(f"{typed}\t")
    # To the beginning of the line and to its end: in the way of Emacs in both shells.
    shell.type("\x01printf '<<%s>>\\n' \"\x05\"\r")
    return shell.read_until(r"\n<<([^%>]*)>>")[1].strip()


def test_bash_completes_words_with_colons(
    environment: dict[str, str], terminal: Callable[..., Terminal]
) -> None:
    shell = terminal("bash", "--norc", "--noprofile", "-i")
    shell.type(f"source {environment['HOME']}/tapectl\r")
    assert [completed(shell, typed) for typed, _ in LINES] == [line for _, line in LINES]
    # The same where colons are no bounds of words.
    shell.type("COMP_WORDBREAKS=${COMP_WORDBREAKS//:}\r")
    for typed, line in LINES[3:5]:
        assert completed(shell, typed) == line


def test_zsh_completes_words_with_colons(
    environment: dict[str, str], terminal: Callable[..., Terminal]
) -> None:
    require_program("zsh", "zsh")
    shell = terminal("zsh", "-f", "-i")
    shell.type(f"fpath=({environment['HOME']} $fpath); autoload -Uz compinit; compinit -u\r")
    assert [completed(shell, typed) for typed, _ in LINES] == [line for _, line in LINES]


def test_fish_completes_words_with_colons(environment: dict[str, str]) -> None:
    require_program("fish", "fish")
    source = f"source {environment['HOME']}/tapectl.fish"
    for typed, line in LINES:
        done = subprocess.run(
            ["fish", "--no-config", "-c", f'{source}; complete -C "{typed}"'],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=LIMIT_S,
        )
        candidates = [one.partition("\t")[0] for one in done.stdout.splitlines()]
        assert candidates == [line.rpartition(" ")[2]], done.stderr
