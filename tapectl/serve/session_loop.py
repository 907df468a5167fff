"""Drives a session of several connections (RFC 7143 4.2.2), all of them in one thread.

Commands run in the order of the session whatever connection they came on, so
nothing is gained by a thread each, and the core needs no locks. A session that
has agreed on one connection is run by `connection_loop` alone.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
from collections import deque

from tapectl.iscsi.connection import TargetConnection
from tapectl.iscsi.constants import LogoutReason
from tapectl.iscsi.events import (
    CommandReceived,
    Event,
    LogoutReceived,
    TaskManagementReceived,
)
from tapectl.iscsi.session_state import SessionState
from tapectl.serve.busy_polling import BusyPolling
from tapectl.serve.connection_loop import (
    CONNECTION_ERRORS,
    TICK_S,
    ConnectionLoop,
    SessionEndedError,
    SessionTimes,
    next_that_overtakes,
)
from tapectl.serve.unit_host import Arrival, Session, SessionHost

_log = logging.getLogger(__name__)


class SessionLoop:
    """Runs one session until its last connection is gone. Owns the sockets it is given."""

    def __init__(
        self,
        session: Session,
        place: tuple[socket.socket, TargetConnection],
        host: SessionHost,
        times: SessionTimes,
    ) -> None:
        """`place` is the leading connection."""
        self._session = session
        self._host = host
        self._times = times
        self._state: SessionState = place[1].session_state
        self._pending: deque[Event] = deque()
        self._members: dict[int, ConnectionLoop] = {}  # by file descriptor
        self._heard: set[int] = set()  # since the last tick
        self._next_tick = time.monotonic() + TICK_S
        self._poll = select.poll()
        self._arrivals: deque[Arrival] = deque()
        self._arrivals_lock = threading.Lock()
        self._over = False
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._poll.register(self._wake_reader, select.POLLIN)
        self._commands = BusyPolling(self._poll)
        self._add(*place)

    def admit(self, arrival: Arrival) -> bool:
        """Hand over a further connection, from any thread; False if the session is over."""
        with self._arrivals_lock:
            if self._over:
                return False
            self._arrivals.append(arrival)
            self._wake_writer.send(b"x")
            return True

    def run(self) -> None:
        """Serve until the last connection is gone. Raises nothing a peer can cause."""
        try:
            self._flush_all()
            self._host.establish(self._session)
            while self._members:
                self._serve(TICK_S)
                while self._pending:
                    self._handle(self._pending.popleft())
        finally:
            self._close()

    def _add(self, stream: socket.socket, connection: TargetConnection) -> None:
        self._members[stream.fileno()] = ConnectionLoop(
            self._session,
            (stream, connection),
            self._host,
            self._times,
            pending=self._pending,
            meanwhile=self._serve_meanwhile,
            commands=self._commands,
        )
        self._poll.register(stream, select.POLLIN)

    def _close(self) -> None:
        with self._arrivals_lock:
            self._over = True
        for arrival in self._arrivals:
            arrival.stream.close()
        for member in list(self._members.values()):
            self._drop(member, SessionEndedError("the session is over"))
        self._wake_reader.close()
        self._wake_writer.close()

    def _serve(self, wait_s: float) -> None:
        """Take what comes on any connection within `wait_s`, once."""
        now = time.monotonic()
        if now >= self._next_tick:
            self._tick()
        limit_s = min(wait_s, max(self._next_tick - now, 0.0))
        for fd, _ in self._commands.wait(limit_s, self._times.busy_poll_us):
            member = self._members.get(fd)
            if member is None:
                self._take_arrivals()
                continue
            self._heard.add(fd)
            try:
                member.receive()
            except CONNECTION_ERRORS as exc:
                self._fail(member, exc)
            self._flush_others()

    def _tick(self) -> None:
        self._next_tick = time.monotonic() + TICK_S
        heard, self._heard = self._heard, set()
        for fd, member in list(self._members.items()):
            if fd not in heard:
                try:
                    member.tick()
                except CONNECTION_ERRORS as exc:
                    self._fail(member, exc)
        self._flush_others()

    def _take_arrivals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_reader.recv(64)
        with self._arrivals_lock:
            arrivals, self._arrivals = self._arrivals, deque()
        for arrival in arrivals:
            self._take_in(arrival)

    def _take_in(self, arrival: Arrival) -> None:
        for member in list(self._members.values()):
            if member.cid == arrival.cid:
                # RFC 7143 6.3.4: the new connection is an implicit logout of the old one.
                self._drop(member, SessionEndedError("its initiator connected anew"))
        if len(self._members) >= self._session.info.parameters.max_connections:
            _log.warning("%s: too many connections", self._session.nexus)
            arrival.stream.close()
            return
        self._add(arrival.stream, arrival.resume(self._state))
        self._flush_all()
        _log.info("%s: %d connections", self._session.nexus, len(self._members))

    def _handle(self, event: Event) -> None:
        if isinstance(event, LogoutReceived):
            self._log_out(event)
            return
        member = self._member_of(event)
        if member is None:
            return
        try:
            member.handle(event)
        except CONNECTION_ERRORS as exc:
            self._fail(member, exc)
        self._flush_others()

    def _member_of(self, event: Event) -> ConnectionLoop | None:
        """Return the connection that an event concerns, None when it is gone."""
        for member in self._members.values():
            if isinstance(event, CommandReceived):
                if member.connection.owns(event.task):
                    return member
            elif not isinstance(event, TaskManagementReceived) or member.cid == event.cid:
                return member
        return None

    def _log_out(self, event: LogoutReceived) -> None:
        self._flush_all()
        whole = event.reason == LogoutReason.CLOSE_SESSION
        for member in list(self._members.values()):
            if whole or member.cid == event.cid:
                self._drop(member, SessionEndedError("logged out"))

    def _serve_meanwhile(self, wait_s: float) -> None:
        """Serve all connections while a command of one of them waits for data or room."""
        deadline = time.monotonic() + wait_s
        while self._members:
            while (event := next_that_overtakes(self._pending, self._session)) is not None:
                self._handle(event)
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            self._serve(left_s)

    def _flush_others(self) -> None:
        """Send what one connection has caused on others; each sends its own by itself."""
        if len(self._members) > 1:
            self._flush_all()

    def _flush_all(self) -> None:
        for member in list(self._members.values()):
            try:
                member.flush()
            except CONNECTION_ERRORS as exc:
                self._fail(member, exc)

    def _fail(self, member: ConnectionLoop, exc: Exception) -> None:
        """Drop a connection that failed; the others go on, unless it is the session that ended."""
        self._drop(member, exc)
        if isinstance(exc, SessionEndedError):
            for other in list(self._members.values()):
                self._drop(other, exc)

    def _drop(self, member: ConnectionLoop, exc: Exception) -> None:
        fd = member.stream.fileno()
        if self._members.get(fd) is not member:
            return
        member.report_end(exc)
        del self._members[fd]
        self._poll.unregister(fd)
        member.leave()
        member.stream.close()
        # What stood behind a command of its own is due now, or has been refused.
        for other in list(self._members.values())[:1]:
            self._pending.extend(other.connection.events())
        self._flush_all()
