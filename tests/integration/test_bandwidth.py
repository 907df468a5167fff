"""A limit of the bandwidth is felt, and lifted, while the gateway serves."""

from __future__ import annotations

import os
from collections.abc import Callable

from tests.support.gateway import Gateway, wait_until


def test_a_limit_is_lifted_without_a_restart(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway(seal_idle_s="0.2")
    gateway.activate("--drives", "1", "--slots", "4", "--import-export", "4")
    (barcode,) = gateway.create_tapes("--count", "1")
    # 6.4 kB/s: the megabytes below would take more than ten minutes.
    gateway.cli("bandwidth", "set", "--upload", "51200")
    gateway.serve()
    gateway.load(barcode)
    drive = gateway.drive(1)
    for _ in range(64):
        drive.write_block(os.urandom(65536))
    drive.write_filemarks(1)

    def waiting() -> int:
        return int(gateway.json("status")["WaitingBytes"])

    wait_until(lambda: waiting() > 0, "a segment to upload", 30)
    (limit,) = gateway.json("bandwidth", "show")
    assert limit["AverageUploadRateLimitInBitsPerSec"] == 51200
    assert limit["Active"] is True
    gateway.cli("bandwidth", "clear")
    wait_until(lambda: waiting() == 0, "all uploaded", 60)
    gateway.stop()
