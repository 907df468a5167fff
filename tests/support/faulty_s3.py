"""An S3 server that goes wrong when told to: an HTTP proxy before SeaweedFS or moto.

It runs in a thread of the test. What it is to do wrong is a `Fault`, set while it runs;
without one it hands everything through. It understands as much of HTTP as boto3 and
those servers use: bodies with a length, chunked answers, `Expect: 100-continue`.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

_PIECE_BYTES = 64 * 1024
# Small enough that a slow connection is seen to be slow by both ends.
_SLOW_BUFFER_BYTES = 8 * 1024
_HEAD_BYTES_MAX = 64 * 1024
_ERROR_XML = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    "<Error><Code>{code}</Code><Message>{code}, says the test</Message>"
    "<RequestId>1</RequestId></Error>"
)


class Cut(Enum):
    """How a connection goes wrong, and where."""

    NO_ANSWER = auto()  # takes the request and never answers
    BLACK_HOLE = auto()  # takes nothing
    RESET_UPLOAD = auto()  # RST after `after_bytes` of the request's body
    RESET_DOWNLOAD = auto()  # RST after `after_bytes` of the answer's body
    TRUNCATE = auto()  # an orderly end after `after_bytes` of the answer's body
    LOSE_ANSWER = auto()  # the server does it, the answer is lost
    CORRUPT_UPLOAD = auto()  # a bit of the request's body flips at `after_bytes`
    CORRUPT_DOWNLOAD = auto()  # a bit of the answer's body flips at `after_bytes`


@dataclass(slots=True)
class Request:
    """A request as it came; `body_bytes` counts what of its body was handed on."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body_bytes: int = 0
    status: int = 0


@dataclass(slots=True)
class Fault:
    """What to do wrong: `cut`, or an answer of `status` and `code`, or pace.

    Of the requests for which `when` holds, the part `share` meets it (chosen by the proxy's own
    random numbers), at most `times` of them.
    """

    cut: Cut | None = None
    after_bytes: int = 0
    status: int = 0
    code: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    bytes_per_s: int = 0
    when: Callable[[Request], bool] = lambda _: True
    share: float = 1.0
    times: int | None = None
    met: int = 0


def answers(status: int, code: str, **options: Any) -> Fault:
    """Return a fault that answers instead of the server."""
    return Fault(status=status, code=code, **options)


def slow(bytes_per_s: int = 10 * 1024, **options: Any) -> Fault:
    """Return a fault that paces each direction of each connection."""
    return Fault(bytes_per_s=bytes_per_s, **options)


def body_of(method: str, part: str = "") -> Callable[[Request], bool]:
    """Return a condition: the method, and `part` in path or query."""
    return lambda request: request.method == method and part in f"{request.path}?{request.query}"


class FaultySwitch:
    """What the proxy does wrong now; any thread may change it."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._unseen_s = 0.0
        self._written: dict[str, float] = {}

    def set(self, *faults: Fault) -> None:
        """Do these wrong from now on, the first that holds; none: all is well."""
        with self._lock:
            self._faults = list(faults)

    def hide_new_objects(self, seconds: float) -> None:
        """Answer 404 for what was written less than `seconds` ago."""
        with self._lock:
            self._unseen_s = seconds

    def wrote(self, path: str) -> None:
        with self._lock:
            self._written[path] = time.monotonic()

    def choose(self, request: Request) -> Fault | None:
        """Return what shall go wrong with a request."""
        with self._lock:
            if request.method in ("GET", "HEAD"):
                written_s = self._written.get(request.path)
                if written_s is not None and time.monotonic() - written_s < self._unseen_s:
                    return Fault(status=404, code="NoSuchKey")
            for fault in self._faults:
                if fault.times is not None and fault.met >= fault.times:
                    continue
                if fault.when(request) and self._rng.random() < fault.share:
                    fault.met += 1
                    return fault
        return None


class FaultyS3:
    """A context manager; `url` is where clients go, `requests` what came, oldest first."""

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
        self.requests: list[Request] = []

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

    def refuse(self) -> None:
        """Be gone: refuse connections and reset those there are."""
        self._do(self._hang_up())

    def accept(self) -> None:
        """Be there again."""
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
        return [one for one in list(self.requests) if body_of(method, part)(one)]

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30.0)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._serve, sock=self._listener, limit=_HEAD_BYTES_MAX
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
            connection = _Connection(self, reader, writer)
            while await connection.exchange():
                pass
            writer.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            _abort(writer)
        finally:
            self._connections.discard(task)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self._upstream, limit=_HEAD_BYTES_MAX)


class _Connection:
    """One connection of a client; every request goes over a connection of its own upstream."""

    def __init__(
        self, proxy: FaultyS3, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._fault = Fault()

    async def exchange(self) -> bool:
        """Hand one request through; return whether there can be another."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        request = _parse(head)
        self._proxy.requests.append(request)
        self._fault = fault = self._proxy.switch.choose(request) or Fault()
        if fault.cut in (Cut.BLACK_HOLE, Cut.NO_ANSWER):
            await self._swallow(reads=fault.cut is Cut.NO_ANSWER)
        if fault.status:
            return await self._answer(request, fault)
        if fault.bytes_per_s:
            _shrink(self._writer)
        upstream_reader, upstream_writer = await self._proxy.connect()
        try:
            return await self._hand_on(request, head, upstream_reader, upstream_writer)
        finally:
            _abort(upstream_writer)

    async def _swallow(self, *, reads: bool) -> None:
        while True:
            if reads:
                if not await self._reader.read(_PIECE_BYTES):
                    raise ConnectionResetError
            else:
                self._writer.transport.pause_reading()  # type: ignore[attr-defined]
                await asyncio.sleep(3600)

    async def _answer(self, request: Request, fault: Fault) -> bool:
        """Answer without asking the server, which leaves a body that may be coming."""
        request.status = fault.status
        body = b"" if request.method == "HEAD" else _ERROR_XML.format(code=fault.code).encode()
        lines = [f"HTTP/1.1 {fault.status} Error", "Content-Type: application/xml"]
        lines += [f"{name}: {value}" for name, value in fault.headers.items()]
        lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
        self._writer.write("\r\n".join(lines).encode() + body)
        await self._writer.drain()
        self._writer.write_eof()
        # What is on its way is taken for a while, so that the answer is not lost to a reset.
        try:
            async with asyncio.timeout(2.0):
                while await self._reader.read(_PIECE_BYTES):
                    pass
        except TimeoutError:
            pass
        return False

    async def _hand_on(
        self,
        request: Request,
        head: bytes,
        upstream_reader: asyncio.StreamReader,
        upstream_writer: asyncio.StreamWriter,
    ) -> bool:
        fault = self._fault
        upstream_writer.write(_without_expect(head))
        if request.headers.get("expect", "").lower() == "100-continue":
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        left = int(request.headers.get("content-length", "0"))
        flips = fault.cut is Cut.CORRUPT_UPLOAD
        while left:
            if fault.cut is Cut.RESET_UPLOAD and request.body_bytes >= fault.after_bytes:
                raise ConnectionResetError
            piece = await self._reader.read(min(left, self._piece_bytes(request.body_bytes)))
            if not piece:
                raise ConnectionResetError
            left -= len(piece)
            if flips:
                piece = _flip(piece, fault.after_bytes - request.body_bytes)
            request.body_bytes += len(piece)
            upstream_writer.write(piece)
            await upstream_writer.drain()
            await self._pace(len(piece))
        if fault.cut is Cut.RESET_UPLOAD and request.body_bytes:
            raise ConnectionResetError
        return await self._hand_back(request, upstream_reader)

    async def _hand_back(self, request: Request, upstream: asyncio.StreamReader) -> bool:
        fault = self._fault
        head = await upstream.readuntil(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 100"):
            head = await upstream.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        request.status = int(lines[0].split()[1])
        headers = _headers(lines[1:])
        written = request.method == "PUT" or (
            request.method == "POST" and "uploadId" in request.query
        )
        if written and request.status < 300 and "partNumber" not in request.query:
            self._proxy.switch.wrote(request.path)
        if fault.cut is Cut.LOSE_ANSWER:
            raise ConnectionResetError
        self._writer.write(head)
        if request.method == "HEAD" or request.status in (204, 304):
            await self._writer.drain()
            return True
        if headers.get("transfer-encoding", "").lower() == "chunked":
            await self._chunked(upstream)
            return True
        await self._body(int(headers.get("content-length", "0")), upstream)
        return headers.get("connection", "").lower() != "close"

    async def _body(self, left: int, upstream: asyncio.StreamReader) -> None:
        fault, sent = self._fault, 0
        cuts = fault.cut in (Cut.RESET_DOWNLOAD, Cut.TRUNCATE)
        while left:
            piece = await upstream.read(min(left, self._piece_bytes(sent)))
            if not piece:
                raise ConnectionResetError
            left -= len(piece)
            if cuts and sent + len(piece) > fault.after_bytes:
                self._writer.write(piece[: fault.after_bytes - sent])
                await self._writer.drain()
                if fault.cut is Cut.TRUNCATE:
                    self._writer.write_eof()
                    await asyncio.sleep(0.2)
                raise ConnectionResetError
            if fault.cut is Cut.CORRUPT_DOWNLOAD:
                piece = _flip(piece, fault.after_bytes - sent)
            sent += len(piece)
            self._writer.write(piece)
            await self._writer.drain()
            await self._pace(len(piece))
        await self._writer.drain()

    async def _chunked(self, upstream: asyncio.StreamReader) -> None:
        while True:
            line = await upstream.readuntil(b"\r\n")
            size_bytes = int(line.split(b";")[0], 16)
            self._writer.write(line + await upstream.readexactly(size_bytes + 2))
            await self._writer.drain()
            if not size_bytes:
                return

    def _piece_bytes(self, done_bytes: int) -> int:
        fault = self._fault
        if fault.bytes_per_s:
            return max(1, min(_PIECE_BYTES, fault.bytes_per_s // 10))
        if fault.cut is Cut.RESET_UPLOAD:
            return max(1, min(_PIECE_BYTES, fault.after_bytes - done_bytes))
        return _PIECE_BYTES

    async def _pace(self, size_bytes: int) -> None:
        if self._fault.bytes_per_s:
            await asyncio.sleep(size_bytes / self._fault.bytes_per_s)


def _listener(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    listener.setblocking(False)
    return listener


def _parse(head: bytes) -> Request:
    lines = head.decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    path, _, query = target.partition("?")
    return Request(method, path, query, _headers(lines[1:]))


def _headers(lines: list[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _without_expect(head: bytes) -> bytes:
    """The proxy has answered it; upstream needs no second wait, and no second request."""
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:")]
    return (
        lines[0]
        + b"\r\nConnection: close\r\n"
        + b"\r\n".join(line for line in lines[1:] if not line.lower().startswith(b"connection:"))
    )


def _flip(piece: bytes, at: int) -> bytes:
    if not 0 <= at < len(piece):
        return piece
    changed = bytearray(piece)
    changed[at] ^= 0x10
    return bytes(changed)


def _shrink(writer: asyncio.StreamWriter) -> None:
    connected = writer.get_extra_info("socket")
    if connected is not None:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_BUFFER_BYTES)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SLOW_BUFFER_BYTES)


def _abort(writer: asyncio.StreamWriter) -> None:
    """Reset: an RST, not an orderly end."""
    connected = writer.get_extra_info("socket")
    if connected is not None and connected.fileno() >= 0:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
