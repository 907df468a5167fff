"""An S3 server that goes wrong when told to: an HTTP proxy before SeaweedFS or moto.

It runs in a thread of the test. What it is to do wrong is a `Fault`, set while it runs;
without one it hands everything through.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from tests.support.faulty_connection import HEAD_BYTES_MAX, FaultyConnection, reset
from tests.support.s3_faults import Fault, FaultySwitch, Request, requests_of

# So much a client may send that the proxy has not taken, so that a slow one is seen to be slow.
_WINDOW_BYTES = 64 * 1024
# As on an Ethernet. What a kernel sends at once goes by it: with the 64 KiB of loopback it takes
# megabytes from a client before the first one is acknowledged, and no line seems slow.
_SEGMENT_BYTES = 1460


class FaultyS3:
    """A context manager; `url` is where clients go."""

    def __init__(self, upstream_url: str, *, seed: int = 1) -> None:
        found = urlsplit(upstream_url)
        assert found.hostname is not None
        assert found.port is not None
        self._upstream = (found.hostname, found.port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._listener = _listener(0)
        self.port: int = self._listener.getsockname()[1]
        self.switch = FaultySwitch(seed)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> FaultyS3:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._do(self._hang_up())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10.0)
        self._loop.close()

    def set(self, *faults: Fault) -> None:
        """See FaultySwitch.set; connections that are open stay so."""
        self.switch.set(*faults)

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Refuse connections within a block, and reset those there are."""
        self._do(self._hang_up())
        try:
            yield
        finally:
            self._listener = _listener(self.port)
            self._do(self._listen())

    def drop_connections(self) -> None:
        """Reset the connections there are."""
        self._do(self._reset())

    @contextmanager
    def fault(self, *faults: Fault) -> Iterator[None]:
        """Do these wrong within a block."""
        self.set(*faults)
        try:
            yield
        finally:
            self.set()

    def sent(self, method: str, part: str = "") -> list[Request]:
        """Return the requests that came, by method and a part of path or query."""
        return [one for one in list(self.switch.requests) if requests_of(method, part)(one)]

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30.0)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, sock=self._listener, limit=HEAD_BYTES_MAX
        )

    async def _hang_up(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._reset()

    async def _reset(self) -> None:
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            connection = FaultyConnection(self._upstream, self.switch, reader, writer)
            while await connection.exchange():
                pass
            writer.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            reset(writer)
        finally:
            self._connections.discard(task)


def _listener(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW_BYTES)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT_BYTES)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    listener.setblocking(False)
    return listener
