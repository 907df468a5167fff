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
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

from tapectl.iscsi.connection import TargetConnection
from tapectl.iscsi.session import SessionInfo
from tapectl.iscsi.session_state import SessionState
from tapectl.iscsi.task import ScsiTask
from tapectl.scsi.logical_unit import LogicalUnit, Reply
from tapectl.serve.session_table import SESSIONS_MAX, Occupant, SessionTable


class CommandAbortedError(Exception):
    """Another session has ended the command: it has no answer."""


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
    `waiting_luns` are those of the commands that wait for data or room.
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
    waiting_luns: set[int] = field(default_factory=set)
    finished: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.nexus = self.info.nexus

    @property
    def relayed(self) -> bool:
        return False

    @property
    def initiator_name(self) -> str:
        return self.info.initiator_name

    def end(self) -> None:
        """Let no further command run, and wake the session's thread; from any thread."""
        self.ended = True
        self.interrupted = True
        for stream in list(self.connections):
            shut_down(stream)

    def lose_commands(self, lun: int | None) -> bool:
        """See Occupant.lose_commands."""
        tasks = [
            task
            for connection in list(self.connections.values())
            for task in connection.living_tasks()
            if lun is None or task.lun == lun
        ]
        if tasks:
            self.doomed.extend(tasks)
            self.interrupted = True
        return bool(tasks)

    def ask_to_log_out(self, within_s: int) -> None:
        """See Occupant.ask_to_log_out."""
        self.logout_within_s = within_s
        self.interrupted = True


class SessionHost(Protocol):
    """What a session runs its commands on: one unit, or those of the library behind one target."""

    table: SessionTable

    @property
    def execute(self) -> Callable[[str, bytes, memoryview, int], Reply]:
        """LogicalUnit.execute, called under `lock_of` the session. Raises CommandAbortedError."""
        ...

    @property
    def luns(self) -> int:
        """How many logical units there are, from LUN 0 on."""
        ...

    @property
    def shared(self) -> bool:
        """Whether a reply's data may be overwritten once `lock_of` its session is free."""
        ...

    def lock_of(self, session: Occupant) -> threading.Lock: ...

    def establish(self, session: Session) -> None:
        """Let a session that is in the table begin. None of one that it reinstates runs any more.

        The nexus lives on through a reinstatement: nothing was lost, so device servers are not
        told and invent no unit attention.
        """
        ...

    def detach(self, session: Session) -> None:
        """Leave; the nexus is lost unless a reinstated session has taken it over."""
        ...

    def reset(self, session: Occupant, lun: int) -> None:
        """Logical unit reset, asked for by a session; those of others lose their commands."""
        ...

    def clear_task_set(self, session: Occupant, lun: int) -> None:
        """CLEAR TASK SET, asked for by a session; those of others lose their commands."""
        ...


class UnitHost:
    """Owns one logical unit and the table of its sessions. Thread-safe; a SessionHost."""

    luns = 1

    def __init__(self, unit: LogicalUnit, sessions_max: int = SESSIONS_MAX) -> None:
        self.unit = unit
        self.execute = unit.execute
        self.lock = threading.Lock()
        self.table = SessionTable(sessions_max)
        self._occupants = self.table.by_nexus
        unit.abort_tasks_by(self._abort_tasks_of)

    def lock_of(self, _session: Occupant) -> threading.Lock:
        """Return the unit's lock, whoever asks."""
        return self.lock

    def establish(self, session: Occupant) -> None:
        """See SessionHost.establish."""
        with self.lock:
            if not session.reinstates:
                self.unit.nexus_established(session.nexus)

    def detach(self, session: Occupant) -> None:
        """See SessionHost.detach."""
        if self.table.leave(session):
            with self.lock:
                self.unit.nexus_lost(session.nexus)

    @property
    def shared(self) -> bool:
        """Whether more than one session may run commands."""
        return len(self._occupants) > 1

    def reset(self, session: Occupant, _lun: int) -> None:
        """See SessionHost.reset."""
        with self.lock:
            self._abort_others(session, None)
            self.unit.logical_unit_reset()

    def clear_task_set(self, session: Occupant, lun: int) -> None:
        """See SessionHost.clear_task_set."""
        with self.lock:
            for loser in self._abort_others(session, lun):
                self.unit.commands_cleared(loser.nexus)

    def _abort_others(self, session: Occupant, lun: int | None) -> list[Occupant]:
        return [
            other for other in self.table.all() if other is not session and other.lose_commands(lun)
        ]

    def _abort_tasks_of(self, nexuses: Collection[str]) -> None:
        for session in self.table.all():
            if session.nexus in nexuses:
                session.lose_commands(None)


def shut_down(stream: socket.socket) -> None:
    """Wake whoever blocks on a socket; it may be gone already."""
    with contextlib.suppress(OSError):
        stream.shutdown(socket.SHUT_RDWR)
