"""Cold data for commands: from the running transfer process, or by an engine of the command's own.

Either way what is fetched is in the cache afterwards.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from tapectl.gateway.settings import Settings
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.gateway.unreadable_tape import TapeUnreadableError
from tapectl.scsi.cartridge import CartridgeBusyError
from tapectl.serve.client import connect
from tapectl.serve.fetch_socket import FetchClient, transfer_socket_path
from tapectl.serve.lock import serve_lock
from tapectl.serve.transfer import open_engine

Result = TypeVar("Result")

# A store that is out for longer ends the command; what was fetched stays.
BUSY_LIMIT_S = 300.0


class ColdData(Protocol):
    """A disks.SegmentFetcher, and what to do while there is no room."""

    def ensure(self, barcode: str, sequence: int, offset: int, size_bytes: int) -> Path: ...

    def discard(self, barcode: str, sequence: int) -> None: ...

    def count_missed(self, size_bytes: int) -> None: ...

    def make_room(self) -> None:
        """Have uploaded what fills the disks; returns soon."""
        ...


class _Served(FetchClient):
    """The transfer process of a running supervisor."""

    def make_room(self) -> None:
        self.wake()


class _OwnEngine:
    """An engine of this process, which holds the gateway's lock."""

    def __init__(self, engine: TransferEngine) -> None:
        self._engine = engine

    def ensure(self, barcode: str, sequence: int, offset: int, size_bytes: int) -> Path:
        path, ready = self._engine.fetch_service.ensure(barcode, sequence, offset, size_bytes)
        if not ready:
            raise CartridgeBusyError(f"segment {sequence} of {barcode} is on its way")
        return path

    def discard(self, barcode: str, sequence: int) -> None:
        self._engine.fetch_service.discard(barcode, sequence)

    def count_missed(self, size_bytes: int) -> None:
        pass  # what initiators read is counted, in the drives' workers

    def make_room(self) -> None:
        self._engine.run_pass()


@contextlib.contextmanager
def cold_data(settings: Settings, role: str) -> Iterator[ColdData]:
    """Yield where cold data comes from. Without a supervisor none can start meanwhile, which then
    names `role`. Raises AlreadyServingError while `tapectl sync` runs."""
    client = connect(settings.state_path)
    if client is not None:
        with client:
            yield _Served(transfer_socket_path(settings.state_path))
        return
    with serve_lock(settings.state_path, role, wait_s=2.0):
        # Drives may be said to run: what the command itself leaves open is not to be sealed by it.
        engine = open_engine(settings, drives_run=True)
        try:
            yield _OwnEngine(engine)
        finally:
            engine.close()


def patiently(action: Callable[[], Result], while_busy: Callable[[], None]) -> Result:
    """Run what may have to wait for data or for room until it does not.

    Raises TapeUnreadableError when it waits for too long.
    """
    deadline = time.monotonic() + BUSY_LIMIT_S
    while True:
        try:
            return action()
        except CartridgeBusyError as exc:
            if time.monotonic() > deadline:
                raise TapeUnreadableError(
                    f"gave up waiting after {BUSY_LIMIT_S:g} s: {exc}",
                    hint="see `tapectl status` for what ails the store or the disks",
                ) from exc
            while_busy()
            time.sleep(exc.retry_after_s)
