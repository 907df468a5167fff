"""The kernel's target as the front end, with folders for configfs and a buffer for the ring."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapectl.gateway.activation import ActivationRequest, activate, describe_gateway
from tapectl.gateway.devices import list_devices
from tapectl.gateway.initiators import allow_initiator
from tapectl.gateway.settings import FrontEndKind, Settings
from tapectl.scsi.cartridge import CartridgeBusyError
from tapectl.serve import kernel_front_end
from tapectl.serve.changer import ChangerUnit
from tapectl.serve.drives import WorkerDrives
from tapectl.serve.front_end_choice import uses_kernel_target
from tapectl.serve.kernel_front_end import KernelFrontEnd
from tapectl.state.database import State
from tapectl.store.memory import MemoryStore
from tests.support.closing import closed_at_end
from tests.support.fake_configfs import FakeConfigfs
from tests.support.fake_kernel import FakeKernel

ONE = "iqn.1993-08.org.debian:01:one"
INQUIRY = bytes.fromhex("12 00 00 00 24 00")
TEST_UNIT_READY = bytes(6)


class Served:
    """A gateway of two drives and what the kernel sees of it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.configfs = FakeConfigfs(folder, monkeypatch)
        self.kernel = FakeKernel()
        monkeypatch.setattr(kernel_front_end, "require", lambda _fabric: None)
        monkeypatch.setattr(kernel_front_end, "UioDevice", lambda _name: self.kernel)
        path = folder / "state" / "tapectl.db"
        request = ActivationRequest(name="lab", store_url="s3://bucket/x", drive_count=2)
        activate(path, request, open_store=lambda _record: MemoryStore(), now_ms=lambda: 1)
        self.state = closed_at_end(State.open(path))
        self.settings = Settings.load({}, Path("/dev/null"), state_path=path)
        self.gateway = describe_gateway(self.state)

    def front_end(self) -> KernelFrontEnd:
        devices = list_devices(self.state)
        self.changer = ChangerUnit(
            devices[0], self.gateway, self.state, self.settings, WorkerDrives([])
        )
        made = KernelFrontEnd(self.settings, self.state, self.gateway.id, self.changer, devices)
        for device in devices:
            made.ring_of(device)
        made.open()
        return made


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    one = Served(tmp_path, monkeypatch)
    yield one
    one.state.close()


def test_every_device_has_a_target_and_the_changer_answers(served: Served) -> None:
    front_end = served.front_end()
    assert served.configfs.folders("iscsi") == sorted(front_end.targets)
    assert len(front_end.targets) == 3
    (answer,) = served.kernel.await_answers(served.kernel.put(INQUIRY, room=36))
    assert answer.data_in[0] == 8  # a medium changer
    assert front_end.addresses == ["127.0.0.1:3260"]
    front_end.close(keep=False)
    front_end.drain()
    assert served.configfs.folders("iscsi") == []
    assert served.configfs.folders("core") == []


def test_a_target_that_is_kept_is_gone_on_with_and_told_of_the_restart(served: Served) -> None:
    front_end = served.front_end()
    served.kernel.await_answers(served.kernel.put(TEST_UNIT_READY))
    front_end.close(keep=True)
    front_end.drain()
    waiting = served.kernel.put(TEST_UNIT_READY)
    assert served.kernel.answers() == {}
    again = served.front_end()
    (answer,) = served.kernel.await_answers(waiting)
    assert (answer.status, answer.sense[12]) == (2, 0x29)
    again.drain()


def test_a_change_of_access_reaches_the_kernel(served: Served) -> None:
    front_end = served.front_end()
    drive = list_devices(served.state)[1]
    allow_initiator(served.state, drive.name, ONE)
    front_end.drop_sessions(drive.name, ONE)
    assert served.configfs.folders(f"iscsi/{drive.target_name}/tpgt_1/acls") == [ONE]
    assert front_end.sessions(drive) == []
    front_end.drain()


def test_a_reload_changes_how_long_a_command_waits(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    front_end = served.front_end()

    def wait(*_: object) -> None:
        raise CartridgeBusyError("a drive loads", retry_after_s=0.01)

    monkeypatch.setattr(served.changer.unit, "execute", wait)
    front_end.take_over(dataclasses.replace(served.settings, busy_timeout_s=0.02))
    (answer,) = served.kernel.await_answers(served.kernel.put(TEST_UNIT_READY))
    assert answer.status == 8
    front_end.drain()


@pytest.mark.parametrize(
    ("kind", "there", "kernels"),
    [("user", True, False), ("lio", False, True), ("auto", True, True), ("auto", False, False)],
)
def test_which_target_serves(
    monkeypatch: pytest.MonkeyPatch, kind: str, there: bool, kernels: bool
) -> None:
    from tapectl.lio import requirements

    lacking = [] if there else [requirements.Missing("a module", "load it")]
    monkeypatch.setattr(requirements, "missing", lambda _fabric: lacking)
    settings = Settings.load({}, Path("/dev/null"), frontend=kind)
    assert settings.frontend is FrontEndKind(kind)
    assert uses_kernel_target(settings) is kernels
