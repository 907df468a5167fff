"""A logical unit and the sessions that use it, in one process.

Keeps the lock that lets one thread at a time call the device server, and the
list of sessions, so that a reinstated session takes the place of its
predecessor (RFC 7143 6.3.5) instead of standing beside it. What others want of
a session is left at it (`Session.interrupted`): its own thread complies, as
nobody else may touch its connections.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from tapectl.iscsi.connection import TargetConnection
from tapectl.iscsi.session import SessionInfo
from tapectl.iscsi.session_state import SessionState
from tapectl.iscsi.task import ScsiTask
from tapectl.scsi.logical_unit import LogicalUnit

# Sessions one device takes; a backup server has one or two a device.
SESSIONS_MAX = 64


@dataclass(frozen=True, slots=True)
class Arrival:
    """A connection that joins a session; `resume` makes it once the session's thread has it."""

    stream: socket.socket
    cid: int
    resume: Callable[[SessionState], TargetConnection]


@dataclass(eq=False, slots=True)
class Session:
    """One full-feature session; the thread that runs it owns its sockets and connections.

    `interrupted` says that one of these is to be looked at before the next command: `ended` (run
    no more of them), `doomed` (tasks that another session has ended), `logout_within_s` (ask the
    initiator to leave). Whoever sets one of them sets `interrupted` last. `admit` takes further
    connections, from any thread, and says whether it did; None: it has but one connection.
    """

    info: SessionInfo
    peer: str
    nexus: str = field(init=False)
    commands: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    connections: dict[socket.socket, TargetConnection] = field(default_factory=dict)
    state: SessionState | None = None
    admit: Callable[[Arrival], bool] | None = None
    reinstates: bool = False
    interrupted: bool = False
    ended: bool = False
    doomed: deque[ScsiTask] = field(default_factory=deque)
    logout_within_s: int | None = None
    finished: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.nexus = self.info.nexus

    @property
    def initiator_name(self) -> str:
        return self.info.initiator_name

    def end(self) -> None:
        """Let no further command run, and wake the session's thread; from any thread."""
        self.ended = True
        self.interrupted = True
        for stream in list(self.connections):
            shut_down(stream)


class UnitHost:
    """Owns one logical unit and the table of its sessions. Thread-safe."""

    def __init__(self, unit: LogicalUnit) -> None:
        self.unit = unit
        self.lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._table_changed = threading.Condition()
        unit.abort_tasks_by(self._abort_tasks_of)

    def attach(self, session: Session) -> bool:
        """Enter a session; False if there are too many. Ends the session that it reinstates."""
        with self._table_changed:
            old = self._sessions.get(session.nexus)
            if old is None and len(self._sessions) >= SESSIONS_MAX:
                return False
            self._sessions[session.nexus] = session
        session.reinstates = old is not None
        if old is not None:
            old.end()
        return True

    def establish(self, session: Session) -> None:
        """Let an attached session begin. No command of one that it reinstates runs any more.

        The nexus lives on through a reinstatement: nothing was lost, so the
        device server is not told and invents no unit attention.
        """
        with self.lock:
            if not session.reinstates:
                self.unit.nexus_established(session.nexus)

    def detach(self, session: Session) -> None:
        """Leave; the nexus is lost unless a reinstated session has taken it over."""
        session.finished.set()
        with self._table_changed:
            if self._sessions.get(session.nexus) is not session:
                return
            del self._sessions[session.nexus]
            self._table_changed.notify_all()
        with self.lock:
            self.unit.nexus_lost(session.nexus)

    def sessions(self) -> list[Session]:
        with self._table_changed:
            return list(self._sessions.values())

    def find(self, nexus: str, tsih: int) -> Session | None:
        """Return the session of a nexus if its handle is the one given."""
        with self._table_changed:
            session = self._sessions.get(nexus)
        return session if session is not None and session.info.tsih == tsih else None

    @property
    def shared(self) -> bool:
        """Whether more than one session may run commands."""
        return len(self._sessions) > 1

    def abort_others(self, session: Session, lun: int | None) -> list[Session]:
        """End the commands of all sessions but one (to one logical unit), without an answer.

        The caller holds the unit's lock. Returns the sessions that have lost commands.
        """
        return self._abort(lambda other: other is not session, lun)

    def _abort_tasks_of(self, nexuses: Collection[str]) -> None:
        self._abort(lambda session: session.nexus in nexuses, None)

    def _abort(self, which: Callable[[Session], bool], lun: int | None) -> list[Session]:
        losers = []
        for session in filter(which, self.sessions()):
            tasks = [
                task
                for connection in list(session.connections.values())
                for task in connection.living_tasks()
                if lun is None or task.lun == lun
            ]
            if tasks:
                session.doomed.extend(tasks)
                session.interrupted = True
                losers.append(session)
        return losers

    def drop_sessions(self, which: Callable[[Session], bool] = lambda _session: True) -> int:
        """End every session, or those of a kind; each loop then detaches by itself."""
        dropped = [session for session in self.sessions() if which(session)]
        for session in dropped:
            session.end()
        return len(dropped)

    def drain(self, within_s: float) -> None:
        """Ask all initiators to log out, wait for them so long, then end what is left."""
        deadline = time.monotonic() + within_s
        if within_s:
            for session in self.sessions():
                session.logout_within_s = max(1, round(within_s))
                session.interrupted = True
        with self._table_changed:
            while self._sessions and (left_s := deadline - time.monotonic()) > 0:
                self._table_changed.wait(left_s)
        self.drop_sessions()


def shut_down(stream: socket.socket) -> None:
    """Wake whoever blocks on a socket; it may be gone already."""
    with contextlib.suppress(OSError):
        stream.shutdown(socket.SHUT_RDWR)
