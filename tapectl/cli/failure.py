"""Errors as people and scripts see them. Only `main` uses this."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence

from tapectl.errors import ExitCode, TapectlError

BROKEN_PIPE_STATUS = 141
"""What a shell reports for a program that died of SIGPIPE; `yes | head` has it too."""


def report_error(error: TapectlError, *, as_json: bool) -> int:
    """Write the error to standard error and return the exit status."""
    if as_json:
        document = {
            "error": {
                "code": error.code,
                "exit_code": int(error.exit_code),
                "message": error.message,
                "hint": error.hint,
                "aws_code": error.aws_code,
                "aws_exception": error.aws_exception,
            }
        }
        print(json.dumps(document), file=sys.stderr)
    else:
        print(f"tapectl: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
    return int(error.exit_code)


def report_bug() -> int:
    """Write the traceback of the exception being handled; return the exit status."""
    traceback.print_exc()
    print("tapectl: this is a bug; please report it with the lines above", file=sys.stderr)
    return int(ExitCode.FAILURE)


def discard_stdout() -> None:
    """Let what is still buffered go nowhere: the reader of our pipe has left.

    Without it the interpreter's own flush at exit would complain once more.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def wants_json(arguments: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Return whether errors are wanted as JSON.

    Read from the raw words and not from the parsed ones, since an error of
    usage is an error too.
    """
    wanted = environ.get("TAPECTL_OUTPUT", "")
    for index, word in enumerate(arguments):
        if word == "--":
            break
        if word in ("--output", "-o"):
            wanted = arguments[index + 1] if index + 1 < len(arguments) else ""
        elif word.startswith("--output="):
            wanted = word.removeprefix("--output=")
    return wanted == "json"
