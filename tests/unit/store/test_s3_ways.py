"""The ways to a store that AWS's variables of the environment open: proxies and other endpoints."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tapectl.store.interface import ObjectNotFoundError
from tapectl.store.s3 import S3Store
from tapectl.store.s3_client import S3Clients

ANSWER = b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>"


@contextmanager
def proxy() -> Iterator[tuple[str, list[str]]]:
    """Yield the address of an HTTP proxy that has no object, and what it is asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.send_header("Content-Length", str(len(ANSWER)))
            self.end_headers()
            self.wfile.write(ANSWER)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def test_requests_go_by_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy() as (address, asked):
        for name in ("http_proxy", "no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTP_PROXY", address)
        clients = S3Clients(endpoint_url="http://store.invalid")
        store = S3Store("tapes", "library", clients)
        with pytest.raises(ObjectNotFoundError):
            store.get("tapectl.json")
        clients().close()
    assert asked == ["http://store.invalid/tapes/library/tapectl.json"]


def test_fips_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    client = S3Clients(region="us-east-1")()
    url = client.generate_presigned_url("get_object", Params={"Bucket": "tapes", "Key": "x"})
    assert url.startswith("https://tapes.s3-fips.us-east-1.amazonaws.com/x")
    client.close()
