"""Write the manual pages beside this file from the commands: `python man/generate.py`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from tapectl.cli.commands import app
from tapectl.cli.exit_codes import EXIT_CODE_MEANINGS
from tapectl.cli.failure import BROKEN_PIPE_STATUS
from tapectl.gateway.settings import Settings

ENVIRONMENT = {
    "TAPECTL_STATE": "State file, as --state.",
    "TAPECTL_CONFIG": "Configuration file, as --config.",
    "TAPECTL_OUTPUT": "Output format, as --output: table, plain, json or tsv.",
    "TAPECTL_...": "Any setting, in capitals, as TAPECTL_HOLD_S for hold_s.",
    "NO_COLOR": "When set, no colours.",
}

SETTINGS = {
    "listen": "Addresses that serve listens on, a comma between them.",
    "hold_s": "Seconds that an ejected tape stays in its import/export slot, where a move back"
    " cancels; 0 as AWS does.",
    "segment_bytes": "Size at which a segment is closed and uploaded.",
    "upload_workers": "Uploads at the same time.",
    "seal_idle_s": "Seconds after which a segment that nobody writes to is closed and uploaded.",
    "cache_high_watermark_percent": "How full a cache disk gets before what is in the store is"
    " dropped from it.",
    "compression": "Compress (zstd) between the upload buffer and the store.",
    "archive_object_bytes": "Archived segments are put together into objects of about this size.",
    "directory_retrieval_delay_s": "Seconds a directory store pretends that a retrieval takes.",
    "retrieval_poll_s": "Seconds between two looks at a retrieval under way.",
    "retrieval_days": "Days a retrieved copy stays readable in the store; extended while the tape"
    " is in the library.",
    "busy_timeout_s": "Seconds a command waits for room or for data before the initiator is told"
    " BUSY.",
    "early_warning_percent": "Percent of a tape (or partition) that is left when a drive warns"
    " of its end.",
    "alert_after_s": "Seconds that an outage of the store or full disks last before they are an"
    " alert.",
    "scrub_days": "Days after which every tape is verified again by itself; 0: never.",
    "scrub_store": "Whether that reads the copies in the store too: requests and traffic.",
    "verify_bytes_per_s": "Bytes a second that verifying reads at most, as 100MiB.",
    "ping_interval_s": "Seconds after which a silent connection is asked for a sign of life; it is"
    " closed when it stays silent as long again.",
    "logout_wait_s": "Seconds initiators may take to log out when the gateway stops serving.",
    "library_target": "Show the whole library as one target too: LUN 0 the changer, LUN 1 the first"
    " drive, and so on.",
    "metrics_listen": "Address and port where serve answers Prometheus, as 9744 for this machine"
    " only; empty: nowhere.",
    "event_log": "File that gets a line of JSON for each event.",
    "hooks_dir": "Programs in it are run for each event, with its JSON on their standard input.",
    "webhook_urls": "Addresses that each event is posted to as JSON, a comma between them.",
    "log_format": "How serve writes its log: text, or json, an object a line.",
    "user": "User that serve, started as root, becomes once its ports are bound.",
    "encryption": "How new tapes are encrypted in the store: SSE-S3, SSE-KMS, or NONE: as it does"
    " by itself.",
    "kms_key": "Key of SSE-KMS for new tapes; empty: the default one of the store.",
    "allow_anonymous": "Listen beyond this machine even if anyone could log in.",
}
# Defaults that depend on who asks.
PLACES = {"hooks_dir": "hooks.d beside the configuration file"}
CONFIG_FILES = "/etc/tapectl/tapectl.toml for root, else $XDG_CONFIG_HOME/tapectl/tapectl.toml"

# The parser's own classes have no public names to annotate with.
Command = Any
Context = Any


def generate() -> dict[str, str]:
    """Return file name → content: tapectl.1, and tapectl-NOUN.1 for each noun."""
    root: Command = typer.main.get_command(app)
    context = root.make_context("tapectl", [], resilient_parsing=True)
    nouns = {name: command for name, command in root.commands.items() if is_noun(command)}
    pages = {"tapectl.1": "\n".join(main_page(root, context)) + "\n"}
    for name, noun in nouns.items():
        lines = noun_page(noun, child(context, noun, name))
        pages[f"tapectl-{name}.1"] = "\n".join(lines) + "\n"
    return pages


def is_noun(command: Command) -> bool:
    return hasattr(command, "commands")


def child(parent: Context, command: Command, name: str) -> Context:
    return type(parent)(command, parent=parent, info_name=name)


def main_page(root: Command, context: Context) -> Iterator[str]:
    yield from header("TAPECTL", "tapectl", "a tape gateway anyone can run")
    yield ".SH SYNOPSIS"
    yield (
        bold("tapectl")
        + " ["
        + bold("--state")
        + " PATH] ["
        + bold("--config")
        + " PATH] COMMAND ..."
    )
    yield ".SH DESCRIPTION"
    yield from paragraphs(root.help)
    yield ".SH OPTIONS"
    yield from options(root, context)
    yield ".SH COMMANDS"
    for name, command in root.commands.items():
        if is_noun(command):
            verbs = ", ".join(command.commands)
            yield from item(f"tapectl-{name}(1)", f"{first_line(command.help)} Verbs: {verbs}.")
    for name, command in root.commands.items():
        if not is_noun(command):
            yield from command_section(command, child(context, command, name))
    yield ".SH EXAMPLES"
    yield from epilog(root)
    yield ".SH EXIT STATUS"
    for code, meaning in EXIT_CODE_MEANINGS.items():
        yield from item(str(int(code)), meaning)
    yield from item(str(BROKEN_PIPE_STATUS), "Whoever read standard output has left.")
    yield ".SH SETTINGS"
    yield "Each in the configuration file by its name, in the environment as TAPECTL_ and its name"
    yield "in capitals. A flag goes before the environment, that before the file."
    defaults = {value.name: value.value for value in Settings.load({}, Path(os.devnull)).describe()}
    for name, meaning in SETTINGS.items():
        default = PLACES.get(name) or defaults[name] or "none"
        yield from item(name, f"{meaning} Default: {default}.")
    yield ".SH FILES"
    yield from item(CONFIG_FILES, "Configuration, TOML.")
    yield from item(
        "/var/lib/tapectl/tapectl.db for root, else $XDG_STATE_HOME/tapectl/tapectl.db",
        "State of the gateway; its lock and its sockets are beside it.",
    )
    yield ".SH ENVIRONMENT"
    for variable, meaning in ENVIRONMENT.items():
        yield from item(variable, meaning)


def noun_page(noun: Command, context: Context) -> Iterator[str]:
    yield from header(f"TAPECTL-{noun.name.upper()}", f"tapectl-{noun.name}", first_line(noun.help))
    yield ".SH SYNOPSIS"
    for name in noun.commands:
        yield bold(f"tapectl {noun.name} {name}") + " ..."
        yield ".br"
    yield ".SH COMMANDS"
    for name, command in noun.commands.items():
        yield from command_section(command, child(context, command, name))
    yield ".SH SEE ALSO"
    yield bold("tapectl") + "(1), where the exit statuses are."


def command_section(command: Command, context: Context) -> Iterator[str]:
    yield f'.SS "{context.command_path}"'
    yield bold(context.command_path) + " " + roff(" ".join(command.collect_usage_pieces(context)))
    yield ".PP"
    yield from paragraphs(command.help)
    yield from options(command, context)
    yield from epilog(command)


def options(command: Command, context: Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            yield from item(record[0], " ".join(record[1].split()))


def epilog(command: Command) -> Iterator[str]:
    text = inspect.cleandoc(command.epilog or "").removeprefix("\b").strip()
    if text:
        yield ".PP"
        yield ".nf"
        yield from (roff(line) for line in text.splitlines())
        yield ".fi"


def header(title: str, name: str, purpose: str) -> Iterator[str]:
    yield f'.TH {title} 1 "" "tapectl" "User Commands"'
    yield ".SH NAME"
    yield roff(f"{name} - {purpose.rstrip('.')}")


def paragraphs(text: str | None) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text or "").split("\n\n"):
        yield roff(paragraph.replace("\b\n", ""))
        yield ".PP"


def first_line(text: str | None) -> str:
    return inspect.cleandoc(text or "").split("\n\n")[0].replace("\n", " ")


def item(term: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield bold(term)
    yield roff(text)


def bold(text: str) -> str:
    return f"\\fB{roff(text)}\\fR"


def roff(text: str) -> str:
    """Return text with nothing in it that roff takes for a request or an escape."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(
        f"\\&{line}" if line[:1] in (".", "'") else line for line in escaped.split("\n")
    )


if __name__ == "__main__":
    for file_name, text in generate().items():
        (Path(__file__).parent / file_name).write_text(text)
