"""What a device keeps outlives the process, and belongs to that device alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapectl.scsi.nonvolatile import NonvolatileMemoryError
from tapectl.state.database import State
from tapectl.state.device_memory import DeviceMemory


def test_values_are_there_after_a_restart(state: State, state_path: Path) -> None:
    memory = DeviceMemory(state, "AB00000001")
    memory.put("name", b"first")
    memory.put("name", b"\0second")
    memory.put("gone", b"x")
    memory.put("gone", None)
    state.close()
    with State.open(state_path) as again:
        memory = DeviceMemory(again, "AB00000001")
        assert memory.get("name") == b"\0second"
        assert memory.get("gone") is None
        assert DeviceMemory(again, "AB00000002").get("name") is None


def test_a_state_file_that_cannot_be_written_is_told(state: State) -> None:
    memory = DeviceMemory(state, "AB00000001")
    memory.put("name", b"kept")
    with state.read() as db:
        db.execute("PRAGMA query_only = ON")
    with pytest.raises(NonvolatileMemoryError):
        memory.put("name", b"lost")
    assert memory.get("name") == b"kept"
