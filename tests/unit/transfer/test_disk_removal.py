"""Giving disks up: what is refused, what is told, and what is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapectl.disks.disk_directory import read_marker
from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.disk_allocation import DiskAddition, add_disk
from tapectl.gateway.disk_draining import cancel_drain, drain_disk, drain_progress
from tapectl.gateway.disk_list import list_disks
from tapectl.gateway.disk_removal import plan_removal, remove_disk
from tapectl.gateway.events import list_events
from tapectl.state import segments
from tapectl.state.disks import DiskRole
from tapectl.store.memory import MemoryStore
from tests.support.transfer_gateway import BUFFER, CACHE, TransferGateway, run_until_idle

TAPE = "TEST01L5"
ROLES = {CACHE: DiskRole.CACHE_STORAGE, BUFFER: DiskRole.UPLOAD_BUFFER}


@pytest.fixture
def gateway(tmp_path: Path) -> TransferGateway:
    gateway = TransferGateway(tmp_path)
    gateway.create_tape(TAPE)
    run_until_idle(gateway.engine(MemoryStore(now_ms=lambda: gateway.ms)))
    return gateway


def add(gateway: TransferGateway, disk_id: str, name: str = "new") -> str:
    """Add another disk of the role that one has."""
    path = gateway.root / name
    path.mkdir(exist_ok=True)
    request = DiskAddition(role=ROLES[disk_id], path=path, allow_small=True)
    return add_disk(gateway.state, request).disk_id


def refused(gateway: TransferGateway, disk_id: str, *, force: bool = False) -> TapectlError:
    with pytest.raises(TapectlError) as caught:
        remove_disk(gateway.state, plan_removal(gateway.state, disk_id), force=force)
    assert disk_id in [disk.disk_id for disk in list_disks(gateway.state)]
    return caught.value


def lose(gateway: TransferGateway, folder: str) -> None:
    (gateway.root / folder).rename(gateway.root / f"lost-{folder}")


def drain_status(gateway: TransferGateway, disk_id: str) -> str | None:
    return next(one.drain for one in list_disks(gateway.state) if one.disk_id == disk_id)


@pytest.mark.parametrize("disk_id", [CACHE, BUFFER])
def test_the_only_disk_of_a_role_is_not_drained(gateway: TransferGateway, disk_id: str) -> None:
    with pytest.raises(TapectlError) as caught:
        drain_disk(gateway.state, disk_id)
    assert caught.value.exit_code == ExitCode.DISKS_NEEDED
    add(gateway, disk_id)
    assert drain_disk(gateway.state, disk_id).drain == "DRAINED"
    assert drain_disk(gateway.state, disk_id).drain == "DRAINED"
    types = [event.type for event in list_events(gateway.state, subject=disk_id)]
    assert types.count("DiskDraining") == 1


def test_a_drain_is_undone(gateway: TransferGateway) -> None:
    add(gateway, CACHE)
    drain_disk(gateway.state, str(gateway.cache))
    assert cancel_drain(gateway.state, str(gateway.cache)).drain is None
    assert cancel_drain(gateway.state, CACHE).drain is None


def test_a_disk_that_is_in_use_or_holds_something_is_not_removed(
    gateway: TransferGateway,
) -> None:
    new = add(gateway, CACHE)
    gateway.write_segment(TAPE, [b"x"])
    assert refused(gateway, CACHE).exit_code == ExitCode.DISK_NOT_DRAINED
    assert refused(gateway, new).exit_code == ExitCode.DISK_NOT_DRAINED
    drain_disk(gateway.state, CACHE)
    assert drain_status(gateway, CACHE) == "DRAINING"
    assert drain_progress(gateway.state, CACHE).segments == 1
    assert "1 segments" in refused(gateway, CACHE).message


def test_a_drained_disk_is_a_plain_directory_again(gateway: TransferGateway) -> None:
    add(gateway, CACHE)
    drain_disk(gateway.state, CACHE)
    (gateway.cache / "tapes" / TAPE).mkdir(exist_ok=True)
    remove_disk(gateway.state, plan_removal(gateway.state, CACHE))
    assert list(gateway.cache.iterdir()) == []
    assert CACHE not in [disk.disk_id for disk in list_disks(gateway.state)]
    add(gateway, CACHE, "cache")


def test_an_open_segment_keeps_its_disk(gateway: TransferGateway) -> None:
    cartridge = gateway.load(TAPE)
    cartridge.write_blocks(memoryview(b"x" * 1000), 1000)
    add(gateway, CACHE)
    drain_disk(gateway.state, CACHE)
    assert drain_progress(gateway.state, CACHE).unsealed == [TAPE]
    refused(gateway, CACHE)
    # A drive lets go of it; then there is a sealed one to be moved.
    cartridge.leave_disks([gateway.cache])
    assert drain_progress(gateway.state, CACHE).unsealed == []
    assert drain_progress(gateway.state, CACHE).segments == 1
    # What is written next is elsewhere.
    cartridge.write_blocks(memoryview(b"y" * 1000), 1000)
    assert drain_progress(gateway.state, CACHE).unsealed == []
    buffer = memoryview(bytearray(1000))
    cartridge.locate(0)
    assert [cartridge.read_block(buffer), bytes(buffer[:1])] == [1000, b"x"]
    cartridge.close()


@pytest.mark.parametrize(("disk_id", "folder"), [(CACHE, "cache"), (BUFFER, "buffer")])
def test_a_lost_disk_is_given_up_and_the_tapes_are_told(
    gateway: TransferGateway, disk_id: str, folder: str
) -> None:
    gateway.write_segment(TAPE, [b"x"])
    lose(gateway, folder)
    refused(gateway, disk_id)
    plan = plan_removal(gateway.state, disk_id)
    assert (plan.single_copy, plan.lost, plan.only_here) == ((TAPE,), (), ())
    remove_disk(gateway.state, plan, force=True)
    (record,) = gateway.segments(TAPE)
    assert {record.cache_disk_id, record.buffer_disk_id} == {None, *ROLES} - {disk_id}
    (event,) = [one for one in list_events(gateway.state) if one.type == "DiskRemoved"]
    assert event.detail["single_copy"] == [TAPE]


def test_an_open_segment_on_a_lost_disk_is_told(gateway: TransferGateway) -> None:
    cartridge = gateway.load(TAPE)
    cartridge.write_blocks(memoryview(b"x" * 1000), 1000)
    lose(gateway, "cache")
    assert plan_removal(gateway.state, CACHE).single_copy == (TAPE,)


def test_what_both_disks_have_lost_stays_known(gateway: TransferGateway) -> None:
    gateway.write_segment(TAPE, [b"x"])
    for disk_id, folder in ((CACHE, "cache"), (BUFFER, "buffer")):
        lose(gateway, folder)
        add(gateway, disk_id, f"new-{folder}")
    assert plan_removal(gateway.state, CACHE).lost == (TAPE,)
    for disk_id in (CACHE, BUFFER):
        remove_disk(gateway.state, plan_removal(gateway.state, disk_id), force=True)
    (record,) = gateway.segments(TAPE)
    assert (record.cache_disk_id, record.buffer_disk_id) == (None, None)
    # One comes back with what it had.
    (gateway.root / "lost-buffer").rename(gateway.buffer)
    assert add(gateway, BUFFER, "buffer") == BUFFER


def test_the_only_copy_is_not_given_up_while_it_can_be_read(gateway: TransferGateway) -> None:
    gateway.write_segment(TAPE, [b"x"])
    add(gateway, CACHE)
    lose(gateway, "buffer")
    assert plan_removal(gateway.state, CACHE).only_here == (TAPE,)
    assert refused(gateway, CACHE, force=True).exit_code == ExitCode.DISK_NOT_DRAINED


def test_a_disk_given_up_by_force_keeps_its_files(gateway: TransferGateway) -> None:
    gateway.write_segment(TAPE, [b"x"])
    remove_disk(gateway.state, plan_removal(gateway.state, CACHE), force=True)
    assert read_marker(gateway.cache) is not None
    with gateway.state.read() as db:
        assert segments.totals_on_disk(db, CACHE).segments == 0
    assert add(gateway, CACHE, "cache") == CACHE
