"""What is set up in the kernel's target, changed there, and removed; nothing of anybody else."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tapectl.gateway.chap import LoginCredential
from tapectl.gateway.devices import DeviceInfo
from tapectl.gateway.settings import Fabric, ListenAddress
from tapectl.lio.configuration import KernelTarget
from tapectl.lio.errors import KernelTargetError
from tapectl.lio.names import loopback_name
from tests.support.fake_configfs import FakeConfigfs

GATEWAY = "sgw-1fad4876"
NAME = f"{GATEWAY}-tapedrive-01"
TARGET = f"iqn.2026-11.io.tapectl:{NAME}"
TPG = f"iscsi/{TARGET}/tpgt_1"
ONE, OTHER = "iqn.1993-08.org.debian:01:one", "iqn.1993-08.org.debian:01:other"
HERE = ListenAddress("127.0.0.1", 3260)
DRIVE = DeviceInfo(
    drive_number=1,
    id="SGW-1FAD4876_TAPEDRIVE_00001",
    name="tapedrive-01",
    kind="Tape Drive",
    device_type="IBM-ULT3580-TD5",
    vendor="IBM",
    product="ULT3580-TD5",
    revision="H5A1",
    serial="0123456789",
    target_name=TARGET,
    element_address=10000,
    loaded_barcode=None,
    chap_enabled=False,
)
SECRET = LoginCredential(user=ONE, secret=b"twelve-bytes-1")
MUTUAL = LoginCredential(
    user=ONE, secret=b"twelve-bytes-1", mutual_user=TARGET, mutual_secret=b"of-the-target"
)


@pytest.fixture
def configfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeConfigfs:
    return FakeConfigfs(tmp_path, monkeypatch)


@pytest.fixture
def kernel(configfs: FakeConfigfs) -> KernelTarget:
    assert configfs.root.is_dir()
    target = KernelTarget(GATEWAY, Fabric.ISCSI, [HERE])
    assert target.storage_object(DRIVE) == NAME
    return target


def test_a_storage_object_has_our_name_the_drives_serial_and_no_time_limit(
    configfs: FakeConfigfs, kernel: KernelTarget
) -> None:
    folder = f"core/user_0/{NAME}"
    assert configfs.read(f"{folder}/enable") == "1"
    assert configfs.read(f"{folder}/wwn/vpd_unit_serial") == DRIVE.serial
    assert configfs.read(f"{folder}/attrib/cmd_time_out") == "0"
    assert configfs.read(f"{folder}/attrib/tmr_notification") == "1"
    assert kernel.storage_object(DRIVE) == NAME
    assert configfs.folders("core") == ["user_0"]


def test_whoever_comes_is_let_in_without_a_list(
    configfs: FakeConfigfs, kernel: KernelTarget
) -> None:
    kernel.export(DRIVE, None)
    assert configfs.read(f"{TPG}/enable") == "1"
    assert configfs.read(f"{TPG}/attrib/generate_node_acls") == "1"
    assert configfs.read(f"{TPG}/attrib/demo_mode_write_protect") == "0"
    assert configfs.read(f"{TPG}/attrib/authentication") == "0"
    assert configfs.read(f"{TPG}/param/InitialR2T") == "No"
    assert configfs.folders(f"{TPG}/np") == ["127.0.0.1:3260"]
    (link,) = (configfs.root / TPG / "lun/lun_0").iterdir()
    assert link.resolve() == configfs.root / f"core/user_0/{NAME}"


def test_what_is_there_already_stays(configfs: FakeConfigfs, kernel: KernelTarget) -> None:
    kernel.export(DRIVE, {ONE: None})
    places = [configfs.root / TPG, *(configfs.root / TPG).rglob("lun_*")]
    before = [place.stat().st_ino for place in places]
    assert len(before) == 3  # the group, its LUN, and that of the initiator
    again = KernelTarget(GATEWAY, Fabric.ISCSI, [HERE])
    again.storage_object(DRIVE)
    again.export(DRIVE, {ONE: None})
    assert [place.stat().st_ino for place in places] == before


def test_another_portal_takes_the_place_of_the_old_one(
    configfs: FakeConfigfs, kernel: KernelTarget
) -> None:
    kernel.export(DRIVE, None)
    moved = [ListenAddress("127.0.0.1", 3261), ListenAddress("::1", 3260)]
    KernelTarget(GATEWAY, Fabric.ISCSI, moved).export(DRIVE, None)
    assert configfs.folders(f"{TPG}/np") == ["127.0.0.1:3261", "[::1]:3260"]


def test_a_list_and_secrets(configfs: FakeConfigfs, kernel: KernelTarget) -> None:
    kernel.export(DRIVE, {ONE: None})
    acl = f"{TPG}/acls/{ONE}"
    assert configfs.read(f"{TPG}/attrib/generate_node_acls") == "0"
    assert configfs.read(f"{TPG}/attrib/authentication") == "0"
    assert configfs.read(f"{acl}/lun_0/write_protect") == "0"
    kernel.export(DRIVE, {ONE: SECRET})
    assert configfs.read(f"{TPG}/attrib/authentication") == "1"
    assert configfs.read(f"{acl}/auth/userid") == ONE
    assert configfs.read(f"{acl}/auth/password") == "twelve-bytes-1"
    assert configfs.read(f"{acl}/auth/password_mutual") == "NULL"
    kernel.export(DRIVE, {ONE: MUTUAL})
    assert configfs.read(f"{acl}/auth/userid_mutual") == TARGET
    assert configfs.read(f"{acl}/auth/password_mutual") == "of-the-target"
    kernel.export(DRIVE, {OTHER: None})
    assert configfs.folders(f"{TPG}/acls") == [OTHER]
    kernel.export(DRIVE, None)
    assert configfs.folders(f"{TPG}/acls") == []


def test_whom_the_kernel_knows_from_before_a_list_is_forgotten(
    configfs: FakeConfigfs, kernel: KernelTarget
) -> None:
    kernel.export(DRIVE, None)
    mark = configfs.root / TPG / "what the kernel keeps in it"
    mark.touch()
    kernel.drop_sessions(DRIVE, ONE, {ONE: None})
    assert not mark.exists()
    assert configfs.read(f"{TPG}/enable") == "1"


def test_sessions_end_with_their_initiators_entry(
    configfs: FakeConfigfs, kernel: KernelTarget
) -> None:
    kernel.export(DRIVE, {ONE: None, OTHER: None})
    places = [configfs.root / TPG / "acls" / name for name in (ONE, OTHER)]
    before = [place.stat().st_ctime_ns for place in places]
    kernel.drop_sessions(DRIVE, ONE, {ONE: SECRET, OTHER: None})
    after = [place.stat().st_ctime_ns for place in places]
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_who_is_logged_in(configfs: FakeConfigfs, kernel: KernelTarget) -> None:
    kernel.export(DRIVE, {ONE: None})
    assert kernel.sessions(DRIVE) == []
    (configfs.root / TPG / "acls" / ONE / "info").write_text(
        f"InitiatorName: {ONE}\nInitiatorAlias: host\n"
        "LIO Session ID: 1   ISID: 0x00 02 3d 00 00 00  TSIH: 1  SessionType: Normal\n"
        "Session State: TARG_SESS_STATE_LOGGED_IN\n"
        "CID: 0  Connection State: TARG_CONN_STATE_LOGGED_IN\n"
        "   Address 192.0.2.7 TCP  StatSN: 0x1\n"
    )
    (configfs.root / TPG / "dynamic_sessions").write_text(f"{OTHER}\n\0")
    found = [(one.initiator_name, one.peer) for one in kernel.sessions(DRIVE)]
    assert found == [(OTHER, ""), (ONE, "192.0.2.7")]


def test_a_name_that_rtslib_refuses_is_told(
    configfs: FakeConfigfs, kernel: KernelTarget, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        kernel.export(DRIVE, {"iqn.2000-01.harness:guest": None, ONE: None})
    assert "iqn.2000-01.harness:guest cannot log in" in caplog.text
    assert configfs.folders(f"{TPG}/acls") == [ONE]


def test_loopback_is_a_target_of_this_host(configfs: FakeConfigfs) -> None:
    kernel = KernelTarget(GATEWAY, Fabric.LOOPBACK)
    kernel.storage_object(DRIVE)
    for _ in range(2):
        kernel.export(DRIVE, None)
    (target,) = configfs.folders("loopback")
    assert target == loopback_name(GATEWAY, DRIVE.name)
    assert configfs.read(f"loopback/{target}/tpgt_1/nexus").startswith("naa.")
    kernel.drop_sessions(DRIVE, ONE, None)
    assert kernel.sessions(DRIVE) == []
    assert kernel.remove() == [target, NAME]


def test_only_what_is_ours_is_removed(configfs: FakeConfigfs, kernel: KernelTarget) -> None:
    kernel.export(DRIVE, {ONE: SECRET})
    foreign = ("core/user_7/disk", "iscsi/iqn.2003-01.org.linux-iscsi.host:sn.1/tpgt_1")
    for path in foreign:
        (configfs.root / path).mkdir(parents=True)
    assert kernel.remove(cut_off=True) == [TARGET, NAME]
    assert all((configfs.root / path).is_dir() for path in foreign)
    assert configfs.folders("core") == ["user_7"]
    assert kernel.remove() == []


def test_what_others_use_stays(configfs: FakeConfigfs, kernel: KernelTarget) -> None:
    kernel.export(DRIVE, None)
    theirs = configfs.root / "loopback/naa.5001405aaaaaaaaa/tpgt_1/lun/lun_0"
    theirs.mkdir(parents=True)
    (theirs / "dev").symlink_to(configfs.root / f"core/user_0/{NAME}")
    assert kernel.remove() == [TARGET]
    assert configfs.folders("core/user_0") == [NAME]
    assert (theirs / "dev").is_symlink()


def test_commands_that_nobody_answers_are_cut_off(
    configfs: FakeConfigfs, kernel: KernelTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    write_text = Path.write_text

    def noting(path: Path, text: str) -> int:
        written.append((path.name, text))
        return write_text(path, text)

    monkeypatch.setattr(Path, "write_text", noting)
    kernel.remove(cut_off=True)
    # A ring can be reset while its device is blocked only; 2 ends its commands with an error.
    assert written[-2:] == [("block_dev", "1"), ("reset_ring", "2")]
    assert configfs.folders("core") == []


def test_what_the_kernel_refuses_is_an_error_with_a_next_step(
    kernel: KernelTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.export(DRIVE, None)
    elsewhere = KernelTarget(GATEWAY, Fabric.ISCSI, [ListenAddress("127.0.0.1", 3262)])

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(98, "Address already in use", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(KernelTargetError, match="Address already in use") as refused:
        elsewhere.export(DRIVE, None)
    assert "tapectl check" in str(refused.value.hint)


def test_a_port_has_to_be_named() -> None:
    with pytest.raises(KernelTargetError):
        KernelTarget(GATEWAY, Fabric.ISCSI, [ListenAddress("127.0.0.1", 0)])
