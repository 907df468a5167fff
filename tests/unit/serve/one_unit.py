"""A portal with one target whose unit is a list of what it was asked, for tests of `serve`."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from tapectl.gateway.settings import ListenAddress
from tapectl.iscsi.policy import TargetConfig
from tapectl.iscsi.session import LivingSession, SessionInfo
from tapectl.scsi.logical_unit import Reply, Status
from tapectl.serve import portal as portal_module
from tapectl.serve.connection_loop import SessionTimes
from tapectl.serve.json_lines import Message
from tapectl.serve.login_policy import TargetDirectory
from tapectl.serve.portal import Portal, open_listener
from tapectl.serve.session_server import SessionServer
from tapectl.serve.session_table import SESSIONS_MAX
from tapectl.serve.unit_host import UnitHost

TARGET = "iqn.2000-01.com.example:unit"
PATIENCE_S = 30.0


class Unit:
    """A logical unit that says GOOD to everything, and remembers what it was told and asked.

    `before` is called within each command, with its nexus and its CDB. `afterwards` is what each
    reply leaves to be done.
    """

    def __init__(self) -> None:
        self.told: list[str] = []
        self.ran: list[int] = []
        self.before: Callable[[str, bytes], None] = lambda _nexus, _cdb: None
        self.afterwards: Callable[[], None] | None = None
        self.abort: Callable[[Collection[str]], None] = lambda _nexuses: None

    def execute(self, nexus: str, cdb: bytes, _data: memoryview, _lun: int = 0) -> Reply:
        self.ran.append(cdb[1])
        self.before(nexus, cdb)
        return Reply(Status.GOOD, afterwards=self.afterwards)

    def nexus_established(self, _nexus: str) -> None:
        self.told.append("established")

    def nexus_lost(self, _nexus: str) -> None:
        self.told.append("lost")

    def commands_cleared(self, _nexus: str) -> None:
        self.told.append("cleared")

    def abort_tasks_by(self, abort: Callable[[Collection[str]], None]) -> None:
        self.abort = abort

    def logical_unit_reset(self) -> None:
        self.told.append("reset")


class Policy:
    """Lets everybody in to one target, without a secret."""

    def __init__(self, directory: Directory, _address: str) -> None:
        self._directory = directory

    def targets(self, _initiator: str) -> list[object]:
        return []

    def target_exists(self, name: str) -> bool:
        return name == TARGET

    def initiator_allowed(self, _target: str, _initiator: str) -> bool:
        return True

    def chap_credentials(self, _target: str | None, _initiator: str) -> tuple[()]:
        return ()

    def find_session(self, _target: str, nexus: str, tsih: int) -> LivingSession | None:
        return self._directory.server.find_session(nexus, tsih)

    def new_tsih(self) -> int:
        self._directory.tsih += 1
        return self._directory.tsih

    def random_bytes(self, size_bytes: int) -> bytes:
        return bytes(size_bytes)


class Directory:
    """The target's sessions, for the policy."""

    def __init__(self, server: SessionServer) -> None:
        self.server = server
        self.tsih = 0


@contextmanager
def serving(
    monkeypatch: pytest.MonkeyPatch, sessions_max: int = SESSIONS_MAX
) -> Iterator[tuple[tuple[str, int], Unit]]:
    unit = Unit()
    host = UnitHost(unit, sessions_max)
    server = SessionServer(host, SessionTimes(busy_timeout_s=1, ping_interval_s=60))
    monkeypatch.setattr(portal_module, "StateLoginPolicy", Policy)

    def take(stream: socket.socket, _info: SessionInfo, state: Message, peer: str) -> None:
        server.serve(stream, state, peer)

    listener = open_listener(ListenAddress("127.0.0.1", 0))
    address = listener.getsockname()
    directory = cast("TargetDirectory", Directory(server))
    portal = Portal([listener], directory, TargetConfig(), take)
    thread = threading.Thread(target=portal.run)
    thread.start()
    try:
        yield address, unit
    finally:
        portal.stop()
        thread.join()
        server.drop_sessions(lambda _initiator: True)
        # None may be in a method that a test has replaced when the test puts that back.
        for other in threading.enumerate():
            if other.name.startswith("login-"):
                other.join(PATIENCE_S)
