"""A real block device becomes a disk: only when asked, only when empty, and tapes go to it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.gateway import Gateway

DEVICE_BYTES = 1200 << 20


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    """Yield the node of an empty block device; unmount and take it away afterwards."""
    if os.geteuid() != 0:
        pytest.skip("needs root for a loop device")
    image = tmp_path / "disk.img"
    image.touch()
    os.truncate(image, DEVICE_BYTES)
    made = subprocess.run(
        ["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no loop device here: {made.stderr.strip()}")
    node = made.stdout.strip()
    yield node
    subprocess.run(["umount", node], capture_output=True, check=False)
    subprocess.run(["losetup", "--detach", node], check=True)


def test_a_block_device_is_formatted_only_when_asked_and_empty(
    make_gateway: Callable[..., Gateway], device: str
) -> None:
    gateway = make_gateway()
    gateway.cli("activate", "--store", str(gateway.store), "--name", "devices", "--drives", "1")
    listed = {disk["DiskNode"]: disk for disk in disks(gateway)}
    assert listed[device]["DiskAllocationType"] == "AVAILABLE"
    assert listed[device]["DiskSizeInBytes"] == DEVICE_BYTES

    unasked = gateway.run("disk", "add-buffer", device)
    assert unasked.returncode != 0
    assert "--format" in unasked.stderr
    assert not has_file_system(device)

    gateway.cli("disk", "add-buffer", device, "--format")
    (buffer,) = [disk for disk in disks(gateway) if disk["DiskNode"] == device]
    assert buffer["DiskAllocationType"] == "UPLOAD_BUFFER"
    assert buffer["DiskStatus"] == "present"
    assert os.path.ismount(buffer["DiskPath"])

    again = gateway.run("disk", "add-cache", device, "--format")
    assert again.returncode != 0
    assert "not empty" in again.stderr

    subprocess.run(["umount", device], check=True)
    (gone,) = [disk for disk in disks(gateway) if disk["DiskId"] == buffer["DiskId"]]
    assert gone["DiskStatus"] == "missing"


def disks(gateway: Gateway) -> list[dict[str, object]]:
    found: list[dict[str, object]] = gateway.json("disk", "list")
    return found


def has_file_system(device: str) -> bool:
    return bool(subprocess.run(["blkid", "-p", device], capture_output=True, check=False).stdout)
