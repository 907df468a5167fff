"""Events are told in order, at least once, and each place for itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tapectl.gateway.activation import ActivationRequest, activate
from tapectl.serve import event_feed
from tapectl.serve.event_feed import EventFeed
from tapectl.serve.event_sinks import Document, HookFolder, JsonLinesFile, NotToldError, Webhook
from tapectl.state import events
from tapectl.state.database import State
from tapectl.state.events import NewEvent
from tapectl.store.memory import MemoryStore
from tests.support.closing import closed_at_end

WAIT_S = 30.0
GATEWAY = "sgw-0A1B2C3D"


class Listener:
    """A sink that refuses the first `refusals` events; `told` is set when one has arrived."""

    name = "listener"

    def __init__(self, refusals: int = 0) -> None:
        self.documents: list[Document] = []
        self.refusals = refusals
        self.told = threading.Semaphore(0)

    def tell(self, document: Document) -> None:
        if self.refusals:
            self.refusals -= 1
            raise NotToldError("not now")
        self.documents.append(document)
        self.told.release()

    def wait_for(self, count: int) -> list[object]:
        for _ in range(count):
            assert self.told.acquire(timeout=WAIT_S)
        return [document["source"] for document in self.documents]


@pytest.fixture
def state(tmp_path: Path) -> State:
    path = tmp_path / "tapectl.db"
    store = MemoryStore()
    activate(
        path, ActivationRequest(name="lab", store_url="s3://bucket"), open_store=lambda _: store
    )
    return closed_at_end(State.open(path))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_feed, "POLL_S", 0.01)
    monkeypatch.setattr(event_feed, "RETRY_FIRST_S", 0.01)


@pytest.fixture
def follow(state: State) -> Iterator[Callable[[Listener], None]]:
    """Return what begins to tell a sink, as a gateway that starts does."""
    feeds: list[EventFeed] = []

    def begin(sink: Listener) -> None:
        feed = EventFeed(state, GATEWAY, sink)
        feed._begin()
        feeds.append(feed)
        feed.start()

    yield begin
    for feed in feeds:
        feed.stop()


def happen(state: State, *sources: str) -> None:
    with state.write() as db:
        for source in sources:
            event = NewEvent(
                at_ms=1_700_000_000_000,
                actor="transfer",
                subject_kind="tape",
                subject_id=source,
                type="TapeStatusTransition",
                from_status="RETRIEVING",
                to_status="RETRIEVED",
            )
            events.append(db, event)


def test_a_new_place_is_told_what_happens_from_now_on(
    state: State, follow: Callable[[Listener], None]
) -> None:
    happen(state, "OLD001L5")
    listener = Listener()
    follow(listener)
    happen(state, "NEW001L5", "NEW002L5")
    assert listener.wait_for(2) == ["NEW001L5", "NEW002L5"]


def test_an_event_that_is_not_taken_is_told_again(
    state: State, follow: Callable[[Listener], None]
) -> None:
    listener = Listener(refusals=1)
    follow(listener)
    happen(state, "NEW001L5", "NEW002L5")
    assert listener.wait_for(2) == ["NEW001L5", "NEW002L5"]


def test_after_a_stop_it_goes_on_where_it_was(
    state: State, follow: Callable[[Listener], None]
) -> None:
    EventFeed(state, GATEWAY, Listener())._begin()
    happen(state, "NEW001L5")  # while nothing is served
    listener = Listener()
    follow(listener)
    assert listener.wait_for(1) == ["NEW001L5"]


def document() -> Document:
    return {
        "severity": "INFO",
        "source": "VTL001L5",
        "type": "TapeStatusTransition",
        "gateway": GATEWAY,
        "timestamp": "1700000000000",
        "newStatus": "RETRIEVED",
    }


def test_a_file_gets_a_line_for_each_event(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = JsonLinesFile(path)
    sink.tell(document())
    path.rename(tmp_path / "events.jsonl.1")  # as logrotate does
    sink.tell(document())
    sink.tell(document())
    assert [json.loads(line) for line in path.read_text().splitlines()] == [document()] * 2
    with pytest.raises(NotToldError):
        JsonLinesFile(tmp_path / "no" / "folder").tell(document())


def hook(folder: Path, name: str, text: str, mode: int = 0o755) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)


def test_hooks_run_in_order_with_the_event_and_without_our_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    out = tmp_path / "out"
    folder = tmp_path / "hooks.d"
    folder.mkdir()
    hook(folder, "20-second", f"env >> {out}")
    hook(folder, "10-first", f"cat >> {out}; exit 3")
    hook(folder, "30-not-executable", f"echo no >> {out}", mode=0o644)
    hook(folder, "40-anyone-may-write-it", f"echo no >> {out}", mode=0o777)
    HookFolder(folder, tmp_path / "tapectl.db").tell(document())
    first, *environment = out.read_text().splitlines()
    assert json.loads(first) == document()
    assert "TAPECTL_EVENT_STATUS=RETRIEVED" in environment
    assert f"TAPECTL_STATE={tmp_path / 'tapectl.db'}" in environment
    assert not any("hidden" in line for line in environment)
    assert "no" not in environment


def test_without_a_folder_there_are_no_hooks(tmp_path: Path) -> None:
    HookFolder(tmp_path / "hooks.d", tmp_path / "tapectl.db").tell(document())


def test_a_webhook_is_posted_and_a_refusal_is_told() -> None:
    taken: list[object] = []
    answers = [503, 204]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(answers.pop(0))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/secret-path"
        with pytest.raises(NotToldError) as refused:
            Webhook(url).tell(document())
        assert "503" in str(refused.value)
        assert "secret-path" not in str(refused.value)
        Webhook(url).tell(document())
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert taken == [("/secret-path", "application/json", document())] * 2
    with pytest.raises(NotToldError):
        Webhook(url).tell(document())
