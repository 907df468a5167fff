"""`tape verify`, as an admin uses it: with and without `serve`, with a drive that reads on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from tests.support.gateway import Gateway, wait_until

MakeGateway = Callable[..., Gateway]
TAPE_STATUS, TAPE_DAMAGED = 12, 19
BLOCK_BYTES = 65536
BLOCKS, SEGMENTS = 40, 3  # of 1 MiB
WAIT_S = 60.0


def written(make_gateway: MakeGateway, blocks: list[bytes]) -> tuple[Gateway, str]:
    """Return a served gateway and a tape in drive 1 that has been written and uploaded."""
    gateway = make_gateway(seal_idle_s="0.2", segment_bytes="1MiB", scrub_days="0")
    gateway.activate("--drives", "1")
    (barcode,) = gateway.create_tapes("--count", "1")
    gateway.serve()
    gateway.load(barcode)
    drive = gateway.drive()
    for block in blocks:
        drive.write_block(block)
    drive.write_filemarks(1)
    drive.session.logout()
    wait_until(lambda: len(segments(gateway)) == SEGMENTS, "all are sealed", WAIT_S)
    wait_until(lambda: gateway.json("status")["WaitingBytes"] == 0, "an upload", WAIT_S)
    return gateway, barcode


def segments(gateway: Gateway) -> list[Path]:
    return sorted(gateway.cache.rglob("*.seg"))


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def test_verify_heals_what_it_can_and_names_what_it_cannot(make_gateway: MakeGateway) -> None:
    blocks = [os.urandom(BLOCK_BYTES) for _ in range(BLOCKS)]
    gateway, barcode = written(make_gateway, blocks)
    files = segments(gateway)

    (sound,) = gateway.json("tape", "verify", barcode)
    assert sound["VerifyStatus"] == "SOUND"
    assert sound["Segments"] == len(files)
    assert sound["CheckedBytes"] == 2 * sum(path.stat().st_size for path in files)

    flip(files[0], BLOCK_BYTES // 2)
    (healed,) = gateway.json("tape", "verify", barcode, "--local")
    assert (healed["VerifyStatus"], healed["HealedCopies"]) == ("SOUND", 1)
    assert "SegmentHealed" in gateway.cli("events", barcode)
    drive = gateway.drive()
    drive.rewind()
    assert [drive.read_block(BLOCK_BYTES) for _ in blocks] == blocks
    drive.session.logout()

    # In neither place any more: without `serve` it is found as well.
    gateway.stop()
    sequence = files[1].stem
    flip(files[1], BLOCK_BYTES // 2)
    (stored,) = gateway.store.rglob(f"segments/*{sequence}*")
    flip(stored, BLOCK_BYTES // 2)
    done = gateway.run("tape", "verify", barcode, "--output", "json")
    assert done.returncode == TAPE_DAMAGED
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "tape_damaged"
    (damaged,) = json.loads(done.stdout)
    assert (damaged["DamagedSegments"], damaged["LostSegments"]) == (1, 1)
    assert damaged["Segments"] == len(files)
    assert gateway.json("tape", "show", barcode)["VerifyStatus"] == "DAMAGED"


def test_a_tape_that_does_not_exist_or_is_on_its_way_is_refused(
    make_gateway: MakeGateway,
) -> None:
    gateway = make_gateway(directory_retrieval_delay_s="600", hold_s="0")
    gateway.activate("--drives", "1")
    (barcode,) = gateway.create_tapes("--count", "1")
    assert gateway.run("tape", "verify", "NONE0001").returncode == 10
    gateway.cli("tape", "delete", barcode, "--yes")
    assert gateway.run("tape", "verify", barcode).returncode == TAPE_STATUS
