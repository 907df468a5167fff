"""The control socket: what admin commands ask of a running supervisor."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from tapectl.errors import TapectlError
from tapectl.serve.json_lines import Message

_log = logging.getLogger(__name__)

Operation = Callable[[Message], Message]


def control_socket_path(state_path: Path) -> Path:
    return state_path.with_name("tapectl.sock")


class ControlOperations:
    """Runs the operations by name and turns what they raise into an answer."""

    def __init__(self, operations: Mapping[str, Operation]) -> None:
        self._operations = operations

    def answer(self, request: Message) -> Message:
        """Answer one request; see json_server.Answer."""
        operation = self._operations.get(str(request.get("op")))
        if operation is None:
            return _failure(TapectlError(f"no such operation: {request.get('op')}"))
        try:
            return {"ok": True, **operation(request)}
        except TapectlError as exc:
            return _failure(exc)
        except Exception as exc:
            _log.exception("control operation %s", request.get("op"))
            return _failure(TapectlError(str(exc), hint="see the log of `tapectl serve`"))


def _failure(exc: TapectlError) -> Message:
    error = {
        "code": exc.code,
        "exit_code": int(exc.exit_code),
        "message": exc.message,
        "hint": exc.hint,
        "aws_code": exc.aws_code,
    }
    return {"ok": False, "error": error}
