"""Which block devices there are, and that only an empty one is ever formatted."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tapectl.disks import block_devices
from tapectl.disks.block_devices import format_and_mount, list_block_devices


def row(path, kind, size, **more):
    """Return a device as lsblk 2.38 prints it."""
    return {
        "path": path, "name": Path(path).name, "type": kind, "size": size, "ro": False,
        "model": None, "serial": None, "wwn": None, "fstype": None, "pttype": None,
        "mountpoint": None, **more,
    }  # fmt: skip


@pytest.fixture
def tools(monkeypatch):
    """Stand for the tools of the system: answers by name, and what was run."""
    answers, ran = {}, []

    def run(arguments, **_options):
        ran.append(list(arguments))
        status, output = answers.get(arguments[0], (0, ""))
        return subprocess.CompletedProcess(arguments, status, output, "it failed\n")

    monkeypatch.setattr(block_devices.subprocess, "run", run)
    monkeypatch.setattr(block_devices.shutil, "which", lambda name: name in answers or None)
    return answers, ran


def lsblk(*rows):
    return 0, json.dumps({"blockdevices": list(rows)})


def test_devices_with_what_they_are_used_for(tools, tmp_path):
    answers, _ = tools
    answers["lsblk"] = lsblk(
        row(
            "/dev/sda",
            "disk",
            500,
            pttype="gpt",
            model="Disk ",
            children=[row("/dev/sda1", "part", 400, mountpoint="/", fstype="ext4")],
        ),
        row("/dev/sdb", "disk", "600", wwn="0x5000c500a1b2c3d4", ro="0"),
        row("/dev/sdc", "disk", 700, fstype="LVM2_member"),
        row("/dev/sdd", "disk", 800, pttype="dos"),
        row("/dev/sde", "disk", 900, mountpoint="[SWAP]", fstype="swap"),
        row("/dev/sr0", "rom", 100),
        row("/dev/sdf", "disk", 100, ro=True),
        row("/dev/loop0", "loop", 0),
    )
    found = {device.node: device for device in list_block_devices(tmp_path)}
    assert {node: device.used_for for node, device in found.items()} == {
        "/dev/sda": "holds sda1",
        "/dev/sda1": "mounted at /",
        "/dev/sdb": None,
        "/dev/sdc": "LVM2_member signature",
        "/dev/sdd": "dos partition table",
        "/dev/sde": "mounted at [SWAP]",
    }
    assert (found["/dev/sda"].model, found["/dev/sda1"].mount_point) == ("Disk", Path("/"))
    assert (found["/dev/sdb"].stable_id, found["/dev/sdb"].size_bytes) == (
        "0x5000c500a1b2c3d4",
        600,
    )
    assert found["/dev/sde"].mount_point is None


@pytest.mark.parametrize("answer", [None, (1, ""), (0, "no json"), (0, "{}")])
def test_without_lsblk_sysfs_tells(tools, tmp_path, answer):
    answers, _ = tools
    if answer is not None:
        answers["lsblk"] = answer
    for name, size, holder in (("sdx", "8", None), ("sdy", "16", "dm-0"), ("sdz", "0", None)):
        folder = tmp_path / "class" / "block" / name
        (folder / "holders").mkdir(parents=True)
        (folder / "size").write_text(f"{size}\n")
        (folder / "ro").write_text("0\n")
        if holder:
            (folder / "holders" / holder).touch()
    part = tmp_path / "class" / "block" / "sdx" / "sdx1"
    part.mkdir()
    (part / "partition").write_text("1\n")
    found = [
        (device.node, device.size_bytes, device.used_for) for device in list_block_devices(tmp_path)
    ]
    assert found == [("/dev/sdx", 4096, "holds sdx1"), ("/dev/sdy", 8192, "holds dm-0")]


def test_an_empty_device_gets_a_file_system_and_is_mounted(tools, tmp_path):
    _, ran = tools
    device = tmp_path / "device"
    device.touch()
    format_and_mount(str(device), tmp_path)
    assert [arguments[0] for arguments in ran] == ["wipefs", "mkfs.ext4", "mount"]


@pytest.mark.parametrize(
    "wipefs", [(0, "# offset,uuid,label,type\n0x438,,,ext4\n"), (0, "0x1fe,,,dos\n"), (1, "")]
)
def test_nothing_is_written_to_a_device_that_is_not_empty(tools, tmp_path, wipefs):
    answers, ran = tools
    answers["wipefs"] = wipefs
    device = tmp_path / "device"
    device.touch()
    with pytest.raises(OSError):
        format_and_mount(str(device), tmp_path)
    assert [arguments[0] for arguments in ran] == ["wipefs"]


def test_a_device_that_is_not_there_is_not_formatted(tools, tmp_path):
    _, ran = tools
    with pytest.raises(FileNotFoundError):
        format_and_mount(str(tmp_path / "none"), tmp_path)
    assert not ran


def test_a_tool_that_fails_is_told_by_its_own_words(tools, tmp_path):
    answers, _ = tools
    answers["mkfs.ext4"] = (1, "")
    device = tmp_path / "device"
    device.touch()
    with pytest.raises(OSError, match=r"mkfs\.ext4: it failed"):
        format_and_mount(str(device), tmp_path)
