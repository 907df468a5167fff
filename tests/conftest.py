"""Fixtures that several kinds of tests share: gateways in folders of their own, and tapebench."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.tapebench import Tapebench


def pytest_configure() -> None:
    """Make Ctrl-C work in what the tests start, also where they run in a shell's background.

    There SIGINT is ignored, which children inherit; a handler becomes the default in them.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start what boots the guest first: it takes longest."""
    items.sort(key=lambda item: not item.path.name.startswith("test_guest"))


@pytest.fixture
def make_gateway(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Return a function that makes a gateway below tmp_path; all of them end with the test."""
    made: list[Gateway] = []

    def make(name: str = "one", **settings: str) -> Gateway:
        gateway = Gateway(tmp_path / name, **settings)
        made.append(gateway)
        return gateway

    yield make
    for gateway in made:
        gateway.close()


@pytest.fixture
def gateway(make_gateway: Callable[..., Gateway]) -> Gateway:
    """A gateway's folder, not activated yet."""
    return make_gateway()


@pytest.fixture(scope="session")
def tapebench(tmp_path_factory: pytest.TempPathFactory) -> Tapebench:
    """tapebench, compiled once."""
    return Tapebench.build(tmp_path_factory.mktemp("tapebench"))
