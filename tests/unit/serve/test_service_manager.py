"""What a service manager hears from `serve`, at a socket as sd_notify(3) has it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapectl.serve.service_manager import ServiceManager

HEARD_BYTES = 4096


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stream:
        stream.bind(str(tmp_path / "notify"))
        stream.settimeout(30)
        yield stream


def hear(listener: socket.socket) -> dict[str, str]:
    lines = listener.recv(HEARD_BYTES).decode().split("\n")
    return dict(line.split("=", 1) for line in lines)


def address_of(listener: socket.socket) -> str:
    name: str = listener.getsockname()
    return name


def test_it_is_told_how_serving_goes(listener: socket.socket) -> None:
    manager = ServiceManager(address_of(listener))
    manager.ready("serving on 127.0.0.1:3260")
    assert hear(listener) == {"READY": "1", "STATUS": "serving on 127.0.0.1:3260"}
    with manager.reloading():
        reloading = hear(listener)
        assert reloading["RELOADING"] == "1"
        assert int(reloading["MONOTONIC_USEC"]) > 0
    assert hear(listener) == {"READY": "1"}
    manager.stopping()
    assert hear(listener)["STOPPING"] == "1"


def test_a_reload_that_fails_is_over_as_well(listener: socket.socket) -> None:
    with pytest.raises(KeyError), ServiceManager(address_of(listener)).reloading():
        raise KeyError
    assert hear(listener)["RELOADING"] == "1"
    assert hear(listener) == {"READY": "1"}


def test_it_hears_signs_of_life_as_long_as_there_are_any(listener: socket.socket) -> None:
    manager = ServiceManager(address_of(listener), watchdog_s=0.001)
    answers = iter([True, False, True])
    asked_out = threading.Event()

    def is_alive(_timeout_s: float) -> bool:
        answer = next(answers, None)
        if answer is None:
            asked_out.set()
        return bool(answer)

    with manager.kept_alive(is_alive):
        assert asked_out.wait(30)
    listener.setblocking(False)
    assert [hear(listener) for _ in range(2)] == [{"WATCHDOG": "1"}] * 2
    with pytest.raises(BlockingIOError):
        hear(listener)


def test_without_a_manager_nothing_is_told_or_looked_for() -> None:
    manager = ServiceManager.from_environment({})
    manager.ready("")
    with manager.kept_alive(lambda _timeout_s: pytest.fail("nobody wants to know")):
        manager.stopping()


def test_one_that_has_gone_is_no_reason_to_stop(listener: socket.socket) -> None:
    manager = ServiceManager(address_of(listener))
    listener.close()
    manager.ready("")


def test_names_of_the_abstract_namespace_begin_with_an_at_sign() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stream:
        stream.bind("")  # Linux chooses one
        name = stream.getsockname()[1:].decode()
        stream.settimeout(30)
        ServiceManager(f"@{name}").stopping()
        assert b"STOPPING=1" in stream.recv(HEARD_BYTES)


@pytest.mark.parametrize(
    ("watched", "alive"),
    [
        ({}, False),
        ({"WATCHDOG_USEC": "1000"}, True),
        ({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}, False),
        ({"WATCHDOG_USEC": "0"}, False),
        ({"WATCHDOG_USEC": "soon"}, False),
    ],
)
def test_a_watchdog_is_heeded_if_it_is_for_this_process(
    listener: socket.socket, watched: dict[str, str], alive: bool
) -> None:
    environ = {"NOTIFY_SOCKET": address_of(listener), "HOME": "/"} | watched
    asked = threading.Event()

    def is_alive(_timeout_s: float) -> bool:
        asked.set()
        return True

    with ServiceManager.from_environment(environ).kept_alive(is_alive):
        assert asked.wait(30 if alive else 0) is alive
    assert environ == {"HOME": "/"}, "children have no service manager"
