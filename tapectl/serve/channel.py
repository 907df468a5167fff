"""The private channel between the supervisor and one of its children.

A SOCK_SEQPACKET pair: one JSON object a packet, with file descriptors beside
it (a session's socket). The supervisor asks, the child answers; the end of the
channel tells either that the other is dead.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Sequence

from tapectl.serve.json_lines import Message

# Settings and a session's negotiated state are a few KiB; the kernel's default
# socket buffer (208 KiB) bounds a packet.
PACKET_BYTES_MAX = 128 * 1024
_FDS_MAX = 4


class ChannelClosedError(Exception):
    """The process at the other end is gone."""


class Channel:
    """One end of the channel. Owns its socket."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._request_lock = threading.Lock()

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Return our end and the raw socket for the child to inherit."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), theirs

    @classmethod
    def from_fd(cls, fd: int) -> Channel:
        """Return the child's end from the descriptor that it inherited."""
        return cls(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=fd))

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        try:
            socket.send_fds(self._end, [json.dumps(message).encode()], list(fds))
        except OSError as exc:
            raise ChannelClosedError(str(exc)) from exc

    def receive(self) -> tuple[Message, list[int]]:
        """Return the next packet and its descriptors, which the caller owns."""
        try:
            packet, fds, _, _ = socket.recv_fds(self._end, PACKET_BYTES_MAX, _FDS_MAX)
        except OSError as exc:
            raise ChannelClosedError(str(exc)) from exc
        if not packet:
            raise ChannelClosedError("end of channel")
        return json.loads(packet), fds

    def request(self, message: Message, fds: Sequence[int] = ()) -> Message:
        """Send and wait for the answer; one request at a time, from any thread.

        There is no time limit: loading a tape after a crash reads a whole
        segment. A child that hangs is ended by `tapectl serve`'s second SIGTERM.
        """
        with self._request_lock:
            self.send(message, fds)
            answer, extra = self.receive()
        for fd in extra:
            os.close(fd)
        return answer

    def close(self) -> None:
        # shutdown wakes a thread that blocks in receive; close alone would not.
        try:
            self._end.shutdown(socket.SHUT_RDWR)
        except OSError:
            return
        finally:
            self._end.close()
