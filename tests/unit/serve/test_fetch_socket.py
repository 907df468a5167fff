"""Asking the transfer process for cold data, when that does not answer."""

import socket

import pytest

from tapectl.scsi.cartridge import CartridgeBusyError
from tapectl.serve import fetch_socket
from tapectl.serve.fetch_socket import FetchClient


def ask(client):
    with pytest.raises(CartridgeBusyError, match="does not answer"):
        client.ensure("VTL001L5", 1, 0, 4096)


def test_a_process_that_is_not_there_yet_or_hangs_is_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_socket, "_TIMEOUT_S", 0.05)
    path = tmp_path / "transfer.sock"
    client = FetchClient(path)
    ask(client)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        ask(client)  # it is stopped: the kernel takes the request, and nobody answers
        ask(client)
        stream, _ = listener.accept()
        assert b'"fetch"' in stream.recv(4096)
        assert stream.recv(4096) == b""
        stream.close()
