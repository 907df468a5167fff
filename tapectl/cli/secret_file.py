"""Secrets come from files and standard input, never from a command line."""

from __future__ import annotations

import sys
from pathlib import Path

from tapectl.cli.files import why_unread
from tapectl.errors import UsageError

MAX_SECRET_FILE_BYTES = 4096
"""More is no secret of 16 bytes, whatever else it is."""


def read_secret(path: Path) -> str:
    """Return the first line of a file, of standard input for `-`; raise UsageError."""
    try:
        if str(path) == "-":
            text = sys.stdin.readline(MAX_SECRET_FILE_BYTES)
        else:
            with path.open(encoding="utf-8") as file:
                text = file.readline(MAX_SECRET_FILE_BYTES)
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(
            f"cannot read the secret ({why_unread(exc)}): {path}",
            hint="name a file that has it on its first line",
        ) from exc
    return text.rstrip("\r\n")
