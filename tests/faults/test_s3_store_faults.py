"""The S3 store over connections that break, on a server that checks what it gets and one that does
not: what has arrived is kept, and what is damaged is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapectl.store import s3_client
from tapectl.store.interface import StoreCredentialsError, StoreError
from tapectl.store.s3 import S3Store
from tapectl.store.s3_client import S3Clients
from tapectl.units import MIB
from tests.support.faulty_s3 import FaultyS3
from tests.support.s3_faults import Cut, Fault, answers, requests_of, slow
from tests.support.s3_servers import ACCESS_KEY, SECRET_KEY, S3Server, moto_server, weed_server

BUCKET = "faults"
KEY = "tapes/FAULT1L5/segments/000001-00000001-1"
PART_BYTES = 8 * MIB
UPLOAD = requests_of("PUT", "partNumber=")


@pytest.fixture(scope="module", params=["weed", "moto"])
def server(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    with weed_server() if request.param == "weed" else moto_server() as running:
        running.client().create_bucket(Bucket=BUCKET)
        yield running


@pytest.fixture(scope="module")
def proxy(server: S3Server) -> Iterator[FaultyS3]:
    with FaultyS3(server.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def prefix(request: pytest.FixtureRequest, proxy: FaultyS3) -> str:
    """A prefix of the test's own; nothing goes wrong, and nothing has been asked yet."""
    proxy.set()
    proxy.switch.requests.clear()
    return request.node.name.partition("[")[0]


@pytest.fixture
def store(prefix: str, proxy: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    return S3Store(BUCKET, prefix, S3Clients(endpoint_url=proxy.url))


def content(size_bytes: int, seed: bytes = b"1") -> bytes:
    return hashlib.shake_128(seed).digest(size_bytes)


def parts_sent(proxy: FaultyS3) -> list[str]:
    """Return the numbers of the parts that were sent whole, in order."""
    found = (dict(pair.split("=") for pair in one.query.split("&")) for one in arrived(proxy))
    return [query["partNumber"] for query in found]


def arrived(proxy: FaultyS3) -> list[object]:
    return [one for one in proxy.sent("PUT", "partNumber=") if one.status == 200]


def test_a_put_that_is_broken_off_goes_on_in_parts(store: S3Store, proxy: FaultyS3) -> None:
    body = content(3 * PART_BYTES + 1)
    with proxy.fault(Fault(Cut.RESET_UPLOAD, after_bytes=MIB)), pytest.raises(StoreError):
        store.put(KEY, body)
    third = requests_of("PUT", "partNumber=3")
    with proxy.fault(Fault(Cut.RESET_UPLOAD, after_bytes=MIB, when=third)):
        for _ in range(2):
            with pytest.raises(StoreError) as broken:
                store.put(KEY, body)
            assert broken.value.retryable
    info = store.put(KEY, body)
    assert parts_sent(proxy) == ["1", "2", "3", "4"]
    assert (info.size_bytes, info.etag) == (len(body), store.head(KEY).etag)
    assert store.get(KEY) == body
    assert list(store.unfinished_puts("")) == []


def test_a_new_process_goes_on_with_what_is_there(
    store: S3Store, prefix: str, proxy: FaultyS3
) -> None:
    body = content(3 * PART_BYTES)
    store._uploads.expect(f"{prefix}/{KEY}")
    last = requests_of("PUT", "partNumber=3")
    with (
        proxy.fault(Fault(Cut.RESET_UPLOAD, after_bytes=MIB, when=last)),
        pytest.raises(StoreError),
    ):
        store.put(KEY, body)
    restarted = S3Store(BUCKET, prefix, S3Clients(endpoint_url=proxy.url))
    assert list(restarted.unfinished_puts("tapes/")) == [KEY]
    # Another second part: what is there of the first try is not it.
    other = body[:PART_BYTES] + content(PART_BYTES, b"2") + body[2 * PART_BYTES :]
    restarted.put(KEY, other)
    assert parts_sent(proxy) == ["1", "2", "2", "3"]
    assert restarted.get(KEY) == other
    assert list(restarted.unfinished_puts("")) == []


def test_what_an_unfinished_put_left_can_be_let_go(
    store: S3Store, prefix: str, proxy: FaultyS3
) -> None:
    store._uploads.expect(f"{prefix}/{KEY}")
    body = content(PART_BYTES + 1)
    with (
        proxy.fault(answers(500, "InternalError", when=requests_of("PUT", "partNumber=2"))),
        pytest.raises(StoreError),
    ):
        store.put(KEY, body)
    store.abandon_put(KEY)
    store.abandon_put(KEY)
    assert list(store.unfinished_puts("")) == []
    # The next put begins anew.
    store.put(KEY, body)
    assert store.get(KEY) == body


def test_a_server_that_lists_no_uploads_gets_them_anew(
    store: S3Store, prefix: str, proxy: FaultyS3
) -> None:
    store._uploads.expect(f"{prefix}/{KEY}")
    body = content(PART_BYTES + 1)
    second = answers(500, "InternalError", when=requests_of("PUT", "partNumber=2"), times=1)
    denied = answers(403, "AccessDenied", when=requests_of("GET", "upload"))
    with proxy.fault(second, denied):
        with pytest.raises(StoreError):
            store.put(KEY, body)
        store.put(KEY, body)
        assert list(store.unfinished_puts("")) == []
    assert parts_sent(proxy) == ["1", "1", "2"]
    assert store.get(KEY) == body


def test_an_upload_whose_last_answer_is_lost(store: S3Store, prefix: str, proxy: FaultyS3) -> None:
    store._uploads.expect(f"{prefix}/{KEY}")
    body = content(PART_BYTES + 1)
    with (
        proxy.fault(Fault(Cut.LOSE_ANSWER, when=requests_of("POST", "uploadId="))),
        pytest.raises(StoreError) as lost,
    ):
        store.put(KEY, body)
    assert lost.value.retryable
    store.put(KEY, body)
    assert store.get(KEY) == body


@pytest.mark.parametrize("in_parts", [False, True], ids=["whole", "in parts"])
def test_what_is_damaged_on_its_way_is_not_taken_for_stored(
    store: S3Store, prefix: str, proxy: FaultyS3, in_parts: bool
) -> None:
    body = content(PART_BYTES + 1)
    if in_parts:
        store._uploads.expect(f"{prefix}/{KEY}")
    with (
        proxy.fault(Fault(Cut.CORRUPT_UPLOAD, after_bytes=5, when=requests_of("PUT"))),
        pytest.raises(StoreError) as damaged,
    ):
        store.put(KEY, body)
    assert damaged.value.retryable
    store.put(KEY, body)
    assert store.get(KEY) == body


def test_a_get_goes_on_where_it_was_broken_off(store: S3Store, proxy: FaultyS3) -> None:
    body = content(MIB)
    store.put(KEY, body)
    for cut in (Cut.RESET_DOWNLOAD, Cut.TRUNCATE):
        proxy.switch.requests.clear()
        with proxy.fault(Fault(cut, after_bytes=300 * 1024)):
            assert store.get(KEY, offset=7, size_bytes=MIB - 9) == body[7:-2]
        starts = [int(one.headers["range"][6:].split("-")[0]) for one in proxy.sent("GET")]
        assert starts == sorted(set(starts))
    with proxy.fault(Fault(Cut.RESET_DOWNLOAD, after_bytes=0)), pytest.raises(StoreError):
        store.get(KEY, offset=1)


def test_a_document_that_is_damaged_on_its_way_is_not_read(store: S3Store, proxy: FaultyS3) -> None:
    # It has no checksum of its own, and says things like whose a tape is.
    store.put(KEY, b'{"epoch": 1}')
    damaged = Fault(Cut.CORRUPT_DOWNLOAD, after_bytes=10, when=requests_of("GET"))
    with proxy.fault(damaged), pytest.raises(StoreError) as caught:
        store.get(KEY)
    assert caught.value.retryable
    assert store.get(KEY) == b'{"epoch": 1}'


def test_a_slow_line_is_not_a_dead_one(
    store: S3Store, proxy: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_client, "_CONNECT_TIMEOUT_S", 2)
    body = content(2 * MIB)
    with proxy.fault(slow(600 * 1024)):
        store.put(KEY, body)
    assert store.get(KEY) == body


def test_renewed_keys_are_found_in_the_file(
    prefix: str, proxy: FaultyS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    clients = S3Clients(endpoint_url=proxy.url)
    store = S3Store(BUCKET, prefix, clients)
    with pytest.raises(StoreCredentialsError, match="no credentials"):
        store.put(KEY, b"x")
    keys.write_text(f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = old\n")
    with proxy.fault(answers(400, "ExpiredToken")):
        for _ in range(3):
            with pytest.raises(StoreCredentialsError, match="credentials refused") as refused:
                store.head(KEY)
        assert refused.value.hint
        old = clients()
    assert clients() is old, "a client with the same keys is no better"
    keys.write_text(keys.read_text().replace("old", SECRET_KEY))
    with (
        proxy.fault(answers(403, "InvalidAccessKeyId", times=1)),
        pytest.raises(StoreCredentialsError),
    ):
        store.put(KEY, b"x")
    assert clients() is not old
    store.put(KEY, b"x")
    assert store.get(KEY) == b"x"


def test_the_reason_of_an_answer_without_a_body_is_asked_for(
    store: S3Store, proxy: FaultyS3
) -> None:
    with (
        proxy.fault(answers(403, "RequestTimeTooSkewed")),
        pytest.raises(StoreCredentialsError, match="clocks differ") as refused,
    ):
        store.head(KEY)
    assert refused.value.hint == "set this machine's clock"
