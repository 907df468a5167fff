"""An hour without the store, by the clock that the engine goes by: nothing grows, and what waited
goes out in the first passes afterwards."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.store.interface import StoreError
from tapectl.store.retrying import RetryingStore, RetryPolicy
from tapectl.store.s3 import S3Store
from tapectl.store.s3_client import S3Clients
from tests.support.faulty_s3 import FaultyS3
from tests.support.s3_faults import answers
from tests.support.s3_servers import ACCESS_KEY, SECRET_KEY, moto_server
from tests.support.transfer_gateway import TransferGateway, run_until_idle

TAPE = "TEST01L5"
# A quarter of the passes that there are, to save time.
PASS_MS = 20_000
HOUR_MS = 3_600_000
SEGMENTS = 12
# Of a process that has warmed up; a client that is made anew in each pass takes a hundred times it.
GROWTH_BYTES_MAX = 8 << 20


class Clock:
    """The time, which goes on by what is slept and by passes only."""

    def __init__(self, gateway: TransferGateway) -> None:
        self._gateway = gateway

    def sleep(self, seconds: float) -> None:
        self._gateway.ms += round(seconds * 1000)

    def monotonic_s(self) -> float:
        return self._gateway.ms / 1000


def fail_for(
    engine: TransferEngine, gateway: TransferGateway, until_ms: int
) -> Sequence[tuple[int, int]]:
    """Run passes as the transfer process does, each of which fails; return how many descriptors and
    threads this process had after each."""
    held = []
    while gateway.ms < until_ms:
        with pytest.raises(StoreError):
            engine.run_pass()
        gateway.ms += PASS_MS
        held.append((len(os.listdir("/proc/self/fd")), threading.active_count()))
    return held


def fewest(held: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the fewest descriptors and the fewest threads."""
    return min(files for files, _ in held), min(threads for _, threads in held)


@pytest.mark.parametrize(
    "outage",
    [FaultyS3.gone, lambda proxy: proxy.fault(answers(400, "ExpiredToken"))],
    ids=["gone", "expired keys"],
)
def test_an_hour_without_the_store_costs_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    outage: Callable[[FaultyS3], AbstractContextManager[None]],
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    gateway = TransferGateway(tmp_path)
    clock = Clock(gateway)
    with moto_server() as server, FaultyS3(server.endpoint_url) as proxy:
        server.client().create_bucket(Bucket="tapes")
        store = RetryingStore(
            S3Store("tapes", "", S3Clients(endpoint_url=proxy.url)),
            policy=RetryPolicy(),
            sleep=clock.sleep,
            monotonic_s=clock.monotonic_s,
            rng=lambda: 0.5,
        )
        engine = gateway.engine(store)
        gateway.create_tape(TAPE)
        run_until_idle(engine)
        for number in range(SEGMENTS):
            gateway.write_segment(TAPE, [bytes([number]) * 1000])
        with outage(proxy):
            begun_ms = gateway.ms
            before = fail_for(engine, gateway, begun_ms + HOUR_MS // 6)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            after = fail_for(engine, gateway, begun_ms + HOUR_MS)
            # A connection is there after a pass or not, as it happens: the fewest of many passes.
            now, then = fewest(after[-len(before) :]), fewest(before)
            assert now[0] <= then[0]
            assert now[1] <= then[1]
            grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak)
            assert grown < GROWTH_BYTES_MAX
            assert engine.status()["waiting_segments"] == SEGMENTS
        run_until_idle(engine, passes_max=4)
        assert all(one.uploaded_at_ms for one in gateway.segments(TAPE))
        assert engine.status()["store_error"] is None
        engine.close()
