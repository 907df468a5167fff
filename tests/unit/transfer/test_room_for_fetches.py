"""A small cache: what is fetched finds room one after the other, and nobody waits for good."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from tapectl.store.memory import MemoryStore
from tests.support.transfer_gateway import TransferGateway, run_until_idle

BLOCK_BYTES = 100_000
WAIT_S = 30.0


def test_more_readers_than_the_cache_has_room_for_are_served_in_turn(tmp_path: Path) -> None:
    gateway = TransferGateway(tmp_path, cache_bytes=5 * BLOCK_BYTES // 2)
    engine = gateway.engine(MemoryStore())
    waiting = {}
    for number in range(6):
        barcode = f"TEST{number:02d}L5"
        gateway.create_tape(barcode)
        waiting[barcode] = gateway.write_segment(barcode, [os.urandom(BLOCK_BYTES)])
    run_until_idle(engine)
    gateway.drop_cache()
    deadline = time.monotonic() + WAIT_S
    while waiting:
        assert time.monotonic() < deadline, f"nothing comes of {sorted(waiting)}"
        for barcode, content in list(waiting.items()):
            path, ready = engine.fetch_service.ensure(barcode, 1, 0, len(content), wait_s=0.005)
            if ready:
                # It may have gone again, as a worker may find.
                with contextlib.suppress(FileNotFoundError):
                    assert path.read_bytes() == content
                    del waiting[barcode]
    engine.close()
