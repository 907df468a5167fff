"""Where events are told: a file of JSON lines, programs in a folder, web addresses."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from tapectl.gateway.settings import Settings

_log = logging.getLogger(__name__)

Document = Mapping[str, object]

# A hook that takes longer hangs; those after it would never be told.
HOOK_TIMEOUT_S = 60.0
WEBHOOK_TIMEOUT_S = 10.0
# What a hook gets of our environment: no credentials of the store are among it.
_HOOK_ENVIRONMENT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR")


class NotToldError(Exception):
    """An event could not be told, and is to be told again later."""


class EventSink(Protocol):
    """One place; `name` is stable, for how far it has been told is kept under it."""

    @property
    def name(self) -> str: ...

    def tell(self, document: Document) -> None:
        """Tell one event; raise NotToldError if it is to be told again."""
        ...


def event_sinks(settings: Settings) -> Sequence[EventSink]:
    """Return the places that the settings name."""
    found: list[EventSink] = [Webhook(url) for url in settings.webhook_urls]
    if settings.event_log is not None:
        found.append(JsonLinesFile(settings.event_log))
    if settings.hooks_dir.is_dir():
        found.append(HookFolder(settings.hooks_dir, settings.state_path))
    return found


class JsonLinesFile:
    """A file that grows by a line for each event. It may be moved away at any time."""

    name = "event_log"

    def __init__(self, path: Path) -> None:
        self._path = path

    def tell(self, document: Document) -> None:
        line = json.dumps(document) + "\n"
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.write(fd, line.encode())
            finally:
                os.close(fd)
        except OSError as exc:
            raise NotToldError(f"{self._path}: {exc.strerror}") from exc


class HookFolder:
    """Every program of a folder is run for each event, in order of their names, the event on its
    standard input. One that fails is logged, and not run again."""

    name = "hooks"

    def __init__(self, folder: Path, state_path: Path) -> None:
        self._folder = folder
        self._state_path = state_path

    def tell(self, document: Document) -> None:
        for program in self._programs():
            try:
                done = subprocess.run(
                    [program],
                    input=json.dumps(document).encode() + b"\n",
                    env=self._environment(document),
                    cwd="/",
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    timeout=HOOK_TIMEOUT_S,
                    check=False,
                )
            except (OSError, subprocess.TimeoutExpired) as exc:
                _log.warning("hook %s: %s", program.name, exc)
                continue
            if done.returncode:
                said = done.stderr.decode(errors="replace").strip()[-500:]
                _log.warning("hook %s: exit status %d: %s", program.name, done.returncode, said)

    def _programs(self) -> Sequence[Path]:
        try:
            entries = sorted(self._folder.iterdir())
        except OSError:
            return []  # no folder, no hooks
        return [entry for entry in entries if _is_hook(entry)]

    def _environment(self, document: Document) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _HOOK_ENVIRONMENT if name in os.environ}
        return inherited | {
            "TAPECTL_STATE": str(self._state_path),
            "TAPECTL_EVENT_TYPE": str(document["type"]),
            "TAPECTL_EVENT_SOURCE": str(document["source"]),
            "TAPECTL_EVENT_STATUS": str(document["newStatus"] or ""),
        }


def _is_hook(path: Path) -> bool:
    if path.name.startswith(".") or not path.is_file() or not os.access(path, os.X_OK):
        return False
    if path.stat().st_mode & stat.S_IWOTH:
        _log.warning("hook %s: everyone may write it, so it is not run", path.name)
        return False
    return True


class Webhook:
    """An address that every event is posted to, in order, again and again until it takes it."""

    def __init__(self, url: str) -> None:
        self._url = url
        # The rest of an address may be a secret.
        self._host = urlsplit(url).hostname or ""
        self.name = f"webhook {self._host}"

    def tell(self, document: Document) -> None:
        request = urllib.request.Request(
            self._url,
            data=json.dumps(document).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "tapectl"},
        )
        try:
            with urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT_S):
                return
        except urllib.error.HTTPError as exc:
            exc.close()
            raise NotToldError(f"{self._host} answers {exc.code}") from exc
        except (OSError, ValueError) as exc:
            raise NotToldError(f"{self._host} does not take it: {exc}") from exc
