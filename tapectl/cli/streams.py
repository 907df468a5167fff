"""What `--quiet` and `--no-input` make of the standard streams while a command runs."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


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
