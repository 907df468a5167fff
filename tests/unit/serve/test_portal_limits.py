"""What a portal bounds before anybody is logged in, and a unit's sessions afterwards."""

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
from tapectl.serve import unit_host
from tapectl.serve.connection_loop import SessionTimes
from tapectl.serve.json_lines import Message
from tapectl.serve.login_policy import TargetDirectory
from tapectl.serve.portal import Portal, open_listener
from tapectl.serve.session_server import SessionServer
from tapectl.serve.unit_host import UnitHost
from tests.support.gateway import wait_until
from tests.support.initiator import LoginRefusedError, Session, SessionOptions

TARGET = "iqn.2000-01.com.example:unit"


class Unit:
    """A logical unit that says GOOD to everything, and remembers which nexuses it knew."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def execute(self, *_: object) -> Reply:
        return Reply(Status.GOOD)

    def nexus_established(self, _nexus: str) -> None:
        self.told.append("established")

    def nexus_lost(self, _nexus: str) -> None:
        self.told.append("lost")

    def commands_cleared(self, _nexus: str) -> None:
        self.told.append("cleared")

    def abort_tasks_by(self, abort: Callable[[Collection[str]], None]) -> None:
        del abort

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
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[tuple[str, int], Unit]]:
    unit = Unit()
    server = SessionServer(UnitHost(unit), SessionTimes(busy_timeout_s=1, ping_interval_s=60))
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


def is_closed(stream: socket.socket) -> bool:
    stream.settimeout(30)
    try:
        return stream.recv(1) == b""
    except ConnectionResetError:
        return True


def test_connections_that_do_not_log_in_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_module, "LOGINS_MAX", 3)
    with serving(monkeypatch) as (address, _):
        idle = [socket.create_connection(address) for _ in range(3)]
        with socket.create_connection(address) as refused:
            assert is_closed(refused)
        idle.pop().close()
        with idle[0], idle[1]:
            # A place is free again as soon as one has gone.
            while True:
                try:
                    with Session(address, TARGET) as session:
                        assert session.ping() == b"ping"
                    break
                except OSError:
                    continue


def test_a_login_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_module, "LOGIN_TIMEOUT_S", 0.2)
    with (
        serving(monkeypatch) as (address, _),
        socket.create_connection(address) as silent,
        socket.create_connection(address) as halting,
    ):
        halting.send(b"\x43")
        assert is_closed(silent)
        assert is_closed(halting)


def test_an_idle_discovery_session_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_module, "DISCOVERY_IDLE_S", 0.2)
    with serving(monkeypatch) as (address, _):
        assert Session(address, None).receive_end()


def test_sessions_of_a_unit_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_host, "SESSIONS_MAX", 2)
    with serving(monkeypatch) as (address, _):
        first, second = Session(address, TARGET), Session(address, TARGET)
        with pytest.raises(ConnectionError):
            Session(address, TARGET)
        # Neither a reinstatement nor a further connection is a further session.
        again = Session(address, TARGET, SessionOptions(isid=second.isid))
        assert second.receive_end()
        assert first.ping() == again.ping() == b"ping"
        first.logout()
        again.logout()


def test_connections_of_a_session_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    options = SessionOptions(max_connections=65535)
    with serving(monkeypatch) as (address, unit):
        sessions = [Session(address, TARGET, options)]
        sessions += [
            Session(address, TARGET, options, joins=sessions[0], cid=cid) for cid in (1, 2, 3)
        ]
        with pytest.raises(LoginRefusedError) as refused:
            Session(address, TARGET, options, joins=sessions[0], cid=4)
        assert (refused.value.status_class, refused.value.status_detail) == (2, 6)
        assert [session.ping() for session in sessions] == [b"ping"] * 4
        sessions[3].logout()
        assert all(session.receive_end() for session in sessions[:3])
        wait_until(lambda: unit.told == ["established", "lost"], "one nexus, once", 30)
