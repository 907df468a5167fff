"""The command `tapectl`: the nouns put together, and the one place where errors become text."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from tapectl.cli import archive, chap, completion, device, disk, events, gateway, serving, tape
from tapectl.cli.failure import (
    BROKEN_PIPE_STATUS,
    discard_stdout,
    report_bug,
    report_error,
    wants_json,
)
from tapectl.cli.options import ConfigPath, StatePath, examples
from tapectl.cli.session import Session
from tapectl.errors import ExitCode, TapectlError, UsageError

GLOBAL_OPTIONS = ("--state", "--config")

app = typer.Typer(
    name="tapectl",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help: rich's takes longer to import than most commands take to run.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tapectl {version('tapectl')}")
        raise typer.Exit


@app.callback(
    epilog=examples(
        ("tapectl quickstart", "a library with five tapes, in one directory, to try"),
        ("tapectl activate --store s3://bucket/prefix", "a gateway on an object store"),
        ("tapectl disk add-cache /mnt/cache", "its two disks: the cache ..."),
        ("tapectl disk add-buffer /mnt/buffer", "... and the upload buffer"),
        ("tapectl tape create --count 5 --size 1TiB", "five tapes"),
        ("tapectl serve", "the library, over iSCSI"),
        ("tapectl tape eject VTL001L5 --wait", "to the shelf (S3 Glacier)"),
    )
)
def tapectl(
    context: typer.Context,
    state: StatePath = None,
    config: ConfigPath = None,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """A tape gateway anyone can run: an iSCSI tape library whose tapes live in an object store.

    Backup software sees one media changer and ten LTO drives. What it writes lands on two local
    disks and is uploaded behind its back; ejected tapes go to the shelf, S3 Glacier or Deep
    Archive, and come back when they are retrieved.
    """
    context.obj = Session(state, config)


# The order of `tapectl --help`: the way of a tape.
serving.register_quickstart(app)
gateway.register(app)
app.add_typer(disk.app, name="disk")
app.add_typer(tape.app, name="tape")
app.add_typer(archive.app, name="archive")
app.add_typer(device.app, name="device")
app.add_typer(chap.app, name="chap")
serving.register(app)
events.register(app)
app.add_typer(completion.app, name="completion")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status. Never raises."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = wants_json(words, dict(os.environ))
    try:
        status = app(hoist_global_options(words), prog_name="tapectl", standalone_mode=False)
        sys.stdout.flush()
    except TapectlError as error:
        return report_error(error, as_json=as_json)
    except typer.TyperException as error:
        usage = UsageError(lower_first(error.format_message()), hint=_help_hint(error))
        return report_error(usage, as_json=as_json)
    except (typer.Abort, KeyboardInterrupt):
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        discard_stdout()
        return BROKEN_PIPE_STATUS
    except Exception:
        return report_bug()
    return status if isinstance(status, int) else int(ExitCode.OK)


def hoist_global_options(words: Sequence[str]) -> list[str]:
    """Return the words with `--state` and `--config` in front, where the parser wants them.

    Nobody remembers on which side of the noun an option for everything stands.
    """
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
        elif word.startswith(tuple(f"{option}=" for option in GLOBAL_OPTIONS)):
            hoisted.append(word)
        else:
            rest.append(word)
    return hoisted + rest


def lower_first(message: str) -> str:
    """Return the parser's message in our form: lower case start, no full stop."""
    return message[:1].lower() + message[1:].removesuffix(".")


def _help_hint(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "tapectl"
    return f"run `{path} --help`"


if __name__ == "__main__":
    sys.exit(main())
