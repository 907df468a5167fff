"""An I_T nexus of the library target at one unit, in the process that the unit is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tapectl.scsi.cartridge import CartridgeBusyError
from tapectl.scsi.logical_unit import IMPLICIT_HEAD_OF_QUEUE, Reply
from tapectl.serve.unit_host import CommandAbortedError, UnitHost


class UnitNexus:
    """Stands in the table of a unit for a session that runs elsewhere; an Occupant.

    One thread at a time runs its commands. Its task set is what has been given to `execute` and
    has not been answered: one command, running or waiting for data or room.
    """

    relayed = True

    def __init__(
        self,
        host: UnitHost,
        nexus: str,
        initiator_name: str,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_end` is called when the unit wants to be rid of it, from any thread."""
        self.nexus = nexus
        self.initiator_name = initiator_name
        self.reinstates = False
        self._host = host
        self._on_end = on_end
        self._waiting: bytes | None = None  # the CDB of the command that waits
        self._living = False
        self._lost = False

    def open(self) -> None:
        """Enter the unit's table; raise ConnectionRefusedError if there are too many."""
        if not self._host.table.enter(self):
            raise ConnectionRefusedError("too many sessions")
        self._host.establish(self)

    def close(self) -> None:
        """Leave: the nexus is lost."""
        self._host.detach(self)

    def execute(self, cdb: bytes, data_out: memoryview, lun: int = 0) -> Reply:
        """Run a command, or the one that waits if `cdb` is the same object, as LogicalUnit does.

        One that stands behind none leaves the one that waits as it is. Any other takes its place.
        The reply's data are the caller's. Raises CartridgeBusyError, and CommandAbortedError.
        """
        host = self._host
        waiting = self._waiting
        if waiting is not None and cdb is not waiting and cdb[0] in IMPLICIT_HEAD_OF_QUEUE:
            with host.lock:
                return _with_own_data(host.execute(self.nexus, cdb, data_out, lun))
        if cdb is not waiting:
            self._lost = False
        self._waiting = None
        self._living = True
        with host.lock:
            # Not before the lock is free may somebody else have ended it.
            if self._lost:
                self._living = self._lost = False
                raise CommandAbortedError
            try:
                reply = host.execute(self.nexus, cdb, data_out, lun)
            except CartridgeBusyError:
                self._waiting = cdb
                raise
            self._living = False
            return _with_own_data(reply)

    def reset(self) -> None:
        """Logical unit reset."""
        self._forget_command()
        self._host.reset(self, 0)

    def clear_task_set(self) -> None:
        """CLEAR TASK SET."""
        self._forget_command()
        self._host.clear_task_set(self, 0)

    def _forget_command(self) -> None:
        """Take note that the session has ended its own command, if there was one."""
        self._waiting = None
        self._living = False

    # Occupant: what others do to it.

    def end(self) -> None:
        """See Occupant.end."""
        self._on_end()

    def lose_commands(self, _lun: int | None) -> bool:
        """See Occupant.lose_commands."""
        self._lost = self._living
        return self._lost

    def ask_to_log_out(self, _within_s: int) -> None:
        """Nothing: the library target asks the initiator."""


def _with_own_data(reply: Reply) -> Reply:
    """Return a reply whose data no later command of the unit overwrites."""
    if isinstance(reply.data_in, memoryview):
        return replace(reply, data_in=bytes(reply.data_in))
    return reply
