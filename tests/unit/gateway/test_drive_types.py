"""Libraries whose drives are not all alike, and drives with an identity of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tapectl.errors import UsageError
from tapectl.gateway.activation import ActivationRequest, activate, describe_gateway
from tapectl.gateway.devices import device_serial, list_devices
from tapectl.gateway.drive_types import drive_personalities, read_profile
from tapectl.gateway.library import OfflineDrives, StateLibrary
from tapectl.scsi.changer_personality import CHANGER_PERSONALITIES
from tapectl.scsi.smc.changer import MediaChanger
from tapectl.state.database import State
from tapectl.store.memory import MemoryStore
from tests.support.closing import closed_at_end
from tests.support.scsi_initiator import Initiator

Activate = Callable[..., State]


@pytest.fixture
def activated(activation: ActivationRequest, tmp_path: Path) -> Activate:
    def make(**changes: object) -> State:
        path = tmp_path / "state" / "tapectl.db"
        store = MemoryStore()
        activate(path, replace(activation, **changes), open_store=lambda _record: store)  # type: ignore[arg-type]
        return closed_at_end(State.open(path))

    return make


def test_kinds_are_dealt_out_to_the_drives_in_turn(activated: Activate) -> None:
    state = activated(drive_type="IBM-ULT3580-TD8,HPE-Ultrium-9", drive_count=5)
    kinds = [personality.name for personality in drive_personalities(state)]
    assert kinds == ["IBM-ULT3580-TD8", "HPE-Ultrium-9"] * 2 + ["IBM-ULT3580-TD8"]
    _, first, second, *_ = list_devices(state)
    assert (first.product, second.product) == ("ULT3580-TD8", "Ultrium 9-SCSI")
    assert (first.device_type, second.device_type) == ("IBM-ULT3580-TD8", "HPE-Ultrium-9")


def test_the_largest_library_has_no_name_or_number_twice(activated: Activate) -> None:
    state = activated(drive_count=64, slot_count=10_000)
    devices = list_devices(state)
    assert len(devices) == 65
    for name in ("serial", "target_name", "id"):
        assert len({getattr(device, name) for device in devices}) == 65
    assert {len(device.serial) for device in devices[1:]} == {10}


def test_every_name_in_a_list_must_be_known(activated: Activate) -> None:
    with pytest.raises(UsageError, match="IBM-ULT3580-TD0"):
        activated(drive_type="IBM-ULT3580-TD8,IBM-ULT3580-TD0")
    with pytest.raises(UsageError):
        activated(drive_type="IBM-ULT3580-TD8,")


def test_a_profile_is_on_top_of_every_drive(activated: Activate, tmp_path: Path) -> None:
    path = tmp_path / "acme.toml"
    path.write_text('vendor = "ACME"\n[vpd]\nc5 = "cafe"\n')
    state = activated(drive_profile=read_profile(path))
    drives = drive_personalities(state)
    assert {(drive.vendor, drive.product) for drive in drives} == {("ACME", "ULT3580-TD5")}
    assert list_devices(state)[1].vendor == "ACME"
    assert list_devices(state)[0].vendor == "AWS"


@pytest.mark.parametrize("text", ["vendor = ", 'vendor = "much too long a name"', "\xff"])
def test_a_file_that_is_no_profile(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=str(path)):
        read_profile(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        read_profile(tmp_path / "missing.toml")


@pytest.mark.parametrize("changer_type", CHANGER_PERSONALITIES)
def test_the_changer_is_listed_with_the_serial_number_that_it_tells(
    activated: Activate, changer_type: str
) -> None:
    state = activated(changer_type=changer_type)
    library = StateLibrary(state, OfflineDrives(), hold_s=0, actor="cli")
    serial = device_serial(describe_gateway(state), 0)
    changer = MediaChanger(CHANGER_PERSONALITIES[changer_type], library, serial=serial)
    page = Initiator(changer).good("12018000ff")
    assert page[4:].decode() == list_devices(state)[0].serial
