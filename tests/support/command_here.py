"""Runs a command line in this process: the same `main`, without the start of an interpreter."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest import mock

from tapectl.cli.app import main

# Streams and environment are the process's: one command at a time.
_ONE = threading.Lock()


def run_here(
    words: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run `tapectl WORDS` to its end, with nothing on stdin and paths that are absolute."""
    out, err = io.StringIO(), io.StringIO()
    with (
        _ONE,
        Path(os.devnull).open() as nothing,
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch("sys.stdin", nothing),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        status = main(words)
    return subprocess.CompletedProcess(["tapectl", *words], status, out.getvalue(), err.getvalue())
