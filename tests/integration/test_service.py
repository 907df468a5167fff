"""`serve` as a service: a user of its own, and the sandbox of the systemd unit."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import site
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.clients import require_program
from tests.support.gateway import START_TIMEOUT_S, Gateway

REPOSITORY = Path(__file__).parents[2]
CONTAINERFILE = REPOSITORY / "docs" / "container" / "Containerfile"
UNIT = REPOSITORY / "docs" / "systemd" / "tapectl.service"
SETTING_INVALID = 45
NOBODY = "nobody"
# What ProtectSystem=strict, PrivateTmp, NoNewPrivileges, CapabilityBoundingSet= and
# MemoryDenyWriteExecute do, and ProtectProc; the folder of the gateway is its ReadWritePaths.
SANDBOX = """
set -e
gateway=$1; shift
mount --bind "$gateway" "$gateway"
mount -o remount,bind,ro /
for point in /home /root; do mount -t tmpfs -o ro,mode=755 tmpfs "$point"; done
mount -t proc -o hidepid=invisible proc /proc
exec setpriv --reuid=nobody --regid=nogroup --clear-groups --no-new-privs \\
    --bounding-set=-all --inh-caps=-all /usr/bin/python3 -c '
import ctypes, os, sys
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])' "$@"
"""

# What SANDBOX runs is a program by its path.
RUN_SHELL = "import os, sys; os.execv('/bin/sh', ['sh', '-c', sys.argv[1]])"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway that another user can get at: folder, interpreter and packages."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    root = Path(tempfile.mkdtemp(prefix="tapectl-", dir="/var/tmp"))
    root.chmod(0o755)
    found = Gateway(root)
    # The interpreter of the tests may be in a folder of root's own; Debian's is everybody's.
    found.command = ("/usr/bin/python3", "-m", "tapectl.cli.app")
    packages = next(path for path in site.getsitepackages() if path.startswith(sys.prefix))
    found.credentials["PYTHONPATH"] = f"{REPOSITORY}:{packages}"
    found.activate("--drives", "1")
    found.create_tapes("--count", "1")
    try:
        yield found
    finally:
        found.close()
        shutil.rmtree(root)


def give_away(gateway: Gateway) -> None:
    for path in (gateway.root, *gateway.root.rglob("*")):
        shutil.chown(path, NOBODY, "nogroup")


def write_and_read(gateway: Gateway) -> None:
    (barcode,) = gateway.barcodes()
    gateway.load(barcode)
    drive = gateway.drive()
    drive.write_block(b"data" * 1000)
    drive.write_filemarks(1)
    drive.rewind()
    assert drive.read_block(65536) == b"data" * 1000
    drive.session.logout()


def user_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("Uid:")).split()[2])


def test_root_is_given_up_once_the_ports_are_bound(gateway: Gateway) -> None:
    give_away(gateway)
    gateway.serve("--user", NOBODY)
    pids = [gateway.server_pid, *gateway.child_pids()]
    assert len(pids) == 3
    nobody = gateway.state.stat().st_uid
    assert {user_of(pid) for pid in pids} == {nobody}
    for pid in pids:
        limits = Path(f"/proc/{pid}/limits").read_text()
        core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"], "a core dump would hold keys"
    write_and_read(gateway)
    # Root's own commands go on working, and leave nothing that the user could not read or write.
    (first,), tape = gateway.barcodes(), "ROOT01L5"
    gateway.cli("tape", "create", "--size", "100GiB", "--barcode", tape, "--to-slots", "--wait")
    image = gateway.root / "image"
    image.write_bytes(b"root" * 1000)
    gateway.cli("tape", "import", tape, str(image), "--format", "raw", "--block-size", "4000")
    gateway.stop()
    gateway.serve("--user", NOBODY)
    gateway.cli("tape", "unload", first)
    gateway.load(tape)
    assert gateway.drive().read_block(65536) == b"root" * 1000
    gateway.stop()


def test_what_the_user_cannot_write_is_named(gateway: Gateway) -> None:
    done = gateway.run("serve", "--user", NOBODY)
    assert done.returncode == SETTING_INVALID
    assert f"user {NOBODY} cannot write {gateway.state.parent}" in done.stderr
    assert f"hint: chown -R {NOBODY}:" in done.stderr
    done = gateway.run("serve", "--user", "no-such-user")
    assert done.returncode == SETTING_INVALID
    assert "no such user" in done.stderr


def test_serve_runs_in_the_sandbox_of_its_unit(gateway: Gateway) -> None:
    require_program("unshare", "util-linux")
    give_away(gateway)
    gateway.serve_wrapper = ("unshare", "-m", "sh", "-c", SANDBOX, "sandbox", str(gateway.root))
    gateway.serve()
    write_and_read(gateway)
    gateway.stop()


def test_a_container_serves_as_its_user_and_tells_its_health(gateway: Gateway) -> None:
    """Without an engine: the user, the rights and the health command of the Containerfile, with
    everything but its volumes read-only, as the example of compose has it.
    """
    require_program("unshare", "util-linux")
    (user,) = re.findall(r"^USER (\d+):\d+$", CONTAINERFILE.read_text(), re.MULTILINE)
    (health,) = re.findall(r"^    CMD (tapectl .*)$", CONTAINERFILE.read_text(), re.MULTILINE)
    assert int(user) > 0
    for path in (gateway.root, *gateway.root.rglob("*")):
        os.chown(path, int(user), int(user))
    script = SANDBOX.replace("=nobody", f"={user}").replace("=nogroup", f"={user}")
    wrapper = ("unshare", "-m", "sh", "-c", script, "container", str(gateway.root))
    gateway.serve_wrapper = wrapper
    command = shlex.join(gateway.command)
    python, *_ = gateway.command

    def is_healthy() -> bool:
        words = (*wrapper, python, "-c", RUN_SHELL, f'tapectl() {{ {command} "$@"; }}; {health}')
        done = subprocess.run(
            words, env=gateway.environment, cwd=gateway.root, capture_output=True, check=False
        )
        assert done.stderr == b""
        return done.returncode == 0

    assert not is_healthy()
    gateway.serve()
    assert user_of(gateway.server_pid) == int(user)
    assert is_healthy()
    write_and_read(gateway)
    gateway.stop()
    assert not is_healthy()


def test_the_service_manager_is_told_how_it_goes(make_gateway: Callable[..., Gateway]) -> None:
    served = make_gateway()
    served.activate("--drives", "1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(served.root / "notify"))
        manager.settimeout(START_TIMEOUT_S)
        served.credentials |= {"NOTIFY_SOCKET": str(served.root / "notify")}
        served.credentials |= {"WATCHDOG_USEC": "3000000"}

        def hear(wanted: bytes) -> bytes:
            while wanted not in (said := manager.recv(4096)):
                assert said == b"WATCHDOG=1", f"before {wanted!r}: {said!r}"
            return said

        served.serve()
        assert f"serving on 127.0.0.1:{served.port}".encode() in hear(b"READY=1")
        hear(b"WATCHDOG=1")
        os.kill(served.server_pid, signal.SIGHUP)
        hear(b"RELOADING=1")
        hear(b"READY=1")
        served.stop()
        hear(b"STOPPING=1")


def test_systemd_takes_the_unit_and_calls_it_safe() -> None:
    require_program("systemd-analyze", "systemd")
    found = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-400:]
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [
        line
        for line in checked.stderr.splitlines()
        if "tapectl.service" in line and "is not executable" not in line
    ]
    assert complaints == []
