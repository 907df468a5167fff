"""What the connections of one session share (RFC 7143 4.2.2): command numbers, events, each other.

Only one thread at a time may touch the connections of a session; they have no locks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tapectl.iscsi.command_window import CommandWindow
from tapectl.iscsi.constants import SERIAL_MASK

if TYPE_CHECKING:
    from tapectl.iscsi.events import Event
    from tapectl.iscsi.full_feature import FullFeature
    from tapectl.iscsi.task import ScsiTask

# Serial numbers are compared in half their range (RFC 1982).
_HALF = 1 << 31


class SessionState:
    """One session. `members` are its connections in their full-feature phase, by CID.

    `events` is what has happened on any of them, in the order in which it must be acted on: a
    command that one connection had to hold back may become due by what comes on another.
    """

    __slots__ = ("_waiting", "data_out_bytes", "events", "members", "window")

    def __init__(self, exp_cmd_sn: int, max_cmd_sn: int) -> None:
        self.window = CommandWindow(exp_cmd_sn, max_cmd_sn)
        self.events: list[Event] = []
        self.members: dict[int, FullFeature] = {}
        # Held for writes that are being gathered or executed.
        self.data_out_bytes = 0
        # Bounded by what each connection may have under way in immediate requests.
        self._waiting: list[tuple[int, Callable[[], None]]] = []

    @property
    def several(self) -> bool:
        return len(self.members) > 1

    def join(self, cid: int, member: FullFeature) -> None:
        self.members[cid] = member
        if self.several:
            for each in self.members.values():
                each.share_session()

    def leave(self, cid: int) -> None:
        self.members.pop(cid, None)

    def tasks(self) -> Mapping[int, ScsiTask]:
        """Return the living tasks of all connections by their tags, which a session has once."""
        found: dict[int, ScsiTask] = {}
        for member in self.members.values():
            found |= member.tasks
        return found

    def owner(self, task: ScsiTask) -> FullFeature | None:
        """Return the connection that a living task is allegiant to (RFC 7143 4.2.2.3)."""
        for member in self.members.values():
            if member.tasks.get(task.itt) is task:
                return member
        return None

    def when_received(self, cmd_sn: int, action: Callable[[], None]) -> None:
        """Run `action` once all commands before `cmd_sn` have come, perhaps now.

        An immediate request may overtake, on its own connection, commands that were sent before
        it on another. On one connection nothing overtakes, so there is nothing to wait for.
        """
        if self.several and (cmd_sn - self.window.exp_cmd_sn - 1) & SERIAL_MASK < _HALF:
            self._waiting.append((cmd_sn, action))
        else:
            action()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def commands_came(self) -> None:
        """Run what has waited for commands that are here now."""
        expected = self.window.exp_cmd_sn
        due = [a for sn, a in self._waiting if (sn - expected - 1) & SERIAL_MASK >= _HALF]
        self._waiting = [
            item for item in self._waiting if (item[0] - expected - 1) & SERIAL_MASK < _HALF
        ]
        for action in due:
            action()
