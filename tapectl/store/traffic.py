"""How fast bytes go to a store and come from it: limits, held where the bytes flow, and counts.

A wrapper around a store could only delay whole objects, each of which would then go in one burst;
so the stores themselves pass their bytes by a `Pace`.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from typing import BinaryIO, cast

Body = bytes | bytearray | memoryview | BinaryIO
Rate = Callable[[], float | None]
"""Returns the limit as it is now, in bytes a second; None: there is none. Called often."""

# What passes at once takes so long at the limit: a new one is felt after it, at any rate. Each
# thread may have passed one at the old limit.
_PIECE_S = 0.1
_PIECE_BYTES_MAX = 64 * 1024
# Pauses and waits that came out too long are made up for, up to this: what lies between two objects
# (the next one is read and compressed, a manifest is written). It is also the largest burst.
_LAG_S = 1.0
# Shorter waits are left to the next piece.
_WAIT_MIN_S = 0.005


class Pace:
    """One direction. Any thread; all of them share the limit."""

    def __init__(
        self, rate: Rate, *, monotonic_s: Callable[[], float], sleep: Callable[[float], object]
    ) -> None:
        self._rate = rate
        self._monotonic_s = monotonic_s
        self._sleep = sleep
        self._lock = threading.Lock()
        # When the next byte may pass.
        self._free_s = monotonic_s()
        self.passed_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Return when so many bytes may pass; they count from now on."""
        with self._lock:
            self.passed_bytes += size_bytes
            now_s, rate = self._monotonic_s(), self._rate()
            if rate is None:
                self._free_s = now_s
                return
            start_s = max(self._free_s, now_s - _LAG_S)
            self._free_s = start_s + size_bytes / rate
        if start_s - now_s >= _WAIT_MIN_S:
            self._sleep(start_s - now_s)

    def take_pieces(self, size_bytes: int) -> None:
        """As `take` for bytes that are there at once: return when the last piece may pass."""
        while size_bytes > 0:
            piece_bytes = self.piece_bytes(size_bytes)
            self.take(piece_bytes)
            size_bytes -= piece_bytes

    def piece_bytes(self, wanted_bytes: int) -> int:
        """Return how many of the bytes to pass at once."""
        rate = self._rate()
        if rate is None:
            return wanted_bytes
        return max(1, min(wanted_bytes, _PIECE_BYTES_MAX, int(rate * _PIECE_S)))

    def wrap(self, body: Body) -> Body:
        """Return a body that lets itself be read no faster than the limit.

        Where there is none now, bytes are returned as they are and counted: reading them in pieces
        would cost CPU for nothing.
        """
        if isinstance(body, bytes | bytearray | memoryview):
            if self._rate() is None:
                self.take(len(body))
                return body
            body = io.BytesIO(body)
        return cast("BinaryIO", _PacedFile(body, self))


class Traffic:
    """Both directions of one gateway. `end` lifts the limits, so that what is under way can finish.

    `sleep` takes seconds; without it `end` cuts waits short.
    """

    def __init__(
        self,
        upload: Rate = lambda: None,
        download: Rate = lambda: None,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._ended = threading.Event()
        wait = sleep or self._ended.wait
        self.up = Pace(self._until_end(upload), monotonic_s=monotonic_s, sleep=wait)
        self.down = Pace(self._until_end(download), monotonic_s=monotonic_s, sleep=wait)

    def end(self) -> None:
        """Lift the limits for good."""
        self._ended.set()

    def _until_end(self, rate: Rate) -> Rate:
        return lambda: None if self._ended.is_set() else rate()


class _PacedFile:
    """What stores need of a file: `read`, and `seek` and `tell` to begin anew."""

    def __init__(self, file: BinaryIO, pace: Pace) -> None:
        self._file = file
        self._pace = pace

    def read(self, size_bytes: int = -1) -> bytes:
        """Read up to so many bytes, perhaps fewer; all there are where it is negative."""
        if size_bytes < 0:
            return b"".join(iter(lambda: self.read(io.DEFAULT_BUFFER_SIZE), b""))
        piece = self._file.read(self._pace.piece_bytes(size_bytes))
        self._pace.take(len(piece))
        return piece

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
