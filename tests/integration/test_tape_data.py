"""Tapes are exported, imported, warmed and read by commands while the library is served."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tapectl.errors import ExitCode
from tests.support.eviction import evict
from tests.support.gateway import Gateway, wait_until
from tests.support.tape_client import FilemarkError
from tests.support.two_gateways import block

BLOCK_BYTES = 60_000


def test_a_copy_by_an_image_is_the_same_to_an_initiator(
    make_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    gateway = make_gateway(seal_idle_s="0.2")
    gateway.activate("--drives", "1", "--slots", "4", "--import-export", "4")
    source, copy = gateway.create_tapes("--count", "2")
    gateway.serve()
    gateway.load(source)
    drive = gateway.drive(1)
    for seed in (1, 2):
        drive.write_block(block(seed, BLOCK_BYTES))
        drive.write_block(block(seed, seed))
        drive.write_filemarks(1)
    drive.session.logout()
    assert gateway.run("tape", "cat", source).returncode == ExitCode.TAPE_IN_DRIVE
    gateway.cli("tape", "unload", source)
    wait_until(lambda: gateway.json("status")["WaitingBytes"] == 0, "all uploaded", 60)
    evict(gateway.state, source)

    image = tmp_path / "image.tap"
    gateway.cli("tape", "export", source, str(image))
    evict(gateway.state, source)
    (warmed,) = gateway.json("tape", "warm", source)
    assert warmed["FetchedBytes"] == warmed["CachedBytes"] > 2 * BLOCK_BYTES
    half = tmp_path / "half.tap"
    half.write_bytes(image.read_bytes()[:-10])
    assert gateway.run("tape", "import", copy, str(half)).returncode == ExitCode.TAPE_INVALID
    gateway.cli("tape", "import", copy, str(image))

    gateway.load(copy)
    drive = gateway.drive(1)
    drive.wait_ready()
    drive.rewind()
    for seed in (1, 2):
        assert drive.read_block(BLOCK_BYTES) == block(seed, BLOCK_BYTES)
        assert drive.read_block(seed) == block(seed, seed)
        with pytest.raises(FilemarkError):
            drive.read_block(BLOCK_BYTES)


def test_a_drive_does_not_take_a_tape_that_a_command_writes(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "1", "--slots", "4", "--import-export", "4")
    (barcode,) = gateway.create_tapes("--count", "1")
    gateway.serve()
    pipe = gateway.root / "pipe"
    os.mkfifo(pipe)
    importing = gateway.start("tape", "import", barcode, str(pipe), "--format", "raw")
    with pipe.open("wb") as source:
        source.write(block(1, BLOCK_BYTES))
        source.flush()
        wait_until(
            lambda: gateway.run("tape", "cat", barcode).returncode == ExitCode.TAPE_IN_DRIVE,
            "the tape in use",
            30,
        )
        refused = gateway.run("tape", "load", barcode)
        assert refused.returncode == ExitCode.DEVICE_BUSY
        assert "in use" in refused.stderr
    assert importing.wait(60) == 0
    gateway.cli("tape", "load", barcode)
