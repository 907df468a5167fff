"""Errors as people and scripts see them. Only `main` uses this."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence

from tapectl.errors import ExitCode, TapectlError

BROKEN_PIPE_STATUS = 141
"""What a shell reports for a program that died of SIGPIPE; `yes | head` has it too."""


_OUTPUT_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class OutputError(TapectlError):
    """What a command found cannot be written to standard output."""

    code = "output"

    @classmethod
    def of(cls, error: OSError) -> OutputError | None:
        """Return it if that is what the error means: it names no file, as errors of ours do."""
        if error.filename is not None or error.errno not in _OUTPUT_ERRNOS:
            return None
        return cls(
            f"cannot write standard output: {error.strerror}", hint="make room where it goes to"
        )


def report_error(error: TapectlError, *, as_json: bool) -> int:
    """Write the error to standard error and return the exit status, wherever it is written to."""
    with contextlib.suppress(OSError):
        _write(error, as_json=as_json)
    return int(error.exit_code)


def _write(error: TapectlError, *, as_json: bool) -> None:
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
        print(f"tapectl: {_one_line(error.message)}", file=sys.stderr)
        if error.hint:
            print(f"hint: {_one_line(error.hint)}", file=sys.stderr)


def _one_line(text: str) -> str:
    """Return the text without line ends and what else moves a terminal's cursor: it may hold what
    somebody has typed, or what a server has answered."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


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
