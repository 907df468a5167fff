"""A disk goes wrong under a served gateway: nothing that exists elsewhere is lost, the tapes that
it concerns are named, all others go on, and with another disk everything is well again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.shim import Call, Shim
from tests.support.clients import require_root
from tests.support.disk_lab import BLOCK_BYTES, WAIT_S, DiskLab
from tests.support.gateway import Gateway, wait_until
from tests.support.initiator import InitiatorError
from tests.support.tape_client import SenseError, TapeDrive

MakeGateway = Callable[..., Gateway]
SETTINGS = {"seal_idle_s": "0.2", "segment_bytes": "1MiB", "scrub_days": "0", "alert_after_s": "1"}
MEDIUM_ERROR = 3
DISKS_NEEDED, DISK_NOT_DRAINED = 25, 26
TROUBLE = (SenseError, InitiatorError, OSError)


@pytest.fixture
def lab(make_gateway: MakeGateway) -> DiskLab:
    return DiskLab(make_gateway(**SETTINGS))


# -- a disk is lost ------------------------------------------------------------------------------
@pytest.mark.parametrize("role", ["cache", "buffer"])
def test_a_disk_is_lost_while_a_tape_is_written_and_replaced(lab: DiskLab, role: str) -> None:
    """The only disk of its role: nothing can be written until there is another one."""
    gateway = lab.gateway
    lab.start()
    first, second = lab.barcodes
    lab.stop_the_store()
    lab.load(first)
    lab.write(first)
    wait_until(lambda: int(gateway.json("status")["WaitingBytes"]) > 0, "a seal", WAIT_S)
    lost = gateway.root / role
    lost_id = lab.disk_at(lost)
    lost.rename(lost.with_name("lost"))
    assert lab.check("--no-store")["Codes"]["disk_missing"] == [first]
    with pytest.raises(TROUBLE):
        lab.write(first, count=32)

    # What the other disk has is there, in the drive and after a reload.
    lab.load(second)
    lab.load(first)
    lab.assert_whole(first)
    assert first in lab.check("--no-store")["Codes"]["second_copy_missing"]
    refused = gateway.run("disk", "remove", lost_id)
    assert refused.returncode == DISK_NOT_DRAINED

    # Another disk, and the lost one is given up: no restart, no unload.
    command = "add-cache" if role == "cache" else "add-buffer"
    lab.add(command, gateway.root / "new")
    lab.write(first)
    planned = gateway.json("disk", "remove", lost_id, "--force", "--dry-run")
    assert (planned["SingleCopyTapes"], planned["LostTapes"]) == ([first], [])
    gateway.cli("disk", "remove", lost_id, "--force", "--yes")
    repaired = lab.check("--repair", "--no-store")
    assert {one["Done"] for one in repaired["Repairs"]} == {True}
    assert "second_copy_missing" not in repaired["Codes"]
    lab.load(second)
    lab.write(second)
    lab.assert_whole(second)
    lab.load(first)
    lab.assert_whole(first)
    lab.start_the_store()
    lab.wait_uploaded()
    lab.assert_clean()


def test_with_a_second_pair_of_disks_other_tapes_go_on(lab: DiskLab) -> None:
    gateway = lab.gateway
    lab.start(("add-cache", gateway.root / "cache-2"), ("add-buffer", gateway.root / "buffer-2"))
    first, second = lab.barcodes
    lab.stop_the_store()
    lab.load(first)
    lab.write(first)
    lab.wait_sealed(first)
    lost = next(path.parents[2] for path in lab.copies(first) if "cache" in str(path))
    lost_id = lab.disk_at(lost)
    lost.rename(lost.with_name("lost"))
    lab.load(second)
    lab.write(second)
    lab.assert_whole(second)
    found = lab.check("--no-store")["Codes"]
    assert found["disk_missing"] == found["second_copy_missing"] == [first]
    lab.load(first)
    lab.assert_whole(first)
    lab.write(first)
    # It is only away: what it has is what the state says, and nothing is to be done.
    lost.with_name("lost").rename(lost)
    lab.assert_whole(first)
    assert "second_copy_missing" not in lab.check("--no-store")["Codes"]
    lab.start_the_store()
    lab.wait_uploaded()
    lab.assert_clean()
    # It is lost for good, now that the store has everything.
    lost.rename(lost.with_name("lost"))
    gateway.cli("disk", "remove", lost_id, "--force", "--yes")
    lab.load(second)
    lab.load(first)
    lab.assert_whole(first)
    lab.assert_clean()


def test_what_was_only_on_the_lost_disks_is_named_and_the_rest_is_read(lab: DiskLab) -> None:
    gateway = lab.gateway
    lab.start()
    first, second = lab.barcodes
    for barcode in (second, first):
        lab.load(barcode)
        lab.write(barcode)
    lab.wait_uploaded()
    lab.stop_the_store()
    lab.write(first)
    lab.wait_sealed(first)
    for role in ("cache", "buffer"):
        (gateway.root / role).rename(gateway.root / f"lost-{role}")
    disks = [gateway.root / "cache", gateway.root / "buffer"]
    ids = [lab.disk_at(path) for path in disks]
    lab.add("add-cache", gateway.root / "cache-2")
    lab.add("add-buffer", gateway.root / "buffer-2")
    lab.start_the_store()
    for disk_id in ids:
        planned = gateway.json("disk", "remove", disk_id, "--force", "--dry-run")
        assert planned["LostTapes"] == [first]
        gateway.cli("disk", "remove", disk_id, "--force", "--yes")
    assert lab.check()["Codes"]["segment_lost"] == [first]
    lab.load(second)
    lab.assert_whole(second)
    lab.load(first)
    drive = lab.drive()
    assert [drive.read_block(BLOCK_BYTES) for _ in range(4)] == lab.written[first][:4]
    with pytest.raises(SenseError) as refused:
        drive.read_block(BLOCK_BYTES)
    assert refused.value.key == MEDIUM_ERROR

    # One of them is found again.
    lab.load(second)
    (gateway.root / "lost-buffer").rename(gateway.root / "buffer")
    lab.add("add-buffer", gateway.root / "buffer")
    assert "segment_lost" not in lab.check("--repair")["Codes"]
    lab.load(first)
    lab.assert_whole(first)


# -- a disk refuses ------------------------------------------------------------------------------
@pytest.fixture
def shim(tmp_path: Path, shim_library: Path) -> Shim:
    """A shim over one directory, to be a disk; the gateway's processes run under it."""
    root = tmp_path / "sick"
    root.mkdir()
    folder = tmp_path / "shim"
    folder.mkdir()
    return Shim.create(folder, root, library=shim_library)


@pytest.mark.parametrize(
    "calls", [(Call.SYNC,), (Call.WRITE, Call.SYNC, Call.READ)], ids=["flushes", "everything"]
)
def test_a_disk_with_errors_is_named_and_the_other_one_used(
    lab: DiskLab, shim: Shim, calls: tuple[Call, ...]
) -> None:
    gateway = lab.gateway
    gateway.credentials = shim.environment
    gateway.cache.rmdir()
    gateway.cache = shim.root
    lab.start()
    # Smaller, so that it is the second choice.
    lab.add("add-cache", gateway.root / "cache-2", "--size", "64MiB")
    first, second = lab.barcodes
    lab.stop_the_store()
    lab.load(first)
    lab.write(first)
    # Sealed while all is well: that copy stays on the disk, whatever comes.
    lab.load(second)
    lab.load(first)
    sick_id = lab.disk_at(shim.root)

    shim.fail(*calls, at=1, forever=True)
    # The command that meets it may fail, what was answered is there.
    with contextlib.suppress(*TROUBLE):
        lab.write(first, count=40)
    lab.load(second)
    lab.write(second)
    lab.assert_whole(second)
    lab.load(first)
    lab.assert_whole(first)
    lab.write(first)
    found = lab.check("--no-store", "--data")
    named = {barcode for barcodes in found["Codes"].values() for barcode in barcodes}
    assert first in named
    if Call.READ in calls:
        # Its marker cannot be read: it might be another disk.
        assert "disk_missing" in found["Codes"]
    else:
        assert "disk_failing" in found["Codes"]
        assert gateway.json("disk", "show", sick_id)["FailureDetail"]

    # What it cannot give comes from the other disk.
    gateway.cli("disk", "drain", sick_id, "--wait", "--timeout", str(WAIT_S))
    gateway.cli("disk", "remove", sick_id)
    lab.assert_whole(first)
    shim.relent()
    lab.start_the_store()
    lab.wait_uploaded()
    lab.assert_clean()


# -- a disk of its own ---------------------------------------------------------------------------
@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB in memory."""
    require_root()
    path = tmp_path / "small"
    path.mkdir()
    mount("-t", "tmpfs", "-o", "size=24m", "tmpfs", str(path))
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=False)


def kill_all(gateway: Gateway) -> None:
    """kill -9 of all processes, so that none seals anything."""
    os.kill(gateway.server_pid, signal.SIGSTOP)  # it would begin others
    for pid in gateway.child_pids():
        os.kill(pid, signal.SIGKILL)
    gateway.kill_server()


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def test_a_file_system_that_is_full_makes_the_writer_wait_and_no_error(
    make_gateway: MakeGateway, small_disk: Path
) -> None:
    """Something else fills the file system of the upload buffer."""
    lab = DiskLab(make_gateway(**SETTINGS, busy_timeout_s="1"))
    gateway = lab.gateway
    gateway.buffer.rmdir()
    gateway.buffer = small_disk
    lab.start()
    barcode = lab.barcodes[0]
    lab.load(barcode)
    lab.write(barcode)
    lab.wait_sealed(barcode)
    lab.wait_uploaded()
    filler = small_disk / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=64k"], check=False)
    drive = TapeDrive(gateway.connect("tapedrive-01"), busy_timeout_s=0)
    drive.wait_ready()
    drive.locate(len(lab.written[barcode]))
    block = os.urandom(BLOCK_BYTES)
    with pytest.raises(SenseError) as refused:
        drive.write_block(block)
    assert refused.value.key is None  # BUSY
    assert lab.check()["Codes"]["disk_full"] == []
    filler.unlink()
    drive.write_block(block)
    lab.written[barcode].append(block)
    lab.assert_whole(barcode)
    lab.wait_uploaded()
    lab.assert_clean()


def test_a_disk_that_becomes_read_only_is_read_and_drained(lab: DiskLab, small_disk: Path) -> None:
    gateway = lab.gateway
    gateway.settings["seal_idle_s"] = "600"
    gateway.buffer.rmdir()
    gateway.buffer = small_disk
    lab.start()
    first, second = lab.barcodes
    lab.stop_the_store()
    lab.load(first)
    lab.write(first)
    kill_all(gateway)
    assert lab.unsealed(first) != []
    # Not before the last of them is gone.
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    wait_until(lambda: subprocess.run(remount, check=False).returncode == 0, "a remount", WAIT_S)
    gateway.serve()
    lab.log_in_again()
    lab.assert_whole(first)
    found = lab.check("--no-store")["Codes"]
    # It was sealed without the disk when it was loaded.
    assert found["disk_read_only"] == []
    assert found["second_copy_missing"] == [first]
    with pytest.raises(SenseError):
        lab.write(first, count=1)
    lab.load(second)
    lab.assert_whole(second)

    new = lab.add("add-buffer", gateway.root / "buffer-2")
    lab.write(second)
    lab.load(first)
    lab.write(first)
    lab.assert_whole(first)
    read_only = lab.disk_at(small_disk)
    gateway.cli("disk", "drain", read_only, "--wait", "--timeout", str(WAIT_S))
    gateway.cli("disk", "remove", read_only)
    assert gateway.json("disk", "show", new)["DiskStatus"] == "present"
    lab.load(second)
    lab.start_the_store()
    lab.wait_uploaded()
    lab.assert_clean()


def test_after_a_kill_a_tape_waits_for_the_disk_that_alone_has_its_end(
    lab: DiskLab, small_disk: Path
) -> None:
    gateway = lab.gateway
    gateway.settings |= {"seal_idle_s": "600", "segment_bytes": "4MiB"}
    gateway.buffer.rmdir()
    gateway.buffer = small_disk
    lab.start()
    first, second = lab.barcodes
    lab.load(first)
    lab.write(first)
    drive = lab.drive()
    for _ in range(40):
        lab.written[first].append(os.urandom(BLOCK_BYTES))
        drive.write_block(lab.written[first][-1])
    kill_all(gateway)
    away = gateway.root / "away-cache"
    gateway.cache.rename(away)
    gateway.serve()
    lab.log_in_again()
    # It holds nothing back but this tape.
    lab.load(second)
    with contextlib.suppress(*TROUBLE):
        lab.load(first)
    with pytest.raises(SenseError):
        lab.drive(ready_s=1)
    assert "disk_missing" in lab.check("--no-store")["Codes"]
    away.rename(gateway.cache)
    lab.load(second)
    lab.load(first)
    lab.assert_whole(first)
    lab.write(first)
    lab.load(second)
    lab.wait_uploaded()
    lab.assert_clean()


def test_a_disk_is_drained_and_unmounted_under_a_tape_that_is_written(
    lab: DiskLab, small_disk: Path
) -> None:
    gateway = lab.gateway
    gateway.settings["seal_idle_s"] = "600"
    gateway.cache.rmdir()
    gateway.cache = small_disk
    lab.start()
    first, _ = lab.barcodes
    lab.stop_the_store()
    lab.load(first)
    lab.write(first, count=20)
    lab.assert_whole(first)
    refused = gateway.run("disk", "drain", str(small_disk))
    assert refused.returncode == DISKS_NEEDED
    lab.add("add-cache", gateway.root / "cache-2")
    gateway.cli("disk", "drain", str(small_disk))
    lab.write(first)
    gateway.cli("disk", "drain", str(small_disk), "--wait", "--timeout", str(WAIT_S))
    gateway.cli("disk", "remove", str(small_disk))
    assert list(small_disk.iterdir()) == []
    unmount = ["umount", str(small_disk)]
    wait_until(lambda: subprocess.run(unmount, check=False).returncode == 0, "no user", WAIT_S)
    lab.write(first)
    lab.assert_whole(first)


# -- a bit is flipped ----------------------------------------------------------------------------
def flip(path: Path, offset: int = BLOCK_BYTES // 2) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes((byte ^ 1,)))


@pytest.fixture
def two_files(lab: DiskLab) -> Iterator[DiskLab]:
    """The upload buffer on a file system of its own, so that copies are two files."""
    require_root()
    mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(lab.gateway.buffer))
    yield lab
    subprocess.run(["umount", "--lazy", str(lab.gateway.buffer)], check=True)


def test_a_flipped_bit_is_healed_or_a_medium_error_and_named(two_files: DiskLab) -> None:
    lab = two_files
    lab.start()
    first, second = lab.barcodes
    lab.load(first)
    lab.stop_the_store()
    lab.write(first)
    lab.wait_sealed(first)
    for role in ("cache", "buffer"):
        heal_from_the_other_disk(lab, first, role)
    lab.start_the_store()
    lab.wait_uploaded()
    heal_from_the_store(lab, first)
    lab.assert_clean()

    lab.load(second)
    lab.stop_the_store()
    lab.write(second)
    lab.wait_sealed(second)
    damage_all(lab, second)
    lab.load(first)
    lab.write(first)
    lab.assert_whole(first)


def heal_from_the_other_disk(lab: DiskLab, barcode: str, role: str) -> None:
    (path,) = (one for one in lab.copies(barcode) if one.parents[2].name == role)
    sound = path.read_bytes()
    flip(path)
    lab.assert_whole(barcode)
    planned = lab.check("--repair", "--dry-run", "--data", "--no-store")
    assert planned["Codes"]["copy_damaged"] == [barcode]
    assert [one["Code"] for one in planned["Repairs"]] == ["copy_damaged"]
    assert path.read_bytes() != sound
    repaired = lab.check("--repair", "--data", "--no-store")
    assert [one["Done"] for one in repaired["Repairs"]] == [True]
    assert "copy_damaged" not in repaired["Codes"]
    assert path.read_bytes() == sound


def heal_from_the_store(lab: DiskLab, barcode: str) -> None:
    (path,) = lab.copies(barcode)
    flip(path)
    repaired = lab.check("--repair", "--data")
    assert [one["Code"] for one in repaired["Repairs"]] == ["copy_damaged"]
    assert [one["Done"] for one in repaired["Repairs"]] == [True]
    lab.assert_whole(barcode)


def damage_all(lab: DiskLab, barcode: str) -> None:
    """Nothing can heal it: that block is lost, and no other."""
    for path in lab.copies(barcode):
        flip(path)
    drive = lab.drive()
    drive.rewind()
    with pytest.raises(SenseError) as refused:
        drive.read_block(BLOCK_BYTES)
    assert refused.value.key == MEDIUM_ERROR
    drive.locate(1)
    rest = [drive.read_block(BLOCK_BYTES) for _ in lab.written[barcode][1:]]
    assert rest == lab.written[barcode][1:]
    found = lab.check("--repair", "--data", "--no-store")
    assert found["Codes"]["segment_lost"] == [barcode]
    assert found["TapeBarcodes"] == [barcode]
