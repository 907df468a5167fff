"""The README's two commands do what it says."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.support.clients import PROJECT, require_root, require_shared
from tests.support.gateway import START_TIMEOUT_S, TAPECTL, Gateway, wait_until
from tests.support.initiator import Session, discover
from tests.support.tape_client import MediaChanger, TapeDrive

README = (PROJECT / "README.md").read_text()
FRESH_LIMIT_S = 900


def commands() -> list[str]:
    """Return the lines of the README's shell blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def quickstart_command() -> str:
    (command,) = [line for line in commands() if "quickstart" in line]
    return command


def lines_for_the_shelf() -> list[str]:
    """Return what it says to type in a third terminal, after the state is named."""
    lines = commands()
    first = lines.index("export TAPECTL_STATE=./tapectl-demo/tapectl.db") + 1
    found = [line for line in lines[first:] if line.startswith(".venv/bin/tapectl ")]
    assert len(found) == 4
    return found


def test_the_test_command_is_there() -> None:
    assert "tests/run" in commands()
    assert os.access(PROJECT / "tests" / "run", os.X_OK)


def test_quickstart_serves_a_library_with_five_tapes(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway(directory_retrieval_delay_s="0")
    words = shlex.split(quickstart_command())[-1:]
    assert words == ["quickstart"]
    gateway.state = gateway.root / "tapectl-demo" / "tapectl.db"
    process = subprocess.Popen(
        [str(TAPECTL), *words, "--listen", f"127.0.0.1:{gateway.port}"],
        cwd=gateway.root,
        env=gateway.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(
            lambda: process.poll() is not None or bool(gateway.control("status")),
            "quickstart serves",
            START_TIMEOUT_S,
        )
        use_the_library(gateway)
        for line in lines_for_the_shelf():
            said = gateway.cli(*shlex.split(line.partition("tapectl ")[2]))
            assert "DEMO01L5" in said, line
    finally:
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    # What it prints can be pasted: the portal it really has, and the client's commands.
    assert f"127.0.0.1:{gateway.port}" in said, said
    assert "iscsiadm" in said, said
    assert "mtx" in said, said


def use_the_library(gateway: Gateway) -> None:
    """Write and read a block on the first tape, as the printed lines suggest."""
    targets = discover(gateway.portal)
    assert len(targets) == 11
    changer_name = next(name for name in targets if name.endswith("mediachanger"))
    drive_name = next(name for name in targets if name.endswith("tapedrive-01"))
    with Session(gateway.portal, changer_name) as session:
        changer = MediaChanger(session)
        tapes = [element.volume_tag for element in changer.elements() if element.full]
        assert len(tapes) == 5
        changer.load(tapes[0], 0)
    with Session(gateway.portal, drive_name) as session:
        drive = TapeDrive(session)
        drive.wait_ready()
        drive.write_block(b"hello, tape")
        drive.rewind()
        assert drive.read_block(512) == b"hello, tape"
    with Session(gateway.portal, changer_name) as session:
        MediaChanger(session).unload(0)


@pytest.mark.skipif(
    os.environ.get("TAPECTL_CI") != "1" or not sys.platform.startswith("linux"),
    reason="installs a Debian from the network; TAPECTL_CI=1 asks for it",
)
@pytest.mark.timeout(FRESH_LIMIT_S + 60)
def test_quickstart_on_a_fresh_debian() -> None:
    require_root()
    fresh = require_shared("harness", "fresh.sh")
    script = (
        # In braces: fresh.sh puts `cd ... &&` before it, which `&` alone would take along.
        f"{{ ({quickstart_command()}) >log 2>&1 & "
        "for i in $(seq 600); do "
        "  .venv/bin/tapectl --state tapectl-demo/tapectl.db status >status 2>&1 && "
        "  python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 3260))' "
        "    2>/dev/null && break; sleep 1; "
        "done; cat log; .venv/bin/tapectl --state tapectl-demo/tapectl.db tape list -o tsv; }"
    )
    done = subprocess.run(
        [str(fresh), str(PROJECT), script],
        env=os.environ | {"LIMIT": str(FRESH_LIMIT_S)},
        capture_output=True,
        text=True,
        timeout=FRESH_LIMIT_S + 30,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count("AVAILABLE") >= 5, done.stdout[-3000:] + done.stderr[-3000:]
