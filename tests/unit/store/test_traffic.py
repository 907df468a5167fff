"""Limits of bandwidth: bytes are counted against a clock that only sleeping moves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tapectl.store.directory import DirectoryStore
from tapectl.store.interface import ObjectStore
from tapectl.store.s3 import S3Store
from tapectl.store.s3_client import S3Clients
from tapectl.store.traffic import Traffic
from tests.support.s3_servers import ACCESS_KEY, SECRET_KEY, S3Server, moto_server

EXACT = 0.05


class Sleeper:
    """A clock that stands still but while somebody sleeps; threads sleep one after the other."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.lock = threading.Lock()
        self.on_sleep: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        with self.lock:
            self.now_s += seconds
        self.on_sleep()


class Limited:
    """Traffic whose limits a test changes, and what has passed since a point in time."""

    def __init__(self) -> None:
        self.clock = Sleeper()
        self.upload: float | None = None
        self.download: float | None = None
        self.traffic = Traffic(
            lambda: self.upload,
            lambda: self.download,
            monotonic_s=lambda: self.clock.now_s,
            sleep=self.clock.sleep,
        )

    def elapsed_s(self, action: Callable[[], object]) -> float:
        before_s = self.clock.now_s
        action()
        return self.clock.now_s - before_s


@pytest.fixture
def limited() -> Limited:
    return Limited()


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with moto_server() as running:
        yield running


@pytest.fixture(params=["directory", "s3"])
def store(
    request: pytest.FixtureRequest,
    limited: Limited,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> ObjectStore:
    if request.param == "directory":
        return DirectoryStore(tmp_path, now_ms=lambda: 0, traffic=limited.traffic)
    server = request.getfixturevalue("server")
    server.client().create_bucket(Bucket="paced")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    clients = S3Clients(endpoint_url=server.endpoint_url, traffic=limited.traffic)
    return S3Store("paced", "", clients, traffic=limited.traffic)


@pytest.mark.parametrize("rate", [6_400, 1_000_000, 123_456_789])
def test_uploads_and_downloads_take_as_long_as_the_limit_says(
    store: ObjectStore, limited: Limited, rate: int
) -> None:
    body = bytes(range(256)) * 4 * min(10_000, max(1000, rate // 1024))
    limited.upload, limited.download = float(rate), 2.0 * rate
    took_s = limited.elapsed_s(lambda: store.put("object", body))
    assert took_s == pytest.approx(len(body) / rate, rel=EXACT, abs=0.2)
    # What a second of rest lets pass at once.
    limited.traffic.down.take_pieces(2 * rate)
    took_s = limited.elapsed_s(lambda: store.get("object"))
    assert took_s == pytest.approx(len(body) / (2 * rate), rel=EXACT, abs=0.2)
    assert store.get("object") == body


def test_a_limit_that_changes_holds_at_once(store: ObjectStore, limited: Limited) -> None:
    body = bytes(4_000_000)
    limited.upload = 100_000.0
    start_s = limited.clock.now_s

    def halfway() -> None:
        if limited.traffic.up.passed_bytes >= 2_000_000:
            limited.upload = 1_000_000.0

    limited.clock.on_sleep = halfway
    store.put("object", body)
    assert limited.clock.now_s - start_s == pytest.approx(20 + 2, rel=EXACT)


def test_without_a_limit_nobody_waits_and_bytes_are_counted(
    store: ObjectStore, limited: Limited
) -> None:
    body = bytes(3_000_000)
    assert limited.elapsed_s(lambda: store.put("object", body)) == 0
    assert limited.elapsed_s(lambda: store.get("object")) == 0
    assert limited.traffic.up.passed_bytes == len(body)
    assert limited.traffic.down.passed_bytes == len(body)


def test_threads_share_the_limit(limited: Limited, tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path, now_ms=lambda: 0, traffic=limited.traffic)
    limited.upload = 1_000_000.0
    threads = [
        threading.Thread(target=store.put, args=(f"object{number}", bytes(1_000_000)))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Each thread's waits move the one clock: together they slept for at least what was due.
    assert limited.clock.now_s - 1000 >= 4 * (1 - EXACT)


def test_a_pause_is_made_up_for_by_a_second_at_most(limited: Limited) -> None:
    limited.upload = 1000.0
    limited.traffic.up.take_pieces(1000)
    limited.clock.now_s += 3600
    took_s = limited.elapsed_s(lambda: limited.traffic.up.take_pieces(10_000))
    assert took_s == pytest.approx(9, abs=0.25)


def test_the_end_lifts_the_limits(limited: Limited) -> None:
    limited.upload = 1.0
    limited.traffic.end()
    assert limited.elapsed_s(lambda: limited.traffic.up.take_pieces(10_000)) == 0
