"""Drives one iSCSI connection in its full-feature phase over a blocking socket.

One thread a connection and no hand-off within a command: bytes are received
into the buffer that the core names, the device server runs in this thread,
and the reply leaves in one sendmsg. This is the hot path.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections import deque
from collections.abc import Sequence

from tapectl.iscsi.connection import TargetConnection
from tapectl.iscsi.errors import ProtocolError
from tapectl.iscsi.events import (
    CommandReceived,
    Event,
    LogoutReceived,
    TaskManagementReceived,
)
from tapectl.iscsi.task import ScsiTask
from tapectl.scsi.cartridge import CartridgeBusyError
from tapectl.scsi.logical_unit import Reply, Status
from tapectl.serve.task_management import ends_sessions, manage_tasks
from tapectl.serve.unit_host import Session, UnitHost

_log = logging.getLogger(__name__)

# sendmsg takes at most IOV_MAX buffers.
_IOV_MAX = 1024


class PeerClosedError(Exception):
    """The initiator closed the connection."""


def send_all(stream: socket.socket, buffers: Sequence[bytes | memoryview]) -> None:
    """Send every byte of `buffers`; raise OSError when the peer is gone."""
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


class ConnectionLoop:
    """Runs a session on a unit until either side ends it. Owns neither the socket nor the unit."""

    def __init__(
        self,
        session: Session,
        connection: TargetConnection,
        host: UnitHost,
        *,
        busy_timeout_s: float,
    ) -> None:
        self._session = session
        self._stream = session.stream
        self._connection = connection
        self._host = host
        self._busy_timeout_s = busy_timeout_s
        self._pending: deque[Event] = deque()
        self._logged_out = False

    def run(self) -> None:
        """Serve until logout or the end of the connection. Raises nothing a peer can cause."""
        if not self._host.attach(self._session):
            _log.warning("%s: too many sessions", self._session.nexus)
            return
        try:
            while not self._logged_out:
                self._step()
        except PeerClosedError:
            _log.info("%s: connection closed by the initiator", self._session.nexus)
        except ProtocolError as exc:
            _log.warning("%s: connection dropped: %s", self._session.nexus, exc)
            self._flush_quietly()
        except OSError as exc:
            _log.info("%s: connection lost: %s", self._session.nexus, exc)
        finally:
            self._host.detach(self._session)

    def _step(self) -> None:
        self._receive()
        pending = self._pending
        while pending:
            self._handle(pending.popleft())

    def _receive(self) -> None:
        """Take one part of a PDU from the socket and answer what the core answers by itself."""
        connection = self._connection
        size = self._stream.recv_into(connection.receive_view(), 0, socket.MSG_WAITALL)
        if size == 0:
            raise PeerClosedError
        connection.received(size)
        outgoing = connection.take_outgoing()
        if outgoing:
            send_all(self._stream, outgoing)
        events = connection.events()
        if events:
            self._pending.extend(events)

    def _handle(self, event: Event) -> None:
        if isinstance(event, CommandReceived):
            self._run_command(event.task)
        elif isinstance(event, TaskManagementReceived):
            manage_tasks(event, self._connection, self._host, self._session)
            self._flush()
            if ends_sessions(event):
                self._host.drop_sessions()
        elif isinstance(event, LogoutReceived):
            _log.info("%s: logged out", self._session.nexus)
            self._logged_out = True

    def _run_command(self, task: ScsiTask) -> None:
        session, host = self._session, self._host
        if self._connection.is_aborted(task):  # while it stood in line
            return
        session.commands += 1
        session.bytes_out += len(task.data_out)
        try:
            with host.lock:
                reply = host.unit.execute(session.nexus, task.cdb, task.data_out, task.lun)
                self._answer(task, reply)
                if not host.shared:
                    self._flush()
                    return
                # The data is a view of the device server's buffer, which another session's
                # command may overwrite once the lock is free: a slow reader must not hold it.
                outgoing = [bytes(part) for part in self._connection.take_outgoing()]
        except CartridgeBusyError as exc:
            self._wait_and_retry(task, exc)
            return
        send_all(self._stream, outgoing)

    def _wait_and_retry(self, task: ScsiTask, busy: CartridgeBusyError) -> None:
        """Run the command again until it goes on, serving NOPs and aborts meanwhile.

        After the bound the initiator gets BUSY: it knows to come again, and
        neither of us holds a command for ever (design: pressure, not failure).
        """
        session, host = self._session, self._host
        deadline = time.monotonic() + self._busy_timeout_s
        while True:
            self._serve_meanwhile(busy.retry_after_s)
            if self._connection.is_aborted(task):
                self._flush()
                return
            try:
                with host.lock:
                    reply = host.unit.execute(session.nexus, task.cdb, task.data_out, task.lun)
                    self._answer(task, reply)
                    outgoing = [bytes(part) for part in self._connection.take_outgoing()]
                send_all(self._stream, outgoing)
                return
            except CartridgeBusyError as exc:
                busy = exc
            if time.monotonic() > deadline:
                _log.warning("%s: %s: answered BUSY", session.nexus, busy)
                self._answer(task, Reply(Status.BUSY))
                self._flush()
                return

    def _serve_meanwhile(self, wait_s: float) -> None:
        """Take PDUs for `wait_s`; commands queue up, task management is served at once."""
        deadline = time.monotonic() + wait_s
        while (left_s := deadline - time.monotonic()) > 0:
            readable, _, _ = select.select([self._stream], [], [], left_s)
            if not readable:
                return
            self._receive()
            waiting: deque[Event] = deque()
            for event in self._pending:
                if isinstance(event, TaskManagementReceived):
                    self._handle(event)
                else:
                    waiting.append(event)
            self._pending = waiting

    def _answer(self, task: ScsiTask, reply: Reply) -> None:
        self._session.bytes_in += len(reply.data_in)
        self._connection.reply(
            task,
            reply.status,
            data_in=reply.data_in,
            sense=reply.sense,
            data_out_bytes=reply.data_out_bytes,
        )

    def _flush(self) -> None:
        outgoing = self._connection.take_outgoing()
        if outgoing:
            send_all(self._stream, outgoing)

    def _flush_quietly(self) -> None:
        """Send a Reject that the core may have queued before it gave up."""
        try:
            self._flush()
        except OSError:
            return
