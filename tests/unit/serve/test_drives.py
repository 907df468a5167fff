"""What the supervisor has a drive's worker load, and what it never does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tapectl.gateway.devices import DeviceInfo
from tapectl.gateway.settings import Settings
from tapectl.serve import drives
from tapectl.serve.drives import DriveUnit
from tapectl.serve.json_lines import Message
from tapectl.state.database import State


class Worker:
    """A child that takes a tape when it can, and keeps what it was asked to load."""

    ready = True
    name = "drive-01"

    def __init__(self) -> None:
        self.can_load = False
        self.loads: list[str] = []

    def request(self, message: Message) -> Message:
        if message["op"] != "load":
            return {"ok": True}
        self.loads.append(str(message["barcode"]))
        return {"ok": self.can_load, "message": "the store is away"}


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def drive(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> DriveUnit:
    """A drive whose tape could not be loaded when its worker started."""
    device = cast("DeviceInfo", SimpleNamespace(drive_number=1, element_address=1))
    unknown: Any = None
    drive = DriveUnit(
        device, "CHANGER", cast("State", unknown), cast("Settings", unknown), lock_fd=-1
    )
    monkeypatch.setattr(drive, "child", worker)
    monkeypatch.setattr(drives, "barcode_in_element", lambda *_: "VTL001")
    drive._started(False)
    assert drive.lacks_tape
    return drive


def test_it_is_tried_again_until_it_is_loaded_and_not_after(
    drive: DriveUnit, worker: Worker
) -> None:
    drive.load_again()
    assert drive.lacks_tape
    worker.can_load = True
    drive.load_again()
    assert not drive.lacks_tape
    drive.load_again()
    assert worker.loads == ["VTL001"] * 3


def test_a_tape_that_was_put_in_instead_is_never_opened_once_more(
    drive: DriveUnit, worker: Worker
) -> None:
    drive.unload()
    assert not drive.lacks_tape
    worker.can_load = True
    drive.load("VTL002")
    drive.load_again()
    assert worker.loads == ["VTL001", "VTL002"]
