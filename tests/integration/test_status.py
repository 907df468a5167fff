"""`tapectl status` tells what is so while an initiator writes."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.support.gateway import Gateway, wait_until
from tests.support.initiator import SessionOptions
from tests.support.tape_client import TapeDrive


@contextmanager
def writing(drive: TapeDrive) -> Iterator[None]:
    """Write blocks all the time."""
    done = threading.Event()
    block = os.urandom(65536)

    def write() -> None:
        while not done.is_set():
            drive.write_block(block)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()


def test_who_is_connected_and_how_fast_it_goes(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway(segment_bytes="4MiB")
    gateway.activate("--drives", "2", "--slots", "4", "--import-export", "4")
    (barcode,) = gateway.create_tapes("--count", "1")
    # Slower than any writer, so that it piles up.
    gateway.cli("bandwidth", "set", "--upload", "1Mbit")
    gateway.serve()
    gateway.load(barcode)
    drive = gateway.drive(1)
    found: dict[str, object] = {}

    def tells_all() -> bool:
        found.update(gateway.json("status"))
        return (
            bool(found["WrittenBytesPerSecond"]) and found["UploadBufferSecondsToFull"] is not None
        )

    with writing(drive):
        wait_until(tells_all, "a speed", 30)
        screen = gateway.cli("status")
    shown = gateway.json("gateway", "show")
    assert shown["GatewayState"] == "STATE_RUNNING"
    assert shown["GatewayNetworkInterfaces"] == [{"Ipv4Address": "127.0.0.1", "Port": gateway.port}]
    assert f"127.0.0.1:{gateway.port}" in gateway.cli("gateway", "show")
    assert f"tapedrive-01  {barcode}" in screen
    assert "write" in screen
    first, second = found["Drives"]
    assert (first["Device"], first["TapeBarcode"]) == ("tapedrive-01", barcode)
    assert first["WrittenBytesPerSecond"] == found["WrittenBytesPerSecond"] > 0
    assert first["TapeSizeInBytes"] == 100 << 30
    assert second["TapeBarcode"] is None
    (initiator,) = found["Initiators"]
    name = SessionOptions().initiator_name
    assert initiator == {
        "InitiatorName": name,
        "Address": "127.0.0.1",
        "Devices": ["tapedrive-01"],
    }
    assert first["Initiators"] == [name]
    assert found["Sessions"] == 1
    gateway.cli("bandwidth", "clear")


def test_watch_goes_on_until_it_is_ended(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "1")
    watching = subprocess.Popen(
        [*gateway.command, "status", "--watch", "--interval", "0.1", "--output", "tsv"],
        env=gateway.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert watching.stdout is not None
        first, second = watching.stdout.readline(), watching.stdout.readline()
        assert first.startswith("GatewayId\t")
        assert second.startswith("sgw-")
        assert watching.stdout.readline() == first
    finally:
        watching.terminate()
        watching.wait()
