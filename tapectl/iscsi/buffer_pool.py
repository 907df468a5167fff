"""Receive buffers that are used again, so that a steady writer always fills the same memory."""

from __future__ import annotations

from typing import Final

# A data segment is received together with its padding and digest in one piece; what follows
# overwrites them (at most 3 + 4 bytes).
TAIL_BYTES: Final = 8
# Sizes are rounded up to this, so that writers of mixed block sizes share buffers.
_STEP_BYTES: Final = 64 * 1024
# More buffers than this are never idle for long: deeper queues allocate.
_FREE_BUFFERS_MAX: Final = 4


class BufferPool:
    """Hands out writable views; the last one given back is the first to be handed out again."""

    __slots__ = ("_free", "_free_bytes", "_free_bytes_max")

    def __init__(self, free_bytes_max: int = 16 * 1024 * 1024) -> None:
        self._free: list[memoryview] = []
        self._free_bytes = 0
        self._free_bytes_max = free_bytes_max

    def take(self, size_bytes: int) -> memoryview:
        """Return a buffer of at least `size_bytes` + TAIL_BYTES; its content is anything.

        The caller has checked `size_bytes` against a limit.
        """
        free = self._free
        needed = size_bytes + TAIL_BYTES
        for index in range(len(free) - 1, -1, -1):
            if len(free[index]) >= needed:
                found = free.pop(index)
                self._free_bytes -= len(found)
                return found
        return memoryview(bytearray(-(-needed // _STEP_BYTES) * _STEP_BYTES))

    def release(self, buffer: memoryview) -> None:
        """Take a buffer back. Nothing may be received into it any more."""
        free = self._free
        free.append(buffer)
        self._free_bytes += len(buffer)
        while len(free) > _FREE_BUFFERS_MAX or self._free_bytes > self._free_bytes_max:
            # The least recently used goes.
            self._free_bytes -= len(free.pop(0))
