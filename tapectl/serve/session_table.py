"""Who uses a unit, by I_T nexus: entered, reinstated, asked to leave, ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

# Sessions one target takes; a backup server has one or two a device.
SESSIONS_MAX = 64


class Occupant(Protocol):
    """A session of a unit's own target, or (`relayed`) of the target of the whole library.

    `reinstates` is set when it takes the place of another of its nexus.
    """

    nexus: str
    reinstates: bool

    @property
    def relayed(self) -> bool: ...

    @property
    def initiator_name(self) -> str: ...

    def end(self) -> None:
        """Let no further command run, and let the session end; from any thread."""
        ...

    def lose_commands(self, lun: int | None) -> bool:
        """End its commands (to one logical unit) without an answer; say whether there were any.

        The caller holds the unit's lock.
        """
        ...

    def ask_to_log_out(self, within_s: int) -> None:
        """Ask the initiator to leave; from any thread."""
        ...


class SessionTable:
    """The sessions of a unit by nexus. Thread-safe; `by_nexus` may be looked at by any thread."""

    def __init__(self, sessions_max: int = SESSIONS_MAX) -> None:
        self.by_nexus: dict[str, Occupant] = {}
        self._sessions_max = sessions_max
        self._changed = threading.Condition()

    def enter(self, session: Occupant) -> bool:
        """Enter a session; False if there are too many. Ends the session that it reinstates."""
        with self._changed:
            old = self.by_nexus.get(session.nexus)
            alike = sum(other.relayed == session.relayed for other in self.by_nexus.values())
            if old is None and alike >= self._sessions_max:
                return False
            self.by_nexus[session.nexus] = session
        session.reinstates = old is not None
        if old is not None:
            old.end()
        return True

    def leave(self, session: Occupant) -> bool:
        """Take a session out; False if its nexus lives on in one that has reinstated it."""
        with self._changed:
            if self.by_nexus.get(session.nexus) is not session:
                return False
            del self.by_nexus[session.nexus]
            self._changed.notify_all()
        return True

    def all(self) -> list[Occupant]:
        with self._changed:
            return list(self.by_nexus.values())

    def find(self, nexus: str) -> Occupant | None:
        with self._changed:
            return self.by_nexus.get(nexus)

    def drop(self, which: Callable[[Occupant], bool] = lambda _session: True) -> None:
        """End every session, or those of a kind; each then leaves by itself."""
        for session in filter(which, self.all()):
            session.end()

    def drain(self, within_s: float) -> None:
        """Ask all initiators to log out, wait for them so long, then end what is left."""
        deadline = time.monotonic() + within_s
        if within_s:
            for session in self.all():
                session.ask_to_log_out(max(1, round(within_s)))
        with self._changed:
            while self.by_nexus and (left_s := deadline - time.monotonic()) > 0:
                self._changed.wait(left_s)
        self.drop()
