"""Command numbering: CmdSN, ExpCmdSN, MaxCmdSN, and delivery in order (RFC 7143 4.2.2.1)."""

from __future__ import annotations

from collections.abc import Callable

from tapectl.iscsi.constants import SERIAL_MASK


class CommandWindow:
    """The window of commands an initiator may send, and the order in which they are delivered.

    A command counts as received when its header has come (`exp_cmd_sn`), and is delivered
    when it is whole and all before it have been. `max_cmd_sn` moves by one for each command
    completed, so that never more than the window's size are under way.
    """

    __slots__ = ("_ahead", "_held", "_next", "exp_cmd_sn", "max_cmd_sn")

    def __init__(self, exp_cmd_sn: int, max_cmd_sn: int) -> None:
        self.exp_cmd_sn = exp_cmd_sn
        self.max_cmd_sn = max_cmd_sn
        self._next = exp_cmd_sn
        # Both are bounded by the window.
        self._ahead: set[int] = set()
        self._held: dict[int, Callable[[], None]] = {}

    def accept(self, cmd_sn: int) -> bool:
        """Note a non-immediate command; False: it must be ignored.

        RFC 7143 4.2.2.1: "the target MUST silently ignore any non-immediate command outside
        of this range or non-immediate duplicates within the range".
        """
        ahead = (cmd_sn - self.exp_cmd_sn) & SERIAL_MASK
        if ahead >= (self.max_cmd_sn + 1 - self.exp_cmd_sn) & SERIAL_MASK:
            return False
        if ahead:
            # On one connection nothing overtakes: the initiator left a gap and may yet fill it.
            if cmd_sn in self._ahead:
                return False
            self._ahead.add(cmd_sn)
            return True
        expected = (cmd_sn + 1) & SERIAL_MASK
        while expected in self._ahead:
            self._ahead.remove(expected)
            expected = (expected + 1) & SERIAL_MASK
        self.exp_cmd_sn = expected
        return True

    def skip(self, cmd_sn: int, *, before: int) -> bool:
        """Count a command that has not come as come and done; False if it cannot be meant."""
        if (before - cmd_sn - 1) & SERIAL_MASK > SERIAL_MASK >> 1 or not self.accept(cmd_sn):
            return False
        self.complete()
        self.pass_over(cmd_sn)
        return True

    def in_order(self, cmd_sn: int) -> bool:
        """Take the next number if this is it and nothing waits behind; else use `deliver`."""
        if cmd_sn != self._next or self._held:
            return False
        self._next = (cmd_sn + 1) & SERIAL_MASK
        return True

    def deliver(self, cmd_sn: int, action: Callable[[], None]) -> None:
        """Run `action` when everything before has been delivered, perhaps now."""
        self._held[cmd_sn] = action
        while (due := self._held.pop(self._next, None)) is not None:
            self._next = (self._next + 1) & SERIAL_MASK
            due()

    def pass_over(self, cmd_sn: int) -> None:
        """Deliver nothing in place of a command that is gone."""
        self.deliver(cmd_sn, _nothing)

    def complete(self) -> None:
        """A non-immediate command has been answered or aborted: one more may come."""
        self.max_cmd_sn = (self.max_cmd_sn + 1) & SERIAL_MASK


def _nothing() -> None:
    """Stands in line for a command that is gone."""
