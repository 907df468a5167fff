"""The log of the processes that serve, on standard error: lines of text, or lines of JSON."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from tapectl.gateway.settings import LogFormat

_TEXT = "%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s"


class JsonFormatter(logging.Formatter):
    """One object a line: `time` (ISO 8601, UTC), `level`, `logger`, `pid`, `message`, and the
    `traceback` of a bug."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        document: dict[str, object] = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document)


def configure_log(log_format: LogFormat, *, level: int | str = logging.INFO) -> None:
    """Write the log of this process to standard error, whatever a command line makes of that."""
    handler = logging.StreamHandler(sys.__stderr__)
    wants_json = log_format is LogFormat.JSON
    handler.setFormatter(JsonFormatter() if wants_json else logging.Formatter(_TEXT))
    logging.basicConfig(level=level, handlers=[handler], force=True)
