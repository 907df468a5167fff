"""What is wrong with the gateway, since when, and which flags say so."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tapectl.disks.disk_directory import DiskMarker, prepare
from tapectl.disks.disk_health import DiskState, disk_health
from tapectl.gateway.alerts import Alert, AlertKind, AlertWatch, drive_flags, library_flags
from tapectl.gateway.events import list_events
from tapectl.gateway.settings import Settings
from tapectl.scsi.smc.alerts import LibraryAlert
from tapectl.scsi.ssc.alerts import TapeAlert
from tapectl.state import disks
from tapectl.state.database import State
from tapectl.state.disks import DiskRecord, DiskRole
from tapectl.units import MIB
from tests.unit.gateway.conftest import Clock


def settings(**values: object) -> Settings:
    return Settings.load({}, Path(os.devnull), alert_after_s=60, **values)


@pytest.fixture
def found_disks(state: State) -> Sequence[DiskRecord]:
    with state.read() as db:
        found = disks.all_disks(db)
    for disk in found:
        prepare(disk.path, DiskMarker(disk.id, "sgw-00000000", disk.role))
    return found


@pytest.fixture
def watch(state: State, found_disks: Sequence[DiskRecord], clock: Clock) -> AlertWatch:
    assert found_disks
    return AlertWatch(state, settings(segment_bytes=MIB), now_ms=clock)


def kinds(alerts: Sequence[Alert]) -> list[AlertKind]:
    return [alert.kind for alert in alerts]


def test_a_healthy_gateway_has_no_alerts(watch: AlertWatch) -> None:
    assert watch.look() == ()


def test_a_vanished_disk_is_an_alert_at_once_until_it_is_back(
    watch: AlertWatch, found_disks: Sequence[DiskRecord], state: State, clock: Clock
) -> None:
    disk = found_disks[0]
    away = disk.path.with_name("away")
    disk.path.rename(away)
    (alert,) = watch.look()
    assert (alert.kind, alert.subject, alert.since_ms) == (
        AlertKind.DISK_MISSING, disk.id, clock.now_ms,
    )  # fmt: skip
    assert str(disk.path) in alert.message
    assert drive_flags([alert]) == {TapeAlert.HARDWARE_B}
    assert library_flags([alert]) == {LibraryAlert.HARDWARE_D}
    watch.look()
    away.rename(disk.path)
    assert watch.look() == ()
    told = [(event.type, event.subject_id) for event in list_events(state, subject=disk.id)]
    assert told == [("AlertRaised", disk.id), ("AlertCleared", disk.id)]


def test_the_directory_of_another_disk_is_not_the_disk(
    watch: AlertWatch, found_disks: Sequence[DiskRecord]
) -> None:
    prepare(found_disks[0].path, DiskMarker("disk-other", "sgw-00000000", found_disks[0].role))
    assert kinds(watch.look()) == [AlertKind.DISK_MISSING]


def test_an_outage_is_an_alert_when_it_lasts(watch: AlertWatch, clock: Clock) -> None:
    began_ms = clock.now_ms
    assert watch.look("no route to host") == ()
    clock.now_ms += 59_000
    assert watch.look("no route to host") == ()
    clock.now_ms += 1_000
    (alert,) = watch.look("no route to host")
    assert (alert.kind, alert.message, alert.since_ms) == (
        AlertKind.STORE_UNREACHABLE, "no route to host", began_ms,
    )  # fmt: skip
    assert drive_flags([alert]) == {TapeAlert.DIAGNOSTICS_REQUIRED}
    assert library_flags([alert]) == {LibraryAlert.DIAGNOSTICS_REQUIRED}
    assert watch.look() == ()
    assert watch.look("again") == ()


def test_disks_of_a_role_that_are_all_full_are_an_alert_when_it_lasts(
    watch: AlertWatch, state: State, clock: Clock, tmp_path: Path
) -> None:
    with state.write() as db:
        db.execute("UPDATE disk SET size_bytes = 1 WHERE role = ?", (DiskRole.UPLOAD_BUFFER,))
    assert watch.look() == ()
    clock.now_ms += 60_000
    alerts = watch.look()
    assert kinds(alerts) == [AlertKind.UPLOAD_BUFFER_FULL]
    assert drive_flags(alerts) == {TapeAlert.WRITE_WARNING}
    second = tmp_path / "second"
    second.mkdir()
    prepare(second, DiskMarker("disk-9", "sgw-00000000", DiskRole.UPLOAD_BUFFER))
    with state.write() as db:
        disks.insert(
            db,
            DiskRecord(
                id="disk-9",
                role=DiskRole.UPLOAD_BUFFER,
                path=second,
                device_node=None,
                size_bytes=64 * MIB,
                created_at_ms=9,
            ),
        )
    assert watch.look() == ()


def block_device(sysfs: Path, path: Path) -> Path:
    """Return what stands for the device of a path's file system in a made-up sysfs."""
    device = path.stat().st_dev
    node = sysfs / f"dev/block/{os.major(device)}:{os.minor(device)}"
    node.mkdir(parents=True)
    return node


@pytest.mark.parametrize(
    ("attribute", "text", "state"),
    [
        ("md/degraded", "0\n", DiskState.GOOD),
        ("md/degraded", "1\n", DiskState.FAILING),
        ("device/pre_eol_info", "0x01\n", DiskState.GOOD),
        ("device/pre_eol_info", "0x02\n", DiskState.FAILING),
        ("device/pre_eol_info", "nonsense", DiskState.GOOD),
    ],
)
def test_what_the_kernel_knows_of_a_device(
    tmp_path: Path, attribute: str, text: str, state: DiskState
) -> None:
    path = tmp_path / "disk"
    path.mkdir()
    prepare(path, DiskMarker("disk-1", "sgw-00000000", DiskRole.CACHE_STORAGE))
    file = block_device(tmp_path / "sys", path) / attribute
    file.parent.mkdir()
    file.write_text(text)
    assert disk_health(path, "disk-1", sysfs=tmp_path / "sys").state is state


def test_a_partition_is_as_good_as_its_device(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.mkdir()
    prepare(path, DiskMarker("disk-1", "sgw-00000000", DiskRole.CACHE_STORAGE))
    whole = tmp_path / "sys/devices/mmcblk0"
    (whole / "device").mkdir(parents=True)
    (whole / "device/pre_eol_info").write_text("0x03\n")
    (whole / "mmcblk0p1").mkdir()
    (whole / "mmcblk0p1/partition").write_text("1\n")
    node = block_device(tmp_path / "sys", path)
    shutil.rmtree(node)
    node.symlink_to(whole / "mmcblk0p1")
    health = disk_health(path, "disk-1", sysfs=tmp_path / "sys")
    assert health.state is DiskState.FAILING
    assert "end of its life" in health.reason


def test_a_file_system_gone_read_only_is_a_failing_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "disk"
    path.mkdir()
    prepare(path, DiskMarker("disk-1", "sgw-00000000", DiskRole.CACHE_STORAGE))
    real = os.statvfs(path)
    values = [*real[:8], real.f_flag | os.ST_RDONLY, *real[9:]]
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result(values))
    assert disk_health(path, "disk-1").state is DiskState.FAILING
