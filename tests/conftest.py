"""Fixtures that several kinds of tests share: gateways in folders of their own, and tapebench."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.closing import closing_at_end
from tests.support.gateway import Gateway
from tests.support.in_turn import GuestsInTurn, boots_the_guest
from tests.support.leftovers import Leftovers
from tests.support.tapebench import Tapebench


def pytest_configure() -> None:
    """Make Ctrl-C work in what the tests start, also where they run in a shell's background.

    There SIGINT is ignored, which children inherit; a handler becomes the default in them.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start what boots the guest first: it takes longest."""
    items.sort(key=lambda item: not boots_the_guest(item.path))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GuestsInTurn:
    """Share the tests out among the processes of `-n`."""
    return GuestsInTurn(config, log)


_leftovers = pytest.StashKey[Leftovers]()


@pytest.fixture(autouse=True)
def nothing_left_behind(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """Close what the test has made, and fail it if it leaves threads or open files all the same.

    They would be in the way of later tests: threads log within them, and descriptors run out.
    """

    def forget() -> None:
        """Let go of what fixtures returned, and of what errors that were logged came from."""
        request.node.funcargs.clear()
        for phase in ("setup", "call", "teardown"):
            for record in caplog.get_records(phase):
                record.msg, record.args, record.exc_info = record.getMessage(), None, None

    failed_before = request.session.testsfailed
    request.config.stash[_leftovers] = leftovers = Leftovers(forget)
    with closing_at_end():
        yield
    del request.config.stash[_leftovers]
    # The traceback of one that has failed holds what it was at.
    if request.session.testsfailed == failed_before:
        names = leftovers.names()
        assert not names, f"left behind: {', '.join(names)}"


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Fixtures of more than one test leave what they made, whichever test asks for them first."""
    leftovers = request.config.stash.get(_leftovers, None)
    if leftovers is None or fixturedef.scope == "function":
        return (yield)
    with leftovers.expected():
        return (yield)


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
