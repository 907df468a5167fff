"""Undo, takeover and adoption as users see them: commands, a served library, an initiator.

The machine that was thought dead is one whose processes are stopped (SIGSTOP) while it writes, and
go on when another machine has its gateway.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator

import pytest

from tapectl.state import gateways, segments, volumes
from tapectl.state.database import State
from tests.support.gateway import Gateway, wait_until
from tests.support.s3_servers import ACCESS_KEY, SECRET_KEY, S3Server, moto_server, weed_server
from tests.support.tape_client import DATA_PROTECT, FilemarkError, SenseError, TapeDrive
from tests.support.two_gateways import block

BLOCK_BYTES = 100_000
SETTINGS = {"hold_s": "0", "seal_idle_s": "1"}
WAIT_S = 60.0

Connect = Callable[[Gateway], list[str]]


@pytest.fixture
def second(make_gateway: Callable[..., Gateway]) -> Gateway:
    """A machine without a gateway."""
    return make_gateway("second", **SETTINGS)


@pytest.fixture
def first(make_gateway: Callable[..., Gateway]) -> Gateway:
    return make_gateway("first", **SETTINGS)


# SeaweedFS takes long to start; it is tried when it is asked for.
STORES = os.environ.get("TAPECTL_RECOVERY_STORES", "directory,moto").split(",")


@pytest.fixture(scope="module", params=STORES)
def server(request: pytest.FixtureRequest) -> Iterator[S3Server | None]:
    if request.param == "directory":
        yield None
        return
    with (moto_server if request.param == "moto" else weed_server)() as running:
        running.store("recovery")  # makes the bucket
        yield running


def store_of(first: Gateway, server: S3Server | None, *others: Gateway) -> list[str]:
    """Return the address of a store for these machines, and the options that go with it."""
    if server is None:
        return [str(first.store)]
    for machine in (first, *others):
        machine.credentials = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    prefix = first.root.parent.name
    address = f"s3://recovery/{prefix}"
    return [address, "--endpoint-url", server.endpoint_url, "--region", "us-east-1"]


def blocks(*seeds: int) -> list[bytes]:
    return [block(seed, BLOCK_BYTES) for seed in seeds]


def write(drive: TapeDrive, *seeds: int) -> None:
    for one in blocks(*seeds):
        drive.write_block(one)
    drive.write_filemarks(1)


def read(drive: TapeDrive) -> list[bytes]:
    """Read the first file of the tape."""
    drive.wait_ready()
    drive.rewind()
    found = []
    while True:
        try:
            found.append(drive.read_block(BLOCK_BYTES))
        except FilemarkError:
            return found


def uploaded(machine: Gateway, barcode: str) -> None:
    """Wait until a recovery point has all that was written."""

    def is_there() -> bool:
        with State.open(machine.state) as state, state.read() as db:
            records = segments.of_tape(db, barcode)
            changed = volumes.changed_since_manifest(db)
        return bool(records) and all(one.uploaded_at_ms for one in records) and not changed

    wait_until(is_there, "a recovery point", WAIT_S)


def is_fenced(machine: Gateway) -> bool:
    with State.open(machine.state) as state, state.read() as db:
        return gateways.read_standing(db).fenced_at_ms is not None


def add_disks(machine: Gateway) -> None:
    machine.cli("disk", "add-cache", str(machine.cache))
    machine.cli("disk", "add-buffer", str(machine.buffer))


def stop(machine: Gateway, sign: signal.Signals) -> None:
    for pid in (machine.server_pid, *machine.child_pids()):
        os.kill(pid, sign)


def test_an_overwrite_is_undone_under_a_running_library(first: Gateway) -> None:
    first.activate("--drives", "1")
    (barcode,) = first.create_tapes()
    first.serve()
    changer = first.changer()
    changer.load(barcode, 0)
    drive = first.drive()
    drive.wait_ready()
    write(drive, 1, 2, 3)
    changer.unload(0)
    uploaded(first, barcode)
    (before, *_) = first.json("recovery", "list", barcode)
    changer.load(barcode, 0)
    drive.wait_ready()
    write(drive, 9)
    refused = first.run("recovery", "restore", barcode, "--yes")
    assert (refused.returncode, "loaded in drive 1" in refused.stderr) == (15, True)
    changer.unload(0)
    uploaded(first, barcode)

    restored = first.json(
        "recovery", "restore", barcode, "--at", before["TapeRecoveryPointTime"], "--yes"
    )
    assert restored["RecoveryPointNumber"] == before["RecoveryPointNumber"]
    assert restored["TapeStatus"] == "AVAILABLE"
    changer.load(barcode, 0)
    assert read(drive) == blocks(1, 2, 3)
    uploaded(first, barcode)
    assert first.json("recovery", "list", barcode)[0]["TapeUsedInBytes"] == 3 * BLOCK_BYTES
    write(drive, 4)


def test_a_stopped_machine_comes_back_after_its_gateway_was_adopted(
    first: Gateway, second: Gateway, server: S3Server | None
) -> None:
    address, *options = store_of(first, server, second)
    first.activate("--drives", "1", *options, store=address)
    (barcode,) = first.create_tapes()
    targets = first.targets()
    first.serve()
    first.changer().load(barcode, 0)
    drive = first.drive()
    drive.wait_ready()
    write(drive, 1, 2)
    uploaded(first, barcode)
    drive.space_end_of_data()
    for one in blocks(*range(20, 30)):
        drive.write_block(one)
    stop(first, signal.SIGSTOP)
    try:
        adopted = second.json("gateway", "adopt", address, *options, "--yes")
        assert (adopted["Tapes"], adopted["Epoch"]) == (1, 2)
        assert second.targets() == targets
        add_disks(second)
        second.serve()
        if second.json("tape", "show", barcode)["Location"] != "drive 1":
            second.changer().load(barcode, 0)
        new_drive = second.drive()
        assert read(new_drive) == blocks(1, 2)
        new_drive.space_end_of_data()
        end = new_drive.read_position()
        write(new_drive, 5, 6)
        second.changer().unload(0)
        uploaded(second, barcode)
    finally:
        stop(first, signal.SIGCONT)

    wait_until(lambda: is_fenced(first), "the old machine knows", WAIT_S)
    assert first.json("gateway", "show")["GatewayOperationalState"] == "DISABLED"

    def refused() -> bool:
        try:
            drive.write_block(block(1, BLOCK_BYTES))
        except SenseError as error:
            return error.key == DATA_PROTECT
        return False

    wait_until(refused, "the old machine's drive is read-only", WAIT_S)
    assert "GatewayFenced" in [one["Type"] for one in first.json("events")]
    first.stop()

    # What the new machine wrote is what the bucket has, whatever the old one did in between.
    second.stop()
    for disk in (second.cache, second.buffer):
        for folder in disk.rglob(barcode):
            shutil.rmtree(folder)
    second.serve()
    second.changer().load(barcode, 0)
    last = second.drive()
    assert read(last) == blocks(1, 2)
    last.locate(end)
    assert [last.read_block(BLOCK_BYTES) for _ in range(2)] == blocks(5, 6)


def test_the_tapes_of_a_disabled_gateway_are_read_elsewhere(
    first: Gateway, second: Gateway
) -> None:
    first.activate("--drives", "1")
    (barcode,) = first.create_tapes()
    first.serve()
    first.changer().load(barcode, 0)
    drive = first.drive()
    drive.wait_ready()
    write(drive, 1, 2)
    uploaded(first, barcode)
    first.kill_server()
    gateway_id = first.json("gateway", "show")["GatewayId"]

    second.activate("--drives", "1", store=str(first.store))
    second.serve()
    refused = second.run("recovery", "restore", barcode, "--yes")
    assert (refused.returncode, "gateway disable" in refused.stderr) == (48, True)
    second.cli("gateway", "disable", gateway_id, "--yes")
    listed = second.json("recovery", "list", "--gateway", gateway_id)
    assert [one["TapeBarcode"] for one in listed] == [barcode]
    trial = second.json("recovery", "restore", barcode, "--dry-run", "--to", "slot:7")
    assert (trial["DryRun"], trial["FromGateway"]) == (True, gateway_id)
    restored = second.json("recovery", "restore", barcode, "--to", "slot:7", "--yes")
    assert (restored["TapeStatus"], restored["Location"]) == ("RECOVERED", "slot 7")
    second.changer().load(barcode, 0)
    recovered = second.drive()
    assert read(recovered) == blocks(1, 2)
    with pytest.raises(SenseError) as protected:
        recovered.write_block(block(3, BLOCK_BYTES))
    assert protected.value.key == DATA_PROTECT

    states = {one["GatewayId"]: one for one in second.json("gateway", "list")}
    assert states[gateway_id]["GatewayOperationalState"] == "DISABLED"
    done = first.run("tape", "create", "--size", "100GiB")
    assert done.returncode == 0, "it does not know yet"
    first.run("sync")
    assert first.run("tape", "create", "--size", "100GiB").returncode == 48
