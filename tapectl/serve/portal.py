"""The portal: listening sockets, logins, and discovery sessions.

Bytes before login are parsed here, in the supervisor, which holds no tape
open. After login a session goes to whoever serves its target.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence

from tapectl.gateway.settings import ListenAddress
from tapectl.iscsi.connection import Phase, TargetConnection
from tapectl.iscsi.constants import LoginStatus
from tapectl.iscsi.errors import LoginError, ProtocolError
from tapectl.iscsi.events import LoginCompleted, LogoutReceived
from tapectl.iscsi.policy import TargetConfig
from tapectl.iscsi.session import SessionInfo, SessionType
from tapectl.serve.connection_loop import PeerClosedError, send_all
from tapectl.serve.errors import AddressInUseError
from tapectl.serve.json_lines import Message
from tapectl.serve.login_policy import StateLoginPolicy, TargetDirectory
from tapectl.serve.login_throttle import FAILURES_MAX, PERIOD_S, LoginThrottle
from tapectl.serve.refused_logins import RefusedLogins
from tapectl.serve.unit_host import shut_down

_log = logging.getLogger(__name__)

# A login is a handful of exchanges; who needs longer holds a thread for nothing.
LOGIN_TIMEOUT_S = 15.0
# A discovery session asks once or twice and leaves.
DISCOVERY_IDLE_S = 60.0
# Connections that have not logged in yet. Eleven devices times a few hosts log in at
# once after a reboot; more than this at one time is a flood.
LOGINS_MAX = 128
BACKLOG = 128
WAKE_BYTES = 64

# Takes a socket whose login is complete, with what `hand_off` gave and the peer's address, and owns
# it from then on. It has yet to send the last login response, and so may know the session first.
SessionTaker = Callable[[socket.socket, SessionInfo, Message, str], None]


def format_address(host: str, port: int) -> str:
    """Return the portal as RFC 7143 writes it: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def open_listener(address: ListenAddress) -> socket.socket:
    """Return a socket that listens there; raise AddressInUseError if it cannot."""
    try:
        info = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        family = info[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as exc:
        raise AddressInUseError(f"cannot listen at {address}: {exc}") from exc
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        raise AddressInUseError(
            f"cannot listen at {address}: {exc.strerror or exc}",
            hint="choose another address with --listen, or stop what uses this one",
        ) from exc
    return listener


class Portal:
    """Accepts connections on all listeners, one thread a login. Owns the listeners."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        directory: TargetDirectory,
        config: TargetConfig,
        take_session: SessionTaker,
        refused_logins: RefusedLogins | None = None,
    ) -> None:
        self._listeners = self._wanted = listeners
        self._directory = directory
        self._config = config
        self._take_session = take_session
        self._refused_logins = refused_logins
        self._discovering: set[socket.socket] = set()
        self._logins = threading.BoundedSemaphore(LOGINS_MAX)
        self._throttle = LoginThrottle()
        # A byte makes `run` look up from its selector.
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._stopping = threading.Event()
        self._came_round = threading.Event()

    @property
    def addresses(self) -> list[str]:
        return [format_address(*listener.getsockname()[:2]) for listener in self._wanted]

    def run(self) -> None:
        """Accept until `stop`, then close the listeners; sessions go on."""
        with contextlib.ExitStack() as at_end, selectors.DefaultSelector() as selector:
            at_end.callback(self._close_all)
            for listener in self._listeners:
                selector.register(listener, selectors.EVENT_READ)
            selector.register(self._wake_reader, selectors.EVENT_READ)
            while not self._stopping.is_set():
                self._change_listeners(selector)
                for key, _ in selector.select():
                    assert isinstance(key.fileobj, socket.socket)
                    if key.fileobj is self._wake_reader:
                        self._wake_reader.recv(WAKE_BYTES)
                        self._came_round.set()
                    else:
                        self._accept(key.fileobj)

    def listen_with(self, listeners: Sequence[socket.socket]) -> None:
        """Listen with these from now on; those that are not among them are closed. Sessions that
        came by them go on."""
        self._wanted = listeners
        self._wake_writer.send(b"x")

    def _change_listeners(self, selector: selectors.BaseSelector) -> None:
        wanted = self._wanted
        for listener in set(self._listeners) - set(wanted):
            selector.unregister(listener)
            listener.close()
        for listener in set(wanted) - set(self._listeners):
            selector.register(listener, selectors.EVENT_READ)
        self._listeners = wanted

    def _close_all(self) -> None:
        for listener in {*self._listeners, *self._wanted}:
            listener.close()

    def stop(self) -> None:
        """Make `run` return, now or as soon as it is called."""
        self._stopping.set()
        self._wake_writer.send(b"x")

    def is_alive(self, timeout_s: float) -> bool:
        """Return whether `run` looks up within that time, or need not as it is to end."""
        if self._stopping.is_set():
            return True
        self._came_round.clear()
        self._wake_writer.send(b"x")
        return self._came_round.wait(timeout_s) or self._stopping.is_set()

    def drop_discovery_sessions(self) -> None:
        """End them: who may discover was changed."""
        for stream in list(self._discovering):
            shut_down(stream)

    def _accept(self, listener: socket.socket) -> None:
        try:
            stream, peer = listener.accept()
        except OSError as exc:
            _log.warning("accept: %s", exc)
            return
        if self._throttle.shuts_out(peer[0]):
            stream.close()
            if self._refused_logins is not None:
                self._refused_logins.shut_out(peer[0])
            return
        if not self._logins.acquire(blocking=False):
            _log.warning("%s: too many logins at once", peer[0])
            stream.close()
            return
        threading.Thread(
            target=self._serve_login, args=(stream, peer[0]), name=f"login-{peer[0]}", daemon=True
        ).start()

    def _serve_login(self, stream: socket.socket, peer: str) -> None:
        session: SessionInfo | None = None
        try:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            address = format_address(*stream.getsockname()[:2])
            policy = StateLoginPolicy(self._directory, address)
            connection = TargetConnection(policy, self._config)
            session = self._log_in(stream, connection, peer)
        except PeerClosedError:
            _log.debug("%s: closed before the end of login", peer)
        except ProtocolError as exc:
            _log.warning("%s: login refused: %s", peer, exc)
            self._count_failure(exc, connection, peer)
            with contextlib.suppress(OSError):
                send_all(stream, connection.take_outgoing())
        except OSError as exc:
            _log.info("%s: login: %s", peer, exc)
        finally:
            self._discovering.discard(stream)
            self._logins.release()
        if session is not None:
            stream.settimeout(None)
            self._take_session(stream, session, connection.hand_off(), peer)
        else:
            shut_down(stream)
            stream.close()

    def _count_failure(self, error: ProtocolError, connection: TargetConnection, peer: str) -> None:
        if self._refused_logins is not None:
            self._refused_logins.refused(error, connection.claims, peer)
        wrong = isinstance(error, LoginError) and error.status is LoginStatus.AUTHENTICATION_FAILURE
        if wrong and self._throttle.failed(peer):
            _log.error(
                "%s: %d wrong secrets; no more logins for %.0f s", peer, FAILURES_MAX, PERIOD_S
            )

    def _log_in(
        self, stream: socket.socket, connection: TargetConnection, peer: str
    ) -> SessionInfo | None:
        """Return the normal session that comes out of it, None once a discovery session is over."""
        deadline = time.monotonic() + LOGIN_TIMEOUT_S
        while True:
            stream.settimeout(max(deadline - time.monotonic(), 0.001))
            size = stream.recv_into(connection.receive_view())
            if size == 0:
                raise PeerClosedError
            connection.received(size)
            events = connection.events()
            for event in events:
                if isinstance(event, LoginCompleted):
                    session = event.session
                    _log.info(
                        "%s: %s logged in to %s",
                        peer,
                        session.initiator_name,
                        session.target_name or "discovery",
                    )
                    if session.session_type is SessionType.NORMAL:
                        return session
            if outgoing := connection.take_outgoing():
                send_all(stream, outgoing)
            if any(isinstance(event, LogoutReceived) for event in events):
                return None
            if connection.phase is Phase.FULL_FEATURE:
                self._discovering.add(stream)
                deadline = time.monotonic() + DISCOVERY_IDLE_S
