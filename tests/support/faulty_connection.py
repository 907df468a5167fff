"""One connection of a client to a faulty S3 server: HTTP handed through, or gone wrong.

It understands as much of HTTP as boto3 and the servers behind it use: bodies with a length,
chunked answers, `Expect: 100-continue`.
"""

from __future__ import annotations

import asyncio
import socket
import struct

from tests.support.s3_faults import Cut, Fault, FaultySwitch, Request

HEAD_BYTES_MAX = 64 * 1024
_PIECE_BYTES = 64 * 1024
# Small enough that a slow connection is seen to be slow by both ends.
_SLOW_BUFFER_BYTES = 8 * 1024
_ERROR_XML = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    "<Error><Code>{code}</Code><Message>{code}, says the test</Message>"
    "<RequestId>1</RequestId></Error>"
)


class FaultyConnection:
    """One connection; every request goes over a connection of its own upstream."""

    def __init__(
        self,
        upstream: tuple[str, int],
        switch: FaultySwitch,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._upstream = upstream
        self._switch = switch
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
        self._fault = fault = self._switch.choose(request) or Fault()
        if fault.cut in (Cut.BLACK_HOLE, Cut.NO_ANSWER):
            await self._swallow(reads=fault.cut is Cut.NO_ANSWER)
        if fault.status:
            return await self._answer(request, fault)
        if fault.bytes_per_s:
            _shrink(self._writer)
        upstream_reader, upstream_writer = await asyncio.open_connection(
            *self._upstream, limit=HEAD_BYTES_MAX
        )
        try:
            return await self._hand_on(request, head, upstream_reader, upstream_writer)
        finally:
            reset(upstream_writer)

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


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with an RST and not in an orderly way."""
    connected = writer.get_extra_info("socket")
    if connected is not None and connected.fileno() >= 0:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
