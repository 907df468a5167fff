"""Write the manual pages beside this file from the commands, the settings and the table of the
bucket's keys: `python man/generate.py`.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tapectl.cli.exit_codes import EXIT_CODE_MEANINGS
from tapectl.cli.failure import BROKEN_PIPE_STATUS
from tapectl.cli.root import root_command
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
    "frontend": "How initiators reach the devices: user, our own iSCSI target; lio, the kernel's;"
    " auto, the kernel's where this host has it.",
    "fabric": "How the kernel's target shows the devices: iscsi, or loopback, to this host only.",
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
    "keep_overwritten_days": "Days for which what was overwritten stays in the store, so that an"
    " accidental overwrite can be undone; then it is deleted, and the recovery points that need it"
    " end. 0: no longer than it takes to see it.",
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
    "busy_poll_us": "Microseconds for which a device waits awake for the next command, if one has"
    " come as soon as that: it is answered sooner, and a processor is taken meanwhile. As root it"
    " also asks the kernel that no processor sleeps deeply then. 0: never.",
    "logout_wait_s": "Seconds initiators may take to log out when the gateway stops serving.",
    "library_target": "Show the whole library as one target too: LUN 0 the changer, LUN 1 the first"
    " drive, and so on.",
    "metrics_listen": "Address and port where serve answers Prometheus, as 9744 for this machine"
    " only; empty: nowhere.",
    "event_log": "File that gets a line of JSON for each event.",
    "hooks_dir": "Programs in it are run for each event, with its JSON on their standard input.",
    "webhook_urls": "Addresses that each event is posted to as JSON, a comma between them.",
    "keep_events_days": "Days for which events are kept; older ones are removed while it serves.",
    "log_format": "How serve writes its log: text, or json, an object a line.",
    "user": "User that serve, started as root, becomes once its ports are bound.",
    "encryption": "How new tapes are encrypted in the store: CSE (by the gateway, with a key of"
    " tapectl key), SSE-S3, SSE-KMS, or NONE: as the store does by itself.",
    "kms_key": "Key of SSE-KMS for new tapes; empty: the default one of the store.",
    "allow_anonymous": "Listen beyond this machine even if anyone could log in.",
}
# Defaults that depend on who asks.
PLACES = {"hooks_dir": "hooks.d beside the configuration file"}
CONFIG_FILES = "/etc/tapectl/tapectl.toml for root, else $XDG_CONFIG_HOME/tapectl/tapectl.toml"
STATE_FILES = "/var/lib/tapectl/tapectl.db for root, else $XDG_STATE_HOME/tapectl/tapectl.db"
MANUALS = {1: "User Commands", 5: "File Formats"}
CONFIG_EXAMPLE = """\
# /etc/tapectl/tapectl.toml
listen = ["192.0.2.10", "[2001:db8::10]:3260"]
upload_workers = 4
hold_s = 0
verify_bytes_per_s = "50MiB"
scrub_store = true
metrics_listen = "9744"
"""
BUCKET_FORMAT = Path(__file__).parents[1] / "docs" / "bucket-format.md"

# The parser's own classes have no public names to annotate with.
Command = Any
Context = Any


def generate() -> dict[str, str]:
    """Return file name → content: tapectl.1, tapectl-NOUN.1 for each noun, and what is in
    section 5.
    """
    root: Command = root_command()
    context = root.make_context("tapectl", [], resilient_parsing=True)
    nouns = {name: command for name, command in root.commands.items() if is_noun(command)}
    pages = {"tapectl.1": "\n".join(main_page(root, context)) + "\n"}
    for name, noun in nouns.items():
        lines = noun_page(noun, child(context, noun, name))
        pages[f"tapectl-{name}.1"] = "\n".join(lines) + "\n"
    pages["tapectl.conf.5"] = "\n".join(settings_page()) + "\n"
    pages["tapectl-bucket.5"] = "\n".join(bucket_page(BUCKET_FORMAT.read_text())) + "\n"
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
    yield from item("129, 143", "Ended by SIGHUP or SIGTERM; what was begun is undone.")
    yield ".SH FILES"
    yield from item(CONFIG_FILES, "Configuration, TOML.")
    yield from item(
        STATE_FILES,
        "State of the gateway; its lock and its sockets are beside it.",
    )
    yield ".SH ENVIRONMENT"
    for variable, meaning in ENVIRONMENT.items():
        yield from item(variable, meaning)
    yield from see_also("tapectl.conf(5)", "tapectl-bucket(5)")


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


def settings_page() -> Iterator[str]:
    yield from header("TAPECTL.CONF", "tapectl.conf", "the settings of tapectl", section=5)
    yield ".SH DESCRIPTION"
    yield from paragraphs(
        "The configuration file of tapectl is TOML: a setting a line, without sections. Every"
        " setting is also a variable of the environment, TAPECTL_ and its name in capitals; some"
        " are options of tapectl serve. An option goes before the environment, that before the"
        " file, and the file before the default. A name that is not known, or a value that cannot"
        " be used, is an error (exit status 45)."
        "\n\n"
        "At SIGHUP serve reads the settings anew; those that it cannot take over while it serves"
        " are named in its log, and count from the next start."
    )
    yield ".SH SETTINGS"
    yield from item("state_path", f"State file; in the environment TAPECTL_STATE. {STATE_FILES}.")
    defaults = {value.name: value.value for value in Settings.load({}, Path(os.devnull)).describe()}
    for name, meaning in SETTINGS.items():
        default = PLACES.get(name) or defaults[name] or "none"
        yield from item(name, f"{meaning} Default: {default}.")
    yield ".SH EXAMPLE"
    yield from verbatim(CONFIG_EXAMPLE)
    yield ".SH FILES"
    yield from item(CONFIG_FILES, "Or the file that --config or TAPECTL_CONFIG names.")
    yield from see_also("tapectl(1)", "tapectl-gateway(1)")


def bucket_page(document: str) -> Iterator[str]:
    """Yield what docs/bucket-format.md says in its introduction, its keys and its order of writes;
    the rest of it is for programs.
    """
    sections = dict(re.findall(r"^#+ (.+)\n+((?:(?!^#).*\n)*)", document, re.MULTILINE))
    version = next(title for title in sections if title.startswith("Bucket format"))
    yield from header(
        "TAPECTL-BUCKET", "tapectl-bucket", "what tapectl keeps in its store", section=5
    )
    yield ".SH DESCRIPTION"
    yield from paragraphs(f"{version}. {plain(sections[version])}")
    yield ".SH KEYS"
    before, _, table_and_rest = sections["1. Keys"].partition("\n|")
    table, _, after = table_and_rest.rpartition("|\n")
    yield from paragraphs(plain(before))
    for row in table.splitlines()[2:]:
        key, what, written, storage_class = (cell.strip() for cell in row.strip("|").split("|"))
        when = f" Written {written}." if written else ""
        yield from item(plain(key), f"{plain(what)}.{when} Class: {storage_class}.")
    yield ".PP"
    yield from paragraphs(plain(after))
    yield ".SH ORDER OF WRITES"
    order, _, _ = plain(sections["2. Order of writes"]).partition("\n\nArchiving:")
    for paragraph in order.split("\n\n"):
        yield from verbatim(paragraph) if paragraph[0].isdigit() else paragraphs(paragraph)
        yield ".PP"
    yield ".SH SEE ALSO"
    yield (
        f"{bold('tapectl')}(1), {bold('tapectl-recovery')}(1), and the whole format, byte by byte:"
        " bucket-format.md and medium-format.md in share/doc/tapectl, where tapectl is installed."
    )


def plain(markdown: str) -> str:
    """Return the text without code marks, and with the words of its links alone."""
    return re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", markdown.replace("`", "")).strip()


def see_also(*pages: str) -> Iterator[str]:
    yield ".SH SEE ALSO"
    yield ", ".join(re.sub(r"(.+)(\(\d\))", lambda m: bold(m[1]) + m[2], page) for page in pages)


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
        yield from verbatim(text)


def verbatim(text: str) -> Iterator[str]:
    yield ".PP"
    yield ".nf"
    yield from (roff(line) for line in text.splitlines())
    yield ".fi"


def header(title: str, name: str, purpose: str, *, section: int = 1) -> Iterator[str]:
    yield f'.TH {title} {section} "" "tapectl" "{MANUALS[section]}"'
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
