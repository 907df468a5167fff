"""The control socket: what admin commands ask of a running supervisor."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from tapectl.errors import ExitCode, TapectlError
from tapectl.serve.json_lines import JsonLines, Message, listen

_log = logging.getLogger(__name__)

Operation = Callable[[Message], Message]


def control_socket_path(state_path: Path) -> Path:
    return state_path.with_name("tapectl.sock")


class ControlServer:
    """Answers admin commands, a thread a connection. Owns the socket file."""

    def __init__(self, path: Path, operations: Mapping[str, Operation]) -> None:
        self._path = path
        self._operations = operations
        self._listener = listen(path)

    def start(self) -> None:
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def close(self) -> None:
        """Take the socket away: commands find no supervisor from now on."""
        self._path.unlink(missing_ok=True)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(
                target=self._serve, args=(JsonLines(stream),), name="control-client", daemon=True
            ).start()

    def _serve(self, lines: JsonLines) -> None:
        try:
            while (request := lines.receive()) is not None:
                lines.send(self._answer(request))
        except (OSError, ValueError) as exc:
            _log.debug("control client: %s", exc)
        finally:
            lines.close()

    def _answer(self, request: Message) -> Message:
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
