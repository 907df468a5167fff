"""The devices as initiators and admins see them, and who may log in to them."""

from __future__ import annotations

import pytest

from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.gateway.chap import (
    ChapNotFoundError,
    delete_credentials,
    list_credentials,
    login_credentials,
    set_credentials,
)
from tapectl.gateway.devices import (
    LIBRARY,
    DeviceNotFoundError,
    find_device,
    library_device,
    list_devices,
)
from tapectl.gateway.events import list_events
from tapectl.gateway.initiators import (
    InitiatorNotListedError,
    access_changed,
    access_is_limited,
    allow_initiator,
    allowed_initiators,
    disallow_initiator,
    permitted_devices,
)
from tapectl.gateway.status import gateway_status
from tapectl.medium.summary import SegmentSummary
from tapectl.state import segments, tapes
from tapectl.state.database import State
from tapectl.state.tape_status import TapeStatus
from tests.unit.gateway.conftest import DRIVE, Maker

INITIATOR = "iqn.1993-08.org.debian:01:abc"
SECRET = "correct horse"


def test_devices_are_named_as_aws_names_them(state: State, make: Maker) -> None:
    make("VTL001")
    with state.write() as db:
        tapes.update(db, "VTL001", element_address=DRIVE + 1)
    changer, first, second = list_devices(state)
    gateway = changer.target_name.split(":")[1].removesuffix("-mediachanger")
    assert gateway == gateway.lower()
    assert first.target_name == f"iqn.2026-11.io.tapectl:{gateway}-tapedrive-01"
    assert second.id == f"{gateway.upper()}_TAPEDRIVE_00002"
    assert (changer.kind, changer.device_type) == ("Medium Changer", "AWS-Gateway-VTL")
    assert (first.kind, first.vendor, first.product) == ("Tape Drive", "IBM", "ULT3580-TD5")
    assert (first.loaded_barcode, second.loaded_barcode) == (None, "VTL001")
    serials = {device.serial for device in (changer, first, second)}
    assert len(serials) == 3
    assert {len(serial) for serial in serials} == {10}


def test_a_device_is_found_by_any_of_its_names(state: State) -> None:
    device = list_devices(state)[2]
    for text in (device.id, device.name, device.target_name, device.serial, "2"):
        assert find_device(state, text) == device
    with pytest.raises(DeviceNotFoundError):
        find_device(state, "tapedrive-03")
    with pytest.raises(DeviceNotFoundError):
        find_device(state, "0")


def test_one_way_chap(state: State) -> None:
    name = find_device(state, "1").target_name
    assert login_credentials(state, name, INITIATOR) == ()
    set_credentials(state, "tapedrive-01", INITIATOR, initiator_secret=SECRET)
    (credential,) = login_credentials(state, name, INITIATOR)
    assert (credential.user, credential.secret) == (INITIATOR, SECRET.encode())
    assert credential.mutual_user is None
    assert find_device(state, "1").chap_enabled
    # Discovery and other devices stay as they were.
    assert login_credentials(state, None, INITIATOR) == ()
    assert login_credentials(state, find_device(state, "2").target_name, INITIATOR) == ()


def test_mutual_chap(state: State) -> None:
    set_credentials(state, "1", INITIATOR, initiator_secret=SECRET, target_secret="another secret")
    name = find_device(state, "1").target_name
    (credential,) = login_credentials(state, name, INITIATOR)
    assert (credential.mutual_user, credential.mutual_secret) == (name, b"another secret")
    assert SECRET not in repr(credential)
    (entry,) = list_credentials(state)
    assert entry.mutual
    assert "secret" not in repr(entry)


def test_a_stranger_is_asked_for_a_secret_that_nobody_knows(state: State) -> None:
    set_credentials(state, "1", INITIATOR, initiator_secret=SECRET)
    name = find_device(state, "1").target_name
    (credential,) = login_credentials(state, name, "iqn.2000-01.com.stranger:x")
    assert credential.secret != SECRET.encode()
    (again,) = login_credentials(state, name, "iqn.2000-01.com.stranger:x")
    assert credential.secret != again.secret


def test_only_a_lock_on_every_device_keeps_everybody_out(state: State) -> None:
    changer, first, second = list_devices(state)
    set_credentials(state, changer.id, INITIATOR, initiator_secret=SECRET)
    allow_initiator(state, first.name, INITIATOR)
    assert not access_is_limited(state)
    set_credentials(state, second.id, INITIATOR, initiator_secret=SECRET)
    assert access_is_limited(state)


def test_discovery_has_credentials_of_its_own(state: State) -> None:
    (info,) = set_credentials(
        state, "discovery", INITIATOR, initiator_secret=SECRET, target_secret="another secret"
    )
    assert info.target_name.endswith("-discovery")
    (credential,) = login_credentials(state, None, INITIATOR)
    assert (credential.user, credential.secret) == (INITIATOR, SECRET.encode())
    assert credential.mutual_user == info.target_name
    (stranger,) = login_credentials(state, None, "iqn.2000-01.com.stranger:x")
    assert stranger.secret != SECRET.encode()
    # Devices stay as they were.
    assert login_credentials(state, find_device(state, "1").target_name, INITIATOR) == ()
    assert [entry.device for entry in list_credentials(state)] == ["discovery"]
    assert delete_credentials(state, "discovery", INITIATOR) == ["discovery"]
    assert login_credentials(state, None, INITIATOR) == ()


STRANGER = "iqn.2000-01.com.stranger:x"


def test_a_list_is_exclusive_from_its_first_entry_to_its_last(state: State) -> None:
    everything = {device.name for device in list_devices(state)} | {LIBRARY}
    assert set(permitted_devices(state, STRANGER)) == everything
    allow_initiator(state, "tapedrive-01", INITIATOR)
    allow_initiator(state, "1", INITIATOR)  # again changes nothing
    assert set(permitted_devices(state, INITIATOR)) == everything
    assert set(permitted_devices(state, STRANGER)) == everything - {"tapedrive-01", LIBRARY}
    assert dict(allowed_initiators(state)) == {"tapedrive-01": [INITIATOR]}
    disallow_initiator(state, "tapedrive-01", INITIATOR)
    assert set(permitted_devices(state, STRANGER)) == everything
    told = [event.type for event in list_events(state, subject="tapedrive-01")]
    assert told == ["InitiatorAllowed", "InitiatorDisallowed"]


def test_lists_of_all_devices_at_once(state: State) -> None:
    everything = [device.name for device in list_devices(state)]
    assert [device.name for device in allow_initiator(state, "all", INITIATOR)] == everything
    assert permitted_devices(state, STRANGER) == set()
    disallow_initiator(state, "tapedrive-02", INITIATOR)
    left = disallow_initiator(state, "all", INITIATOR)
    assert [device.name for device in left] == ["mediachanger", "tapedrive-01"]
    with pytest.raises(InitiatorNotListedError) as caught:
        disallow_initiator(state, "all", INITIATOR)
    assert caught.value.exit_code == ExitCode.INITIATOR_NOT_LISTED


def test_a_secret_for_others_keeps_an_initiator_out_too(state: State) -> None:
    set_credentials(state, "2", INITIATOR, initiator_secret=SECRET)
    assert "tapedrive-02" in permitted_devices(state, INITIATOR)
    assert "tapedrive-02" not in permitted_devices(state, STRANGER)


def test_the_whole_library_is_found_by_its_own_names_only(state: State) -> None:
    library, changer = library_device(state), list_devices(state)[0]
    assert library.target_name == changer.target_name.replace("-mediachanger", "-library")
    for text in (library.id, "library", library.target_name):
        assert find_device(state, text) == library
    assert find_device(state, library.serial) == changer
    with pytest.raises(DeviceNotFoundError):
        find_device(state, "-1")


def test_the_whole_library_lets_in_whom_every_device_lets_in(state: State) -> None:
    allow_initiator(state, "tapedrive-01", INITIATOR)
    allow_initiator(state, "tapedrive-02", STRANGER)
    assert LIBRARY not in permitted_devices(state, INITIATOR)
    allow_initiator(state, "all", INITIATOR)
    assert LIBRARY in permitted_devices(state, INITIATOR)
    assert LIBRARY not in permitted_devices(state, STRANGER)
    # A list of its own comes on top.
    allow_initiator(state, LIBRARY, STRANGER)
    assert LIBRARY not in permitted_devices(state, INITIATOR)


def test_the_whole_library_has_secrets_of_its_own_that_are_asked_for_if_any_device_asks(
    state: State,
) -> None:
    library = library_device(state)
    set_credentials(state, "discovery", INITIATOR, initiator_secret=SECRET)
    assert login_credentials(state, library.target_name, INITIATOR) == ()
    assert not library_device(state).chap_enabled
    set_credentials(state, "1", INITIATOR, initiator_secret=SECRET)
    (unknown,) = login_credentials(state, library.target_name, INITIATOR)
    assert unknown.secret != SECRET.encode()
    assert library_device(state).chap_enabled
    assert LIBRARY not in permitted_devices(state, INITIATOR)
    set_credentials(state, LIBRARY, INITIATOR, initiator_secret="one of its own")
    (own,) = login_credentials(state, library.target_name, INITIATOR)
    assert own.secret == b"one of its own"
    assert LIBRARY in permitted_devices(state, INITIATOR)
    assert [info.target_name for info in list_credentials(state)].count(library.target_name) == 1


def test_whose_sessions_end_when_access_changes(state: State) -> None:
    assert access_changed(state, "tapedrive-01", INITIATOR, INITIATOR)
    assert not access_changed(state, "tapedrive-01", STRANGER, INITIATOR)
    allow_initiator(state, "1", INITIATOR)
    assert access_changed(state, "tapedrive-01", STRANGER, INITIATOR)
    assert not access_changed(state, "tapedrive-01", INITIATOR, "iqn.2000-01.com.third:x")


@pytest.mark.parametrize("name", ["", "debian", "iqn.2000-01.com.x:UPPER"])
def test_only_names_of_initiators_are_listed(state: State, name: str) -> None:
    with pytest.raises(UsageError):
        allow_initiator(state, "1", name)
    with pytest.raises(DeviceNotFoundError):
        allow_initiator(state, "tapedrive-09", INITIATOR)
    assert dict(allowed_initiators(state)) == {}


def test_deleting_credentials_opens_the_device_again(state: State) -> None:
    set_credentials(state, "1", INITIATOR, initiator_secret=SECRET)
    delete_credentials(state, "1", INITIATOR)
    assert list_credentials(state) == []
    with pytest.raises(TapectlError) as caught:
        delete_credentials(state, "1", INITIATOR)
    assert caught.value.exit_code == ExitCode.CHAP_NOT_FOUND


def test_no_secret_ever_stands_in_an_event(state: State) -> None:
    set_credentials(state, "1", INITIATOR, initiator_secret=SECRET)
    delete_credentials(state, "1", INITIATOR)
    told = list_events(state, subject="tapedrive-01")
    assert [event.type for event in told] == ["ChapCredentialsSet", "ChapCredentialsDeleted"]
    assert SECRET not in repr(told)


@pytest.mark.parametrize("secret", ["short", "x" * 11, "x" * 17, "ä" * 9])
def test_secrets_have_12_to_16_bytes(state: State, secret: str) -> None:
    with pytest.raises(UsageError) as caught:
        set_credentials(state, "1", INITIATOR, initiator_secret=secret)
    assert secret not in caught.value.message
    with pytest.raises(UsageError):
        set_credentials(state, "1", INITIATOR, initiator_secret=SECRET, target_secret=secret)


def test_both_directions_never_share_a_secret(state: State) -> None:
    with pytest.raises(UsageError, match="differ"):
        set_credentials(state, "1", INITIATOR, initiator_secret=SECRET, target_secret=SECRET)


@pytest.mark.parametrize("name", ["", "debian", "iqn.2000-01.com.x:UPPER", "iqn." + "x" * 220])
def test_initiator_names(state: State, name: str) -> None:
    with pytest.raises(UsageError):
        set_credentials(state, "1", name, initiator_secret=SECRET)


def test_status_counts(state: State, make: Maker) -> None:
    make("VTL001", "VTL002")
    with state.write() as db:
        tapes.update(db, "VTL001", element_address=DRIVE)
        segments.insert(
            db,
            segments.SegmentRecord(
                barcode="VTL001",
                summary=SegmentSummary(0, 0, 1, 0, 900, 16 << 20),
                sealed_at_ms=1,
                cache_disk_id="disk-1",
                buffer_disk_id="disk-0",
            ),
        )
    status = gateway_status(state)
    assert status.tapes_by_status == {TapeStatus.AVAILABLE: 2}
    assert (status.tapes, status.tapes_in_drives, status.drives) == (2, 1, 2)
    assert (status.waiting_segments, status.waiting_bytes) == (1, 16 << 20)
    assert status.cache.used_percent == 25
    assert status.cache_dirty_percent == 25
    assert status.upload_buffer.used_percent == 25


def test_all_devices_at_once(state: State) -> None:
    names = [device.name for device in list_devices(state)]
    found = set_credentials(state, "all", INITIATOR, initiator_secret=SECRET)
    assert [info.device for info in found] == names
    for device in list_devices(state):
        (credential,) = login_credentials(state, device.target_name, INITIATOR)
        assert credential.secret == SECRET.encode()
    assert login_credentials(state, None, INITIATOR) == ()  # discovery has its own
    delete_credentials(state, names[1], INITIATOR)
    assert delete_credentials(state, "all", INITIATOR) == [names[0], *names[2:]]
    with pytest.raises(ChapNotFoundError):
        delete_credentials(state, "all", INITIATOR)
