"""A drive whose tape could not be loaded at the start, as after a power cut: what the load needs
came later than the gateway."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tapectl.state.database import State
from tests.support.eviction import evict
from tests.support.gateway import Gateway, wait_until
from tests.support.tape_client import SenseError
from tests.support.two_gateways import block

BLOCK_BYTES = 60_000


def test_a_tape_that_needs_the_store_is_loaded_when_the_store_is_there(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway(seal_idle_s="0.2")
    gateway.activate("--drives", "1")
    (barcode,) = gateway.create_tapes("--count", "1")
    gateway.serve()
    gateway.load(barcode)
    drive = gateway.drive(1)
    for seed in (1, 2, 3):
        drive.write_block(block(seed, BLOCK_BYTES))
    drive.locate(1)
    drive.write_block(block(4, BLOCK_BYTES))
    drive.write_filemarks(1)
    wait_until(lambda: gateway.json("status")["WaitingBytes"] == 0, "all uploaded", 60)
    gateway.stop()
    evict(gateway.state, barcode)
    with State.open(gateway.state) as state, state.write() as db:
        # As versions left it that did not note what stands before a segment: how much of the first
        # one counts, only its index says.
        db.execute("UPDATE segment SET filemarks_before = NULL, data_bytes_before = NULL")
    away = gateway.store.rename(gateway.store.with_name("away"))

    gateway.serve()
    drive = gateway.drive(1)
    with pytest.raises(SenseError):
        drive.wait_ready(timeout_s=1)
    assert f"cannot load {barcode} yet" in gateway.log()
    away.rename(gateway.store)
    drive.wait_ready(timeout_s=60)
    drive.rewind()
    assert [drive.read_block(BLOCK_BYTES) for _ in range(2)] == [
        block(seed, BLOCK_BYTES) for seed in (1, 4)
    ]
