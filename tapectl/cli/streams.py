"""The standard streams: whatever the caller has made of them, and what `--quiet` and `--no-input`
make of them while a command runs."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator


def settle() -> None:
    """Put nothing where the caller has closed a stream, and let every text be written.

    The next file that was opened would be descriptor 1 or 2 else, and what we or our children
    write there would go into it: into the state, for example. What an encoding has no character
    for, as ASCII for those of a tag, is written as its number.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, _nowhere(descriptor))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nowhere(descriptor: int) -> io.TextIOWrapper:
    opened = os.open(os.devnull, os.O_RDWR)
    if opened == descriptor:
        os.set_inheritable(opened, True)  # our children have standard streams, too
    return open(opened, "r" if descriptor == 0 else "w", encoding="utf-8")


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Let output, warnings and progress go nowhere; errors are told afterwards."""
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


@contextlib.contextmanager
def no_terminal_input() -> Iterator[None]:
    """Let a terminal be no standard input; a pipe, which nobody is asked at, stays one."""
    if not sys.stdin.isatty():
        yield
        return
    terminal = sys.stdin
    with open(os.devnull, encoding="utf-8") as nothing:
        sys.stdin = nothing
        try:
            yield
        finally:
            sys.stdin = terminal
