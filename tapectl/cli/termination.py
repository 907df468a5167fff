"""SIGTERM and SIGHUP end a command as Ctrl-C does: what it has begun is undone first."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_STATUS_BASE = 128
"""What a shell adds to the number of the signal that ended a program."""


class TerminatedError(BaseException):
    """The process has been told to end. No `Exception`, as KeyboardInterrupt is none."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_status = _STATUS_BASE + number


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Raise TerminatedError in the main thread when a signal comes that would end the process.

    One that is ignored stays so (nohup). What serves has handlers of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    changed = [one for one in _SIGNALS if signal.getsignal(one) is signal.SIG_DFL]
    for one in changed:
        signal.signal(one, _end)
    try:
        yield
    finally:
        for one in changed:
            signal.signal(one, signal.SIG_DFL)


def _end(number: int, _frame: FrameType | None) -> None:
    raise TerminatedError(number)
