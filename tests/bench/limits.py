"""What this machine can do at best: a round trip over loopback, memory, page cache and disk."""

from __future__ import annotations

import mmap
import os
import socket
import statistics
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

from tests.bench.report import Table

HEADER_BYTES = 48
ROUND_TRIPS = 3000
CHUNK_BYTES = 1 << 20
FILE_BYTES = 256 << 20
SIZES = {"10k": 10240, "64k": 65536, "256k": 262144, "1m": 1048576}


def measure(folder: Path) -> list[Table]:
    """Two tables: the network by block size, memory and disk."""
    network = Table(
        "The least that a command takes here: its bytes over loopback and an answer, Python at"
        " both ends (p50, us)",
        ("", "write", "read"),
    )
    for name, size in SIZES.items():
        network.add(name, f"{_round_trip_us(size, 0):.0f}", f"{_round_trip_us(0, size):.0f}")
    other = Table("Memory and disk, a MiB at a time (MiB/s, median of 3)", ("", "MiB/s"))
    for what, run in (
        ("copy in memory, 1 MiB again and again", _copy),
        ("write to new pages of the page cache", lambda: _write(folder, flush=False)),
        ("the same and fsync", lambda: _write(folder, flush=True)),
        ("write past the page cache (O_DIRECT), 8 MiB at a time", lambda: _direct(folder)),
    ):
        other.add(what, f"{statistics.median(run() for _ in range(3)):.0f}")
    return [network, other]


def _round_trip_us(out_bytes: int, in_bytes: int) -> float:
    """Return the time of one request of a header and `out_bytes`, answered by as much."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = get_context("fork").Process(target=_answer, args=(listener, out_bytes, in_bytes))
    server.start()
    found = []
    with socket.create_connection(listener.getsockname()) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = [bytes(HEADER_BYTES), bytes(out_bytes)]
        answer = memoryview(bytearray(HEADER_BYTES + in_bytes))
        for _ in range(ROUND_TRIPS):
            started = time.perf_counter()
            stream.sendmsg(request)
            stream.recv_into(answer, 0, socket.MSG_WAITALL)
            found.append(time.perf_counter() - started)
    server.join()
    listener.close()
    return statistics.median(found) * 1e6


def _answer(listener: socket.socket, out_bytes: int, in_bytes: int) -> None:
    stream, _ = listener.accept()
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    header, data = bytearray(HEADER_BYTES), bytearray(out_bytes)
    answer = [bytes(HEADER_BYTES), bytes(in_bytes)]
    while stream.recv_into(header, 0, socket.MSG_WAITALL):
        if out_bytes:
            stream.recv_into(data, 0, socket.MSG_WAITALL)
        stream.sendmsg(answer)


def _rate(action: Callable[[], None], moved_bytes: int) -> float:
    started = time.perf_counter()
    action()
    return moved_bytes / 2**20 / (time.perf_counter() - started)


def _copy() -> float:
    source, target = bytes(CHUNK_BYTES), memoryview(bytearray(CHUNK_BYTES))

    def run() -> None:
        for _ in range(2000):
            target[:] = source

    return _rate(run, 2000 * CHUNK_BYTES)


def _write(folder: Path, *, flush: bool) -> float:
    data = os.urandom(CHUNK_BYTES)

    def run() -> None:
        for offset in range(0, FILE_BYTES, CHUNK_BYTES):
            os.pwrite(fd, data, offset)
        if flush:
            os.fsync(fd)

    path = folder / "limit"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.posix_fallocate(fd, 0, FILE_BYTES)
        return _rate(run, FILE_BYTES)
    finally:
        os.close(fd)
        path.unlink()


def _direct(folder: Path) -> float:
    path = folder / "limit"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    step = 8 * CHUNK_BYTES
    with mmap.mmap(-1, step) as data:

        def run() -> None:
            for offset in range(0, FILE_BYTES, step):
                os.pwrite(fd, data, offset)

        try:
            os.posix_fallocate(fd, 0, FILE_BYTES)
            return _rate(run, FILE_BYTES)
        finally:
            os.close(fd)
            path.unlink()
