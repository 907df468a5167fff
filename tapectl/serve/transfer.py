"""The transfer process: the only one that talks to the store.

As a child of the supervisor it runs passes of the transfer engine whenever
something is due and answers the workers' fetches. `run_sync` runs the same
engine in the calling process, for cron, when nothing serves.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator

from tapectl.errors import TapectlError
from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.bandwidth import LiveLimits
from tapectl.gateway.settings import Settings
from tapectl.gateway.stores import open_store
from tapectl.gateway.transfer.engine import PassReport, TransferEngine
from tapectl.serve.child_main import ChildService, run_child
from tapectl.serve.fetch_socket import FetchOperations, transfer_socket_path
from tapectl.serve.json_lines import Message
from tapectl.serve.json_server import JsonServer
from tapectl.serve.kept_memory import keep_freed_memory
from tapectl.serve.lock import serve_lock
from tapectl.serve.rates import RateMeter
from tapectl.state.database import State
from tapectl.store.traffic import Traffic

# Run as a module, __name__ is __main__.
_log = logging.getLogger("tapectl.serve.transfer")

# Of the CPU it takes what the workers leave.
NICENESS = 10
# Looks by itself this often: a wake may be lost when a process dies.
IDLE_PASS_S = 5.0
# After a pass that failed as a whole (the state is on a full disk, say).
FAILED_PASS_S = 5.0
# Over so long the speed of uploads and downloads is told, or over the last segment.
RATE_WINDOW_S = 30.0
# `sync` looks again this soon while it waits for something that is not due yet.
SYNC_POLL_S = 0.2


def open_engine(settings: Settings, *, drives_run: bool = True) -> TransferEngine:
    """Return the engine over this gateway's state and store; raise TapectlError."""
    keep_freed_memory()
    state = State.open(settings.state_path)
    limits = LiveLimits(state)
    traffic = Traffic(limits.upload_bytes_per_s, limits.download_bytes_per_s)
    store = open_store(describe_gateway(state), settings, traffic)
    return TransferEngine(state, store, settings, drives_run=drives_run, traffic=traffic)


class TransferProcess:
    """The service of the transfer process: a loop of passes, and the fetch server."""

    def __init__(self, start: Message) -> None:
        # Compression is never to cost a writer latency: the drives' workers go first.
        os.nice(NICENESS)
        settings = Settings.from_json(str(start["settings"]))
        self._engine = open_engine(settings)
        self._rates = RateMeter(self._engine.moved_bytes, window_s=RATE_WINDOW_S)
        self._rates.start()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        operations = FetchOperations(self._engine.fetch_service, self._wake.set)
        JsonServer(transfer_socket_path(settings.state_path), operations.answer).start()
        self._loop = threading.Thread(target=self._run_passes, name="passes", daemon=True)
        self._loop.start()

    def handle(self, request: Message, fds: list[int]) -> Message:
        """Answer one request of the supervisor."""
        match request["op"]:
            case "wake":
                self._wake.set()
                return {"ok": True}
            case "status":
                rates = {f"{name}_per_s": rate for name, rate in self._rates.rates().items()}
                return {"ok": True, **self._engine.status(), **rates}
        raise ValueError(f"unknown request: {request['op']} with {len(fds)} descriptors")

    def stop(self) -> None:
        """Let the pass in progress come to a safe point and end.

        Every step can be cut off at any instant, so this waits briefly only, to
        save the work of an upload that is nearly through.
        """
        self._stopped.set()
        self._engine.stop()
        self._wake.set()
        self._loop.join(timeout=10.0)

    def _run_passes(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            wait_s = IDLE_PASS_S
            try:
                wait_s = _seconds_to_next(self._engine.run_pass(), now_ms=_now_ms())
            except TapectlError as exc:
                _log.warning("transfer: %s", exc.message)
                wait_s = FAILED_PASS_S
            except Exception:
                # A bug in one step must not end the uploads of all tapes for good.
                _log.exception("transfer pass failed; this is a bug")
                wait_s = FAILED_PASS_S
            if wait_s > 0:
                self._wake.wait(wait_s)
        try:
            self._engine.finish()
        except TapectlError as exc:
            _log.warning("the store does not know the latest: %s", exc.message)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _seconds_to_next(report: PassReport, *, now_ms: int) -> float:
    if report.done:
        return 0.0
    if report.next_due_ms is None:
        return IDLE_PASS_S
    return min(IDLE_PASS_S, max(0.05, (report.next_due_ms - now_ms) / 1000))


@contextlib.contextmanager
def _locked_engine(settings: Settings) -> Iterator[TransferEngine]:
    # Closed while the lock is held: nothing of it goes on beside drives that are served then.
    with (
        serve_lock(settings.state_path, "sync", wait_s=2.0),
        contextlib.closing(open_engine(settings, drives_run=False)) as engine,
    ):
        yield engine


def run_sync(
    settings: Settings,
    *,
    until: Callable[[], bool] | None = None,
    on_progress: Callable[[PassReport], None] | None = None,
) -> PassReport:
    """Run passes in this process: until nothing is due, or until `until()` says so.

    Raises AlreadyServingError while another process serves this gateway, and the
    StoreError of a pass that could do nothing at all.
    """
    with _locked_engine(settings) as engine:
        while True:
            report = engine.run_pass()
            if on_progress is not None:
                on_progress(report)
            if until is not None and until():
                return report
            if report.done:
                continue
            if until is None:
                return report
            time.sleep(SYNC_POLL_S)


def start(message: Message) -> ChildService:
    """Build the transfer process from the supervisor's first message."""
    return TransferProcess(message)


if __name__ == "__main__":
    run_child(start)
    # A thread may be waiting for a store that does not answer; whatever it does can be cut off.
    os._exit(0)
