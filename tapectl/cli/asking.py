"""Asks before something is destroyed."""

from __future__ import annotations

import sys

import typer

from tapectl.errors import ExitCode, TapectlError, UsageError


class NotConfirmedError(TapectlError):
    """The answer was no."""

    exit_code = ExitCode.FAILURE
    code = "not_confirmed"


def confirm(question: str, *, yes: bool) -> None:
    """Return if the user agrees; raise NotConfirmedError, or UsageError where nobody can answer."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"there is no terminal to ask at: {question}", hint="say --yes to do it")
    if not typer.confirm(question, err=True):
        raise NotConfirmedError("nothing was done")
