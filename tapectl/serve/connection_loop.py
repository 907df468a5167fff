"""Drives one iSCSI connection in its full-feature phase over a blocking socket.

One thread a connection and no hand-off within a command: bytes are received
into the buffer that the core names, the device server runs in this thread,
and the reply leaves in one sendmsg. This is the hot path. A session of several
connections is `session_loop`'s, which runs the same steps on each of them.
"""

from __future__ import annotations

import logging
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tapectl.gateway.settings import Settings
from tapectl.iscsi.connection import TargetConnection
from tapectl.iscsi.constants import TaskManagementFunction
from tapectl.iscsi.errors import ProtocolError
from tapectl.iscsi.events import (
    CommandReceived,
    Event,
    LogoutReceived,
    TaskManagementReceived,
)
from tapectl.iscsi.task import ScsiTask
from tapectl.scsi.cartridge import CartridgeBusyError, CommandUnfinishedError
from tapectl.scsi.logical_unit import IMPLICIT_HEAD_OF_QUEUE, Reply, Status
from tapectl.serve.busy_polling import BusyPolling
from tapectl.serve.task_management import manage_tasks
from tapectl.serve.unit_host import CommandAbortedError, Session, SessionHost

_log = logging.getLogger(__name__)

# sendmsg takes at most IOV_MAX buffers.
_IOV_MAX = 1024
# How often a thread looks up from a silent socket: for pings and for what others want of it.
TICK_S = 1.0
_RECEIVE_TIMEOUT = struct.pack("@ll", int(TICK_S), 0)


class PeerClosedError(Exception):
    """The initiator closed the connection."""


class SilentPeerError(Exception):
    """The initiator does not answer pings."""


class SessionEndedError(Exception):
    """The session was ended by somebody else: reinstated, dropped by an admin, or reset."""


# What ends a connection and is nobody's bug.
CONNECTION_ERRORS = (
    PeerClosedError,
    SilentPeerError,
    SessionEndedError,
    ProtocolError,
    OSError,
)


@dataclass(slots=True)
class SessionTimes:
    """How long things may take: a command that waits, a silent initiator, a wait without sleep. A
    target's sessions share it, and go by what it says at the time."""

    busy_timeout_s: float
    ping_interval_s: float
    busy_poll_us: float = 0

    @classmethod
    def of(cls, settings: Settings) -> SessionTimes:
        return cls(settings.busy_timeout_s, settings.ping_interval_s, settings.busy_poll_us)

    def take_over(self, settings: Settings) -> None:
        """Go by other settings from now on."""
        self.busy_timeout_s = settings.busy_timeout_s
        self.ping_interval_s = settings.ping_interval_s
        self.busy_poll_us = settings.busy_poll_us


def send_all(stream: socket.socket, buffers: Sequence[bytes | memoryview]) -> None:
    """Send every byte of `buffers`; raise OSError when the peer is gone."""
    if len(buffers) == 1:
        stream.sendall(buffers[0])
        return
    sent = stream.sendmsg(buffers[:_IOV_MAX])
    total = sum(map(len, buffers))
    if sent == total:
        return
    rest = deque(memoryview(buffer) for buffer in buffers)
    while True:
        while rest and sent >= len(rest[0]):
            sent -= len(rest.popleft())
        if not rest:
            return
        if sent:
            rest[0] = rest[0][sent:]
        sent = stream.sendmsg([rest[i] for i in range(min(len(rest), _IOV_MAX))])


def next_that_overtakes(pending: deque[Event], session: Session) -> Event | None:
    """Take out the next event that need not stand behind the commands that wait, if there is one.

    Task management is served at once, and a command is of another task set where it is for
    another logical unit (SAM-6 4.9): at most one command a unit waits. Some stand behind none.
    """
    for event in pending:
        if isinstance(event, CommandReceived):
            task = event.task
            if task.lun in session.waiting_luns and task.cdb[0] not in IMPLICIT_HEAD_OF_QUEUE:
                continue
        elif not isinstance(event, TaskManagementReceived):
            continue
        pending.remove(event)
        return event
    return None


class ConnectionLoop:
    """Runs a connection of a session on a unit. Owns neither the socket nor the unit.

    `run` is for a session's only connection. Of several, all have one queue of `pending` events,
    and `meanwhile` serves them while a command waits.
    """

    def __init__(
        self,
        session: Session,
        place: tuple[socket.socket, TargetConnection],
        host: SessionHost,
        times: SessionTimes,
        *,
        pending: deque[Event] | None = None,
        meanwhile: Callable[[float], None] | None = None,
        commands: BusyPolling | None = None,
    ) -> None:
        self.stream, self.connection = place
        self._outgoing, self._events = self.connection.queues
        self._readable = select.poll()  # select(2) knows no descriptor above 1023
        self._readable.register(self.stream, select.POLLIN)
        self._commands = BusyPolling(self._readable) if commands is None else commands
        self._session = session
        self._host = host
        self._lock = host.lock_of(session)
        self._times = times
        self._pending: deque[Event] = deque() if pending is None else pending
        self._serve_meanwhile = self._serve_alone if meanwhile is None else meanwhile
        self._logged_out = False
        self._silent_s = 0.0
        self._pinged = False
        self._last_stat_sn = self.connection.stat_sn
        _bound_waits(self.stream, times)
        session.connections[self.stream] = self.connection

    @property
    def cid(self) -> int:
        session = self.connection.session
        assert session is not None, "the login is complete"
        return session.cid

    def run(self) -> None:
        """Serve until logout or the end of the connection. Raises nothing a peer can cause."""
        pending = self._pending
        try:
            self.flush()
            self._host.establish(self._session)
            commands, connection, times = self._commands, self.connection, self._times
            while not self._logged_out:
                if connection.between_pdus and not commands.wait(TICK_S, times.busy_poll_us):
                    self.tick()
                    continue
                self.receive()
                while pending:
                    self.handle(pending.popleft())
        except CONNECTION_ERRORS as exc:
            self.report_end(exc)
        finally:
            self.leave()

    def leave(self) -> None:
        """Take the connection out of its session; its tasks die."""
        self._session.connections.pop(self.stream, None)
        self.connection.close()
        self._commands.rest()

    def report_end(self, exc: Exception) -> None:
        """Log why the connection ended, and send what the core still has to say about it."""
        level = logging.WARNING if isinstance(exc, ProtocolError) else logging.INFO
        why = str(exc) or "closed by the initiator"
        _log.log(level, "%s: connection ends: %s", self._session.nexus, why)
        try:
            self.flush()
        except OSError:
            return

    def receive(self) -> None:
        """Take one part of a PDU from the socket and answer what the core answers by itself."""
        connection = self.connection
        try:
            size = self.stream.recv_into(connection.receive_view(), 0, socket.MSG_WAITALL)
        except BlockingIOError:
            self.tick()
            return
        if size == 0:
            raise PeerClosedError
        connection.received(size)
        if self._outgoing:
            send_all(self.stream, connection.take_outgoing())
        if self._events:
            self._pending.extend(connection.events())

    def tick(self) -> None:
        """Nothing came for TICK_S: comply with what others want, and mind a silent initiator."""
        session, connection = self._session, self.connection
        if session.interrupted:
            with self._lock:
                self._comply()
        if connection.stat_sn != self._last_stat_sn or (
            self._pinged and not connection.ping_outstanding
        ):
            self._last_stat_sn, self._silent_s, self._pinged = connection.stat_sn, 0.0, False
        self._silent_s += TICK_S
        if self._silent_s < self._times.ping_interval_s:
            return
        if not self._pinged:
            self._pinged = True
            connection.send_nop_in()
            self.flush()
        elif self._silent_s >= 2 * self._times.ping_interval_s:
            raise SilentPeerError(f"silent for {self._silent_s:.0f} s")

    def handle(self, event: Event) -> None:
        """Act on what happened; a command runs to its end."""
        if isinstance(event, CommandReceived):
            self._run_command(event.task)
        elif isinstance(event, TaskManagementReceived):
            self._manage_tasks(event)
        elif isinstance(event, LogoutReceived):
            _log.info("%s: logged out", self._session.nexus)
            self._logged_out = True

    def _manage_tasks(self, request: TaskManagementReceived) -> None:
        response = manage_tasks(request, self._host, self._session)
        cold = request.function == TaskManagementFunction.TARGET_COLD_RESET
        # Who logs in once the reset has been answered is none of those that it ends.
        ended = self._host.table.all() if cold else ()
        self.connection.task_management_response(request, response)
        self.flush()
        # RFC 7143 11.5.1: "the target then MUST terminate all of its TCP connections".
        for session in ended:
            session.end()

    def _run_command(self, task: ScsiTask) -> None:
        session, host = self._session, self._host
        session.commands += 1
        session.bytes_out += len(task.data_out)
        try:
            with self._lock:
                if session.interrupted:
                    self._comply()
                if task.done:  # aborted while it stood in line
                    return
                reply = host.execute(session.nexus, task.cdb, task.data_out, task.lun)
                self._answer(task, reply)
                if not host.shared:
                    self.flush()
                    # A quick initiator makes its next command meanwhile, on a processor of its own.
                    if reply.afterwards is not None and self._commands.awake:
                        reply.afterwards()
                    return
                # The data is a view of the device server's buffer, which another session's
                # command may overwrite once the lock is free: a slow reader must not hold it.
                outgoing = [bytes(part) for part in self.connection.take_outgoing()]
        except CartridgeBusyError as exc:
            self._wait_and_retry(task, exc)
            return
        except CommandAbortedError:
            self.connection.abort_task(task)
            return
        self._send_unlocked(outgoing, reply)

    def _send_unlocked(self, outgoing: Sequence[bytes], reply: Reply) -> None:
        send_all(self.stream, outgoing)
        if reply.afterwards is not None and self._commands.awake:
            with self._lock:
                reply.afterwards()

    def _comply(self) -> None:
        """Do what others want of this session; the caller holds the unit's lock."""
        session = self._session
        session.interrupted = False
        if session.ended:
            session.interrupted = True
            raise SessionEndedError("the session was ended")
        while session.doomed:
            task = session.doomed.popleft()
            for connection in session.connections.values():
                connection.abort_task(task)
        within_s, session.logout_within_s = session.logout_within_s, None
        if within_s is not None:
            for connection in session.connections.values():
                connection.request_logout(within_s)
            self.flush()

    def _wait_and_retry(self, task: ScsiTask, busy: CartridgeBusyError) -> None:
        """Run the command again until it goes on, serving NOPs and aborts meanwhile.

        After the bound the initiator gets BUSY: it knows to come again, and
        neither of us holds a command for ever (design: pressure, not failure).
        """
        session = self._session
        self._commands.rest()  # it may take as long as the store does
        session.waiting_luns.add(task.lun)
        try:
            self._retry_until_it_goes_on(task, busy)
        finally:
            session.waiting_luns.discard(task.lun)

    def _retry_until_it_goes_on(self, task: ScsiTask, busy: CartridgeBusyError) -> None:
        session, host = self._session, self._host
        deadline = time.monotonic() + self._times.busy_timeout_s
        while True:
            self._serve_meanwhile(busy.retry_after_s)
            try:
                with self._lock:
                    if session.interrupted:
                        self._comply()
                    if task.done:
                        break
                    reply = host.execute(session.nexus, task.cdb, task.data_out, task.lun)
                    self._answer(task, reply)
                    outgoing = [bytes(part) for part in self.connection.take_outgoing()]
                self._send_unlocked(outgoing, reply)
                return
            except CommandAbortedError:
                self.connection.abort_task(task)
                break
            except CommandUnfinishedError as exc:
                busy, deadline = exc, time.monotonic() + self._times.busy_timeout_s
            except CartridgeBusyError as exc:
                busy = exc
            if time.monotonic() > deadline:
                _log.warning("%s: %s: answered BUSY", session.nexus, busy)
                self._answer(task, Reply(Status.BUSY))
                break
        self.flush()

    def _serve_alone(self, wait_s: float) -> None:
        """Take PDUs for `wait_s`; commands of a unit whose command waits queue up behind it."""
        deadline = time.monotonic() + wait_s
        while True:
            while (event := next_that_overtakes(self._pending, self._session)) is not None:
                self.handle(event)
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not self._readable.poll(left_s * 1000):
                return
            self.receive()

    def _answer(self, task: ScsiTask, reply: Reply) -> None:
        self._session.bytes_in += len(reply.data_in)
        self.connection.reply(
            task,
            reply.status,
            data_in=reply.data_in,
            sense=reply.sense,
            data_out_bytes=reply.data_out_bytes,
        )

    def flush(self) -> None:
        """Send what the core has queued."""
        if self._outgoing:
            send_all(self.stream, self.connection.take_outgoing())


def _bound_waits(stream: socket.socket, times: SessionTimes) -> None:
    """Let no wait on the socket last for ever; the kernel keeps the time, at no cost to us."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _RECEIVE_TIMEOUT)
    # An initiator that is gone, or takes nothing, must not hold the unit by its unread data.
    if stream.family in (socket.AF_INET, socket.AF_INET6):
        timeout_ms = int(2 * times.ping_interval_s * 1000)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
