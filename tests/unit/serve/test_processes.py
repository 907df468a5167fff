"""What the processes of `serve` are held together by: lock, channel, JSON lines."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from tapectl.serve import json_lines
from tapectl.serve.channel import Channel, ChannelClosedError
from tapectl.serve.connection_loop import send_all
from tapectl.serve.errors import AlreadyServingError
from tapectl.serve.json_lines import JsonLines
from tapectl.serve.lock import lock_path, serve_lock


def test_a_second_owner_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    state = tmp_path / "tapectl.db"
    state.touch()
    with (
        serve_lock(state, "serve"),
        pytest.raises(AlreadyServingError) as caught,
        serve_lock(state, "sync"),
    ):
        pass
    assert f"serve, pid {os.getpid()}" in caught.value.message


def test_the_lock_lives_on_in_a_child_that_inherited_it(tmp_path: Path) -> None:
    state = tmp_path / "tapectl.db"
    state.touch()
    with serve_lock(state, "serve") as fd:
        inherited = os.dup(fd)
    with pytest.raises(AlreadyServingError), serve_lock(state, "serve"):
        pass
    os.close(inherited)
    with serve_lock(state, "serve"):
        assert lock_path(state).stat().st_mode & 0o777 == 0o600


def test_a_socket_deep_in_the_file_system_can_be_reached(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30) / ("deeper" * 20)
    folder.mkdir(parents=True)
    path = folder / "tapectl.sock"
    listener = json_lines.listen(path)
    assert path.stat().st_mode & 0o777 == 0o600
    client = JsonLines(json_lines.connect(path, 5.0))
    server = JsonLines(listener.accept()[0])
    client.send({"op": "status", "name": "ä\n"})
    assert server.receive() == {"op": "status", "name": "ä\n"}
    client.close()
    assert server.receive() is None
    listener.close()


def test_a_channel_carries_messages_and_descriptors_and_notices_death() -> None:
    ours, theirs = Channel.pair()
    child = Channel.from_fd(theirs.detach())
    reader, writer = os.pipe()

    def answer() -> None:
        request, fds = child.receive()
        os.write(fds[0], b"through the child")
        os.close(fds[0])
        child.send({"echo": request["op"]})
        child.close()

    thread = threading.Thread(target=answer)
    thread.start()
    assert ours.request({"op": "session"}, [writer]) == {"echo": "session"}
    os.close(writer)
    assert os.read(reader, 100) == b"through the child"
    os.close(reader)
    thread.join()
    with pytest.raises(ChannelClosedError):
        ours.request({"op": "status"})
    ours.close()


@pytest.mark.parametrize("sizes", [(48,), (48, 0, 5 << 20, 3), tuple([7] * 3000)])
def test_send_all_sends_every_byte_in_order(sizes: tuple[int, ...]) -> None:
    near, far = socket.socketpair()
    buffers = [os.urandom(size) for size in sizes]
    received = bytearray()

    def drain() -> None:
        while part := far.recv(1 << 20):
            received.extend(part)

    thread = threading.Thread(target=drain)
    thread.start()
    send_all(near, [memoryview(buffer) for buffer in buffers])
    near.close()
    thread.join()
    far.close()
    assert received == b"".join(buffers)
