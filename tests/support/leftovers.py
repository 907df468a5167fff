"""What a test leaves behind in this process: threads that run, and open files."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

_DESCRIPTORS = "/proc/self/fd"
# What was told to end may be on its way there.
_ENDING_S = 2.0
_POLL_S = 0.01
# Of the process, not of a test: they begin with the first job and end with the interpreter.
_OF_THE_PROCESS = ("drop_", "flush_")


class Leftovers:
    """What is there now, and was not when this was made. `forget` is to let go of what may still
    refer to it; it is called, as the garbage collector is, only where there is something."""

    def __init__(self, forget: Callable[[], None]) -> None:
        self._forget = forget
        self._threads = set(threading.enumerate())
        self._files = open_files()

    @contextlib.contextmanager
    def expected(self) -> Iterator[None]:
        """What comes meanwhile may stay."""
        threads, files = set(threading.enumerate()), open_files()
        yield
        self._threads |= set(threading.enumerate()) - threads
        self._files += open_files() - files

    def names(self) -> Sequence[str]:
        """Return what threads and files are called."""
        for last_resort in (self._forget, gc.collect):
            if not self._names():
                return ()
            last_resort()
        deadline_s = time.monotonic() + _ENDING_S
        while (names := self._names()) and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        return names

    def _names(self) -> Sequence[str]:
        threads = [
            f"thread {one.name}"
            for one in set(threading.enumerate()) - self._threads
            if not one.name.startswith(_OF_THE_PROCESS)
        ]
        files = open_files()
        more = files.total() > self._files.total()
        return sorted(threads) + (sorted((files - self._files).elements()) if more else [])


def open_files() -> Counter[str]:
    """Return the names of the files that this process has open, as often as each is."""
    names: Counter[str] = Counter()
    for number in os.listdir(_DESCRIPTORS):
        with contextlib.suppress(FileNotFoundError):  # the one of this list itself
            names[os.readlink(f"{_DESCRIPTORS}/{number}")] += 1
    return names
