"""The nonvolatile memory of the library's devices, in the state file."""

from __future__ import annotations

from tapectl.scsi.nonvolatile import NonvolatileMemoryError
from tapectl.state.database import State
from tapectl.state.errors import StateError


class DeviceMemory:
    """Implements `tapectl.scsi.nonvolatile.NonvolatileMemory` for one device, by its serial."""

    def __init__(self, state: State, device: str) -> None:
        self._state = state
        self._device = device

    def get(self, name: str) -> bytes | None:
        try:
            with self._state.read() as db:
                row = db.execute(
                    "SELECT value FROM device_memory WHERE device = ? AND name = ?",
                    (self._device, name),
                ).fetchone()
        except StateError as exc:
            raise NonvolatileMemoryError(str(exc)) from exc
        return None if row is None else bytes(row["value"])

    def put(self, name: str, value: bytes | None) -> None:
        key = (self._device, name)
        try:
            with self._state.write() as db:
                if value is None:
                    db.execute("DELETE FROM device_memory WHERE device = ? AND name = ?", key)
                else:
                    db.execute(
                        "INSERT INTO device_memory (device, name, value) VALUES (?, ?, ?)"
                        " ON CONFLICT (device, name) DO UPDATE SET value = excluded.value",
                        (*key, value),
                    )
        except StateError as exc:
            raise NonvolatileMemoryError(str(exc)) from exc
