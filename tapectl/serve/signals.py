"""The signals of the process, heard by a thread of their own.

Python runs a handler in the main thread, between two steps of it. One that comes just before that
thread begins to wait in the kernel, for initiators say, is not run until it wakes up: maybe never.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping

_NUMBERS_MAX = 64


@contextlib.contextmanager
def heard(reactions: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """React to these signals, in the order in which they come. In the main thread only."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def hear() -> None:
        with reader:
            while numbers := reader.recv(_NUMBERS_MAX):
                for number in numbers:
                    if number in reactions:
                        reactions[signal.Signals(number)]()

    threading.Thread(target=hear, name="signals", daemon=True).start()
    # What Python writes down of a signal, it does at once and in whatever thread.
    old_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    old = {number: signal.signal(number, lambda _number, _frame: None) for number in reactions}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old_fd)
        writer.close()
