"""The entry point: runs one command line, and is the one place where errors become text.

Imports next to nothing before `main`, so that Ctrl-C during the imports is an
interruption like any other and no traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from tapectl.cli import streams
from tapectl.cli.failure import (
    BROKEN_PIPE_STATUS,
    OutputError,
    discard_stdout,
    report_bug,
    report_error,
    wants_json,
)
from tapectl.cli.termination import TerminatedError, terminable
from tapectl.errors import ExitCode, TapectlError, UsageError

GLOBAL_OPTIONS = ("--state", "--config")
GLOBAL_FLAGS = ("--quiet", "-q", "--no-input")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status. Never raises."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    streams.settle()
    try:
        with terminable():
            _require_text(words)
            status = _run(words)
            sys.stdout.flush()
    except TapectlError as error:
        return report_error(error, as_json=wants_json(words, os.environ))
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except TerminatedError as error:
        return error.exit_status
    except BrokenPipeError:
        discard_stdout()
        return BROKEN_PIPE_STATUS
    except OSError as error:
        output_error = OutputError.of(error)
        if output_error is None:
            return report_bug()
        discard_stdout()
        return report_error(output_error, as_json=wants_json(words, os.environ))
    except Exception as error:
        match _interruption(error):
            case KeyboardInterrupt():
                return int(ExitCode.INTERRUPTED)
            case TerminatedError() as end:
                return end.exit_status
        return report_bug()
    return status


def _interruption(error: BaseException) -> BaseException | None:
    """Return what is behind the error, Ctrl-C or a signal: Python wraps it, where a class is being
    made. None: it is an error of its own."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt | TerminatedError):
        cause = cause.__cause__
    return cause


def _require_text(words: Sequence[str]) -> None:
    """Raise UsageError for a word that is no UTF-8: neither the state nor the store takes it."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"not UTF-8: {os.fsencode(word)!r}", hint="give names in UTF-8"
            ) from error


def _run(words: Sequence[str]) -> int:
    import typer

    from tapectl.cli import completion
    from tapectl.cli.commands import app
    from tapectl.cli.root import root_command

    if completion.COMPLETE_VARIABLE in os.environ:
        completion.answer(app)
    # Not `app(...)`, which has its own ideas of Ctrl-C and closed pipes.
    command = root_command()
    try:
        with command.make_context("tapectl", hoist_global_options(words)) as context:
            command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except (typer.Abort, EOFError) as error:  # Ctrl-C or Ctrl-D at a question
        raise KeyboardInterrupt from error
    except typer.TyperException as error:
        message = error.format_message()
        if message.startswith("Usage: "):  # a noun alone: its help is the answer
            typer.echo(message, err=True)
            return int(ExitCode.USAGE)
        raise _usage_error(error, message) from error
    return int(ExitCode.OK)


def hoist_global_options(words: Sequence[str]) -> list[str]:
    """Return the words with the options for everything in front, where the parser wants them.

    Nobody remembers on which side of the noun an option for everything stands.
    """
    with_value = tuple(f"{option}=" for option in GLOBAL_OPTIONS)
    hoisted: list[str] = []
    rest: list[str] = []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        if word == "--":
            rest += [word, *remaining]
            break
        if word in GLOBAL_OPTIONS and remaining:
            hoisted += [word, remaining.pop(0)]
        elif word in GLOBAL_FLAGS or word.startswith(with_value):
            hoisted.append(word)
        else:
            rest.append(word)
    return hoisted + rest


_VALUES = {
    "int_parsing": "takes a whole number",
    "int_from_float": "takes a whole number",
    "float_parsing": "takes a number",
    "greater_than_equal": "takes {ge:g} or more",
    "less_than_equal": "takes {le:g} or less",
}
"""What an option or argument takes, by the parser's word for what is wrong with a value."""


def _wrong_value(error: Exception) -> str | None:
    """Return what a value should have been, for people, where the parser tells it for programs."""
    errors: Any = getattr(error.__cause__, "errors", None)
    parameter: Any = getattr(error, "param", None)
    if errors is None or parameter is None:
        return None
    first = errors()[0]
    takes = _VALUES.get(first["type"])
    if takes is None:
        return None
    name = parameter.metavar if parameter.param_type_name == "argument" else parameter.opts[0]
    return f"{name} {takes.format(**first.get('ctx', {}))}: {first['input']}"


def _usage_error(error: Exception, message: str) -> UsageError:
    """Return what the parser says in our form: lower case start, no full stop, one line."""
    message = _wrong_value(error) or message
    text = " ".join(message.replace("Value error, ", "").split())
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "tapectl"
    begin = text[:1] if text[:2].isupper() else text[:1].lower()  # FILE stays FILE
    return UsageError(begin + text[1:].removesuffix("."), hint=f"run `{path} --help`")


if __name__ == "__main__":
    sys.exit(main())
