"""The control socket: what admin commands ask of a running supervisor."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from tapectl.errors import ExitCode, TapectlError
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
            return _failure("unknown_operation", ExitCode.FAILURE, f"no such: {request.get('op')}")
        try:
            return {"ok": True, **operation(request)}
        except TapectlError as exc:
            return _failure(exc.code, exc.exit_code, exc.message, exc.hint)
        except Exception as exc:
            _log.exception("control operation %s", request.get("op"))
            return _failure("failure", ExitCode.FAILURE, str(exc), "see the log of `tapectl serve`")


def _failure(code: str, exit_code: ExitCode, message: str, hint: str | None = None) -> Message:
    error = {"code": code, "exit_code": int(exit_code), "message": message, "hint": hint}
    return {"ok": False, "error": error}
