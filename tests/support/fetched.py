"""Reads what a transfer engine fetches, as a drive does: asked for again and again."""

from __future__ import annotations

import contextlib
import time

from tapectl.gateway.transfer.engine import TransferEngine

WAIT_S = 60.0
POLL_S = 0.005


def fetched(
    engine: TransferEngine, barcode: str, sequence: int, offset: int, size_bytes: int
) -> bytes:
    """Return these bytes of a segment's file once they are in the cache."""
    deadline = time.monotonic() + WAIT_S
    while True:
        path, ready = engine.fetch_service.ensure(barcode, sequence, offset, size_bytes)
        if ready:
            # Finished or evicted since, it has another name or none.
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                file.seek(offset)
                return file.read(size_bytes)
        assert time.monotonic() < deadline, f"segment {sequence} of {barcode} never came"
        time.sleep(POLL_S)
