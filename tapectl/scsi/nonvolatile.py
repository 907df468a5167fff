"""What a device keeps while it is without power: reservations, saved mode pages, counters."""

from __future__ import annotations

from typing import Protocol


class NonvolatileMemoryError(Exception):
    """A value could not be kept; the one before it is still there."""


class NonvolatileMemory(Protocol):
    """Named values of one device. Its owner calls it from one thread at a time."""

    def get(self, name: str) -> bytes | None:
        """Return what was put last under this name, None for nothing.

        Raises NonvolatileMemoryError.
        """
        ...

    def put(self, name: str, value: bytes | None) -> None:
        """Keep a value, durable on return; None forgets it. Raises NonvolatileMemoryError."""
        ...


class VolatileMemory:
    """Keeps values as long as itself: for a device nobody restarts, and for tests."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    def get(self, name: str) -> bytes | None:
        return self._values.get(name)

    def put(self, name: str, value: bytes | None) -> None:
        if value is None:
            self._values.pop(name, None)
        else:
            self._values[name] = value
