"""One JSON object a line over a Unix socket, and the socket's address.

The framing of the control socket (admin commands to the supervisor) and of the
transfer socket (workers to the transfer process). Knows no operation.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

# A request or an answer is a status at most; a longer line is no client of ours.
LINE_BYTES_MAX = 4 * 1024 * 1024

Message = dict[str, object]


@contextlib.contextmanager
def short_address(path: Path) -> Iterator[str]:
    """Yield an address for `path` that fits in sockaddr_un.

    sun_path holds 108 bytes, and state directories may be deeper: through
    /proc/self/fd the folder is named by a descriptor instead.
    """
    if len(os.fsencode(path)) < 100:
        yield str(path)
        return
    folder_fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder_fd}/{path.name}"
    finally:
        os.close(folder_fd)


def connect(path: Path, timeout_s: float) -> socket.socket:
    """Return a connected stream socket; raise OSError if nobody listens there."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        client.settimeout(timeout_s)
        with short_address(path) as address:
            client.connect(address)
    except OSError:
        client.close()
        raise
    return client


def listen(path: Path) -> socket.socket:
    """Return a listening stream socket at `path` that only its owner may use.

    A left-over socket file is replaced: the caller holds the serve lock, so its
    listener is dead.
    """
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old_mask = os.umask(0o177)
    try:
        with short_address(path) as address:
            server.bind(address)
    finally:
        os.umask(old_mask)
    server.listen(64)
    return server


class JsonLines:
    """A stream socket carrying JSON objects, one a line. Not thread-safe; owns the socket."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._buffer = bytearray()

    def send(self, message: Message) -> None:
        """Send one object; raise OSError when the peer is gone."""
        self._stream.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> Message | None:
        """Return the next object, None at end of stream.

        Raises OSError, and ValueError for what is no object or too long.
        """
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                message = json.loads(line)
                if not isinstance(message, dict):
                    raise ValueError("not a JSON object")
                return message
            if len(self._buffer) > LINE_BYTES_MAX:
                raise ValueError("line too long")
            part = self._stream.recv(65536)
            if not part:
                return None
            self._buffer += part

    def close(self) -> None:
        self._stream.close()
