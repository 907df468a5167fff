"""Uploads resume where they were: what has arrived is not put again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import pytest

from tapectl.gateway.transfer.bucket_layout import segment_of
from tapectl.store.interface import PLAIN, ObjectInfo, PutOptions, StoreError
from tapectl.store.memory import MemoryStore
from tests.support.transfer_gateway import TransferGateway, run_until_idle

TAPE = "TEST01L5"


class RefusingStore(MemoryStore):
    """Notes the sequence numbers of the segments that arrive; refuses those that it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[int] = set()
        self.arrived: list[int] = []

    def put(
        self,
        key: str,
        body: bytes | bytearray | memoryview | BinaryIO,
        *,
        options: PutOptions = PLAIN,
    ) -> ObjectInfo:
        place = segment_of(key)
        if place is not None:
            if place.sequence in self.refused:
                raise StoreError("connection closed")
            self.arrived.append(place.sequence)
        return super().put(key, body, options=options)


def test_only_what_is_missing_is_put_by_the_next_pass(tmp_path: Path) -> None:
    gateway = TransferGateway(tmp_path)
    store = RefusingStore()
    engine = gateway.engine(store)
    gateway.create_tape(TAPE)
    run_until_idle(engine)
    for _ in range(4):
        gateway.write_segment(TAPE, [os.urandom(3000)])
    store.refused = {2, 4}
    for _ in range(2):
        with pytest.raises(StoreError):
            engine.run_pass()
    uploaded = [one.uploaded_at_ms is not None for one in gateway.segments(TAPE)]
    assert uploaded == [True, False, False, False]
    store.refused = set()
    run_until_idle(engine)
    assert sorted(store.arrived) == [1, 2, 3, 4]
    assert all(one.uploaded_at_ms for one in gateway.segments(TAPE))
