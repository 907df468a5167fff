"""A server of JSON lines at a Unix socket: one thread a connection. Knows no operation."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from tapectl.serve.json_lines import JsonLines, Message, listen

_log = logging.getLogger(__name__)

Answer = Callable[[Message], Message]
"""Answers one request; called from any thread, raises nothing."""


class JsonServer:
    """Answers whoever connects. Owns the listening socket and its file."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self._path = path
        self._answer = answer
        self._listener = listen(path)

    def start(self) -> None:
        threading.Thread(target=self._accept, name=self._path.name, daemon=True).start()

    def close(self) -> None:
        """Take the socket away: nobody finds this server from now on."""
        self._path.unlink(missing_ok=True)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return  # closed
            client = JsonLines(stream)
            name = f"{self._path.name}-client"
            threading.Thread(target=self._serve, args=(client,), name=name, daemon=True).start()

    def _serve(self, client: JsonLines) -> None:
        try:
            while (request := client.receive()) is not None:
                client.send(self._answer(request))
        except (OSError, ValueError) as exc:
            _log.debug("%s: a client left: %s", self._path.name, exc)
        finally:
            client.close()
