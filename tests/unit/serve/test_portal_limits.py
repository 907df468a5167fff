"""What a portal bounds before anybody is logged in, and a unit's sessions afterwards."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, cast

import pytest

from tapectl.gateway.settings import ListenAddress
from tapectl.iscsi.policy import TargetConfig
from tapectl.serve import portal as portal_module
from tests.support.gateway import wait_until
from tests.support.initiator import LoginRefusedError, Session, SessionOptions
from tests.unit.serve.one_unit import TARGET, serving

if TYPE_CHECKING:
    from tapectl.serve.login_policy import TargetDirectory


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
    with serving(monkeypatch) as (address, _), Session(address, None) as idle:
        assert idle.receive_end()


def test_sessions_of_a_unit_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, sessions_max=2) as (address, _):
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


def test_a_portal_is_alive_while_it_looks_up_and_when_it_is_to_end() -> None:
    listener = portal_module.open_listener(ListenAddress("127.0.0.1", 0))
    nobody = cast("TargetDirectory", None)
    portal = portal_module.Portal([listener], nobody, TargetConfig(), lambda *_session: None)
    assert not portal.is_alive(0), "nothing runs yet"
    thread = threading.Thread(target=portal.run)
    thread.start()
    assert portal.is_alive(30)
    assert portal.is_alive(30)
    portal.stop()
    thread.join()
    assert portal.is_alive(0)
