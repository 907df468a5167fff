"""A child that dies is started again, and each death is told once with how it was."""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapectl.serve import child as child_module
from tapectl.serve.child import Child, Death
from tests.support.gateway import wait_until

WAIT_S = 30

# What a child does: it answers its start if there is no file `broken`, and everything else with its
# exit, as it is told.
SCRIPT = """
import os, sys
from pathlib import Path
from tapectl.serve.channel import Channel
channel = Channel.from_fd(int(sys.argv[1]))
while True:
    request, _ = channel.receive()
    if request["op"] == "stop":
        channel.send({"ok": True})
        sys.exit(request.get("status", 0))
    channel.send({"ok": not Path("broken").exists(), "message": "it is broken"})
"""


@pytest.fixture
def deaths() -> queue.Queue[Death]:
    return queue.Queue()


@pytest.fixture
def child(
    deaths: queue.Queue[Death], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Child]:
    (tmp_path / "a_child_of_this_test.py").write_text(SCRIPT)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[3]}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(child_module, "RESTART_INTERVAL_S", 0.01)
    made = Child(
        "drive-01",
        "a_child_of_this_test",
        inherited_fds=(),
        prepare=lambda _restarted: {},
        died=deaths.put,
    )
    made.spawn()
    made.begin()
    yield made
    made.kill()


def test_a_kill_is_told_with_the_time_it_took_to_be_back(
    child: Child, deaths: queue.Queue[Death]
) -> None:
    pid = child.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    death = deaths.get(timeout=WAIT_S)
    assert (death.pid, death.status, death.problem) == (pid, -signal.SIGKILL, None)
    assert death.restarted_after_s is not None
    assert child.deaths == 1
    assert child.ready
    assert child.stop()
    assert deaths.empty()


def test_one_that_is_renewed_has_not_died(child: Child, deaths: queue.Queue[Death]) -> None:
    before = child.pid
    child.renew()
    wait_until(lambda: child.pid != before and child.ready, "another one", WAIT_S)
    assert child.deaths == 0
    child.request({"op": "stop", "status": 7})
    assert deaths.get(timeout=WAIT_S).status == 7
    assert child.deaths == 1


def test_one_that_cannot_begin_again_is_told_with_the_reason(
    child: Child, deaths: queue.Queue[Death], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    death = deaths.get(timeout=WAIT_S)
    assert death.restarted_after_s is None
    assert "it is broken" in str(death.problem)
    broken.unlink()
    while (death := deaths.get(timeout=WAIT_S)).restarted_after_s is None:
        assert "it is broken" in str(death.problem)
    assert child.ready
