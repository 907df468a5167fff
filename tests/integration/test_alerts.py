"""What is wrong behind the devices reaches whoever polls them, and goes when it is over."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.support.gateway import Gateway, wait_until
from tests.support.tape_client import Device, SenseError, TapeDrive

MakeGateway = Callable[..., Gateway]
SETTINGS = {"alert_after_s": "0.5", "seal_idle_s": "0.2"}
WAIT_S = 60.0
# TapeAlert flags of drives and of media changers.
READ_WARNING, HARD_ERROR, MEDIA, READ_FAILURE, WRITE_FAILURE = 1, 3, 4, 5, 6
HARDWARE_B, DIAGNOSTICS = 31, 39
LIBRARY_HARDWARE_D, LIBRARY_DIAGNOSTICS = 4, 5
MEDIUM_ERROR = 3
BLOCK_BYTES = 65536


@pytest.fixture
def served(make_gateway: MakeGateway) -> Gateway:
    """One drive with a tape in it."""
    gateway = make_gateway(**SETTINGS)
    gateway.activate("--drives", "1")
    (barcode,) = gateway.create_tapes("--count", "1")
    gateway.serve()
    gateway.load(barcode)
    return gateway


def log_page(device: Device, page: int) -> dict[int, bytes]:
    """Return the values of a log page's parameters by code."""
    cdb = bytes((0x4D, 0, 0x40 | page, 0, 0, 0, 0, 0x40, 0, 0))
    data = device.checked("LOG SENSE", cdb, data_in_bytes=0x4000)
    found, at = {}, 4
    while at < len(data):
        code, length = int.from_bytes(data[at : at + 2], "big"), data[at + 3]
        found[code] = data[at + 4 : at + 4 + length]
        at += 4 + length
    return found


def tape_alerts(device: Device) -> set[int]:
    return {flag for flag, value in log_page(device, 0x2E).items() if value != b"\0"}


def alert_responses(drive: Device) -> set[int]:
    """Read the page that clears nothing."""
    bits = int.from_bytes(log_page(drive, 0x12)[0], "big")
    return {flag for flag in range(1, 65) if bits >> (64 - flag) & 1}


def alerts_of(gateway: Gateway) -> set[str]:
    return {alert["Alert"] for alert in gateway.json("status")["Alerts"]}


def write_something(drive: TapeDrive) -> None:
    drive.write_block(os.urandom(BLOCK_BYTES))
    drive.write_filemarks(1)


def test_a_store_outage_is_told_by_drive_and_changer_while_it_lasts(served: Gateway) -> None:
    drive, changer = served.drive(), served.changer()
    write_something(drive)
    assert alert_responses(drive) == tape_alerts(changer) == set()
    assert alerts_of(served) == set()

    away = served.store.with_name("away")
    served.store.rename(away)
    write_something(drive)  # what the store does not know is no trouble of the writer
    wait_until(lambda: DIAGNOSTICS in alert_responses(drive), "a flag of the drive", WAIT_S)
    assert alerts_of(served) == {"StoreUnreachable"}
    wait_until(lambda: tape_alerts(changer) == {LIBRARY_DIAGNOSTICS}, "a flag", WAIT_S)
    shown = served.json("device", "show", "tapedrive-01")["TapeAlerts"]
    assert shown == [{"Flag": DIAGNOSTICS, "Name": "diagnostics required"}]
    assert "StoreUnreachable" in served.cli("events", "--type", "AlertRaised")
    # Told once: whoever has read the flag need not hear it again.
    assert tape_alerts(drive) == {DIAGNOSTICS}
    assert tape_alerts(drive) == alert_responses(drive) == set()

    # A worker that starts anew knows of it too.
    os.kill(served.worker_pid(drive.session), signal.SIGKILL)
    drive = served.drive()
    drive.wait_ready()
    wait_until(lambda: DIAGNOSTICS in alert_responses(drive), "the flag again", WAIT_S)

    away.rename(served.store)
    wait_until(lambda: alert_responses(drive) == set(), "no flag any more", WAIT_S)
    assert tape_alerts(changer) == set()
    assert alerts_of(served) == set()
    assert "StoreUnreachable" in served.cli("events", "--type", "AlertCleared")


def test_a_disk_that_vanishes_is_told_and_so_is_the_write_that_fails(served: Gateway) -> None:
    drive, changer = served.drive(), served.changer()
    away = served.buffer.with_name("away")
    served.buffer.rename(away)
    wait_until(lambda: HARDWARE_B in alert_responses(drive), "a flag of the drive", WAIT_S)
    assert alerts_of(served) == {"DiskMissing"}
    wait_until(lambda: tape_alerts(changer) == {LIBRARY_HARDWARE_D}, "a flag", WAIT_S)
    with pytest.raises(SenseError) as refused:
        write_something(drive)
    assert refused.value.key == MEDIUM_ERROR
    assert alert_responses(drive) == {HARD_ERROR, WRITE_FAILURE, HARDWARE_B}
    away.rename(served.buffer)
    wait_until(lambda: HARDWARE_B not in alert_responses(drive), "the disk is back", WAIT_S)
    assert alert_responses(drive) == {HARD_ERROR, WRITE_FAILURE}


def damage_the_cache(gateway: Gateway) -> None:
    """Flip a bit in the first block of the tape's only segment."""
    wait_until(lambda: list(gateway.cache.rglob("*.seg")) != [], "it is sealed", WAIT_S)
    (path,) = gateway.cache.rglob("*.seg")
    with path.open("r+b") as file:
        file.seek(BLOCK_BYTES // 2)
        byte = file.read(1)
        file.seek(BLOCK_BYTES // 2)
        file.write(bytes((byte[0] ^ 1,)))


def test_a_damaged_block_comes_from_the_store_and_is_told(served: Gateway) -> None:
    drive = served.drive()
    block = os.urandom(BLOCK_BYTES)
    drive.write_block(block)
    drive.write_filemarks(1)
    wait_until(lambda: list(served.cache.rglob("*.seg")) != [], "it is sealed", WAIT_S)
    wait_until(lambda: served.json("status")["WaitingBytes"] == 0, "an upload", WAIT_S)
    damage_the_cache(served)
    drive.rewind()
    assert drive.read_block(BLOCK_BYTES) == block
    assert alert_responses(drive) == {READ_WARNING}
    assert int.from_bytes(log_page(drive, 0x03)[0x0003], "big") == 1
    assert int.from_bytes(log_page(drive, 0x03)[0x0006], "big") == 0


def test_a_block_that_is_damaged_everywhere_is_an_error_and_told(served: Gateway) -> None:
    drive = served.drive()
    served.store.rename(served.store.with_name("away"))
    write_something(drive)
    damage_the_cache(served)
    drive.rewind()
    with pytest.raises(SenseError) as refused:
        drive.read_block(BLOCK_BYTES)
    assert refused.value.key == MEDIUM_ERROR
    assert alert_responses(drive) >= {HARD_ERROR, MEDIA, READ_FAILURE}
    assert int.from_bytes(log_page(drive, 0x03)[0x0006], "big") == 1
    assert log_page(drive, 0x16)[0][9] & 0x0F == MEDIUM_ERROR


def test_statistics_of_volume_and_drive_go_on_over_a_restart(served: Gateway) -> None:
    drive = served.drive()
    write_something(drive)
    drive.session.logout()
    served.stop()
    served.serve()
    drive = served.drive()
    drive.wait_ready()
    volume = log_page(drive, 0x17)
    assert int.from_bytes(volume[0x0001], "big") == 2  # threaded
    assert int.from_bytes(volume[0x000E], "big") == 0  # megabytes written in this mount
    assert int.from_bytes(log_page(drive, 0x14)[0x000C], "big") == 2  # power cycles
    usage = log_page(drive, 0x30)
    assert int.from_bytes(usage[0x0002], "big") == 1  # the data set that 64 KiB begin
