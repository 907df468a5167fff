"""The one buffer that a drive reads blocks into, unless it is lent another for a command."""

from __future__ import annotations

# The TRANSFER LENGTH of a variable READ has 24 bits; a fixed one may not ask for more.
MAX_TRANSFER_BYTES = 1 << 24
_FIRST_BYTES = 256 << 10


class DataBuffer:
    """Grows to the longest transfer that was asked for and is used again for every READ."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(_FIRST_BYTES))
        self._view = self._buffer[:0]
        # Memory of the transport: what is read into it is where it has to be already.
        self.lent: memoryview | None = None

    def view(self, size_bytes: int) -> memoryview:
        """Return `size_bytes` of it, at most MAX_TRANSFER_BYTES; good until it is asked again."""
        if self.lent is not None and size_bytes <= len(self.lent):
            return self.lent[:size_bytes]
        view = self._view
        if len(view) != size_bytes:
            if size_bytes > len(self._buffer):
                self._buffer = memoryview(bytearray(size_bytes))
            view = self._view = self._buffer[:size_bytes]
        return view
