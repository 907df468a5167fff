"""The log as lines of JSON."""

from __future__ import annotations

import json
import logging
import sys

from tapectl.serve.logs import JsonFormatter


def record(message: str, *arguments: object, failed: bool = False) -> logging.LogRecord:
    error = sys.exc_info() if failed else None
    return logging.LogRecord(
        "tapectl.serve.worker", logging.WARNING, "", 0, message, arguments, error
    )


def test_a_line_is_an_object() -> None:
    line = JsonFormatter().format(record("loaded %s\nat %d", "VTL001L5", 5))
    assert "\n" not in line
    document = json.loads(line)
    assert document["message"] == "loaded VTL001L5\nat 5"
    assert (document["level"], document["logger"]) == ("WARNING", "tapectl.serve.worker")
    assert document["time"].endswith("Z")
    assert "traceback" not in document


def test_a_bug_has_its_traceback() -> None:
    try:
        raise KeyError("lost")
    except KeyError:
        document = json.loads(JsonFormatter().format(record("this is a bug", failed=True)))
    assert "KeyError: 'lost'" in document["traceback"]
