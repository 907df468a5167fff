"""A logical unit and the sessions that use it, in one process.

Keeps the lock that lets one thread at a time call the device server, and the
list of sessions, so that a reinstated session takes the place of its
predecessor (RFC 7143 6.3.5) instead of standing beside it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass

from tapectl.scsi.logical_unit import LogicalUnit

# Sessions one device takes; a backup server has one or two a device.
SESSIONS_MAX = 64


@dataclass(eq=False, slots=True)
class Session:
    """One full-feature session and its socket, which its connection loop owns."""

    nexus: str
    initiator_name: str
    peer: str
    stream: socket.socket
    commands: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class UnitHost:
    """Owns one logical unit and the table of its sessions. Thread-safe."""

    def __init__(self, unit: LogicalUnit) -> None:
        self.unit = unit
        self.lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._table_lock = threading.Lock()

    def attach(self, session: Session) -> bool:
        """Enter a session; False if there are too many. Ends the session it reinstates.

        The nexus lives on through a reinstatement: nothing was lost, so the
        device server is not told and invents no unit attention.
        """
        with self._table_lock:
            old = self._sessions.get(session.nexus)
            if old is None and len(self._sessions) >= SESSIONS_MAX:
                return False
            self._sessions[session.nexus] = session
        if old is not None:
            shut_down(old.stream)
        else:
            with self.lock:
                self.unit.nexus_established(session.nexus)
        return True

    def detach(self, session: Session) -> None:
        """Leave; the nexus is lost unless a reinstated session has taken it over."""
        with self._table_lock:
            if self._sessions.get(session.nexus) is not session:
                return
            del self._sessions[session.nexus]
        with self.lock:
            self.unit.nexus_lost(session.nexus)

    def sessions(self) -> list[Session]:
        with self._table_lock:
            return list(self._sessions.values())

    @property
    def shared(self) -> bool:
        """Whether more than one session may run commands."""
        return len(self._sessions) > 1

    def drop_sessions(self) -> None:
        """End every session; each loop then detaches by itself."""
        for session in self.sessions():
            shut_down(session.stream)


def shut_down(stream: socket.socket) -> None:
    """Wake whoever blocks on a socket; it may be gone already."""
    with contextlib.suppress(OSError):
        stream.shutdown(socket.SHUT_RDWR)
