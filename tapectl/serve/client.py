"""The admin commands' side of the control socket; works without a supervisor too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from tapectl.gateway.check.view import Serving
from tapectl.gateway.library import OfflineDrives, StateLibrary, move_tape
from tapectl.gateway.settings import Settings
from tapectl.serve import json_lines
from tapectl.serve.control import control_socket_path
from tapectl.serve.errors import SupervisorError
from tapectl.serve.json_lines import JsonLines, Message
from tapectl.serve.lock import lock_owner, serve_lock
from tapectl.state.database import State

# Loading a tape after a crash reads a segment; a robot of steel takes longer.
REQUEST_TIMEOUT_S = 120.0


class SupervisorClient:
    """A connection to the supervisor. Use it as a context manager."""

    def __init__(self, lines: JsonLines) -> None:
        self._lines = lines

    def __enter__(self) -> SupervisorClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()

    def request(self, op: str, **fields: object) -> Message:
        """Return the answer's fields; raise the TapectlError that the supervisor met."""
        self._lines.send({"op": op, **fields})
        answer = self._lines.receive()
        if answer is None:
            raise SupervisorError({"code": "gone", "message": "the gateway stopped serving"})
        if not answer.pop("ok"):
            raise SupervisorError(cast("dict[str, object]", answer["error"]))
        return answer


def connect(state_path: Path) -> SupervisorClient | None:
    """Return a client, None when nothing serves this gateway."""
    try:
        stream = json_lines.connect(control_socket_path(state_path), REQUEST_TIMEOUT_S)
    except OSError:
        return None
    return SupervisorClient(JsonLines(stream))


def wake(state_path: Path) -> None:
    """Tell a running gateway that the state changed; nothing to do when none runs."""
    client = connect(state_path)
    if client is not None:
        with client, contextlib.suppress(OSError, SupervisorError):
            client.request("wake")


def access_changed(state_path: Path, device: str, initiator_name: str) -> None:
    """Let a running gateway end the sessions that a change of access concerns.

    `device` is a device's name; what concerns discovery only ends nothing.
    """
    client = connect(state_path)
    if client is not None:
        with client, contextlib.suppress(OSError, SupervisorError):
            client.request("drop_sessions", device=device, initiator_name=initiator_name)


@contextlib.contextmanager
def library_change(state_path: Path) -> Iterator[bool]:
    """Change the library inside; yields whether it is served. A supervisor takes the change over,
    and where there is none, none can start meanwhile."""
    client = connect(state_path)
    if client is not None:
        with client:
            yield True
            client.request("wake")
        return
    with serve_lock(state_path, "set-changer", wait_s=5.0):
        yield False


def move(state: State, settings: Settings, pair: tuple[int, int], *, actor: str) -> None:
    """Move a cartridge from one element address to another, by the supervisor's robot if there is
    one; `actor` is who the events say did it.

    Raises TapectlError for a move that cannot be made.
    """
    source, destination = pair
    client = connect(settings.state_path)
    if client is not None:
        with client:
            client.request("move", source=source, destination=destination, actor=actor)
        return
    # The lock keeps a supervisor from starting between the look and the move.
    with serve_lock(settings.state_path, "move", wait_s=5.0):
        library = StateLibrary(state, OfflineDrives(), hold_s=settings.hold_s, actor=actor)
        move_tape(library, source, destination)


def who_serves(state_path: Path) -> Serving:
    """Return whether a supervisor answers, and who holds the gateway's lock."""
    client = connect(state_path)
    if client is None:
        return Serving(served=False, locked_by=lock_owner(state_path))
    with client:
        return Serving(served=True, locked_by=lock_owner(state_path))


@contextlib.contextmanager
def repairing(state_path: Path) -> Iterator[Serving]:
    """Repair the gateway inside, beside a supervisor that answers; where there is none, nothing
    else can begin meanwhile.

    Raises AlreadyServingError while another process, or one that is on its way out, has the lock.
    """
    serving = who_serves(state_path)
    if serving.served:
        yield serving
        wake(state_path)
        return
    with serve_lock(state_path, "check --repair", wait_s=5.0):
        yield Serving()
