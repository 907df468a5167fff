"""A gateway in a folder of its own, made and served through the real command line."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tapectl.serve import json_lines
from tests.support.command_here import run_here
from tests.support.initiator import LoginRefusedError, Session, SessionOptions
from tests.support.tape_client import MediaChanger, TapeDrive

# The command as a user runs it, from the environment that runs the tests.
TAPECTL = Path(sys.executable).with_name("tapectl")
HOST = "127.0.0.1"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 90.0
RECONNECT_TIMEOUT_S = 60.0
POLL_S = 0.05
ALREADY_SERVING = 50


def free_port() -> int:
    """Return a port of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Poll until true; fail naming what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(POLL_S)


class Gateway:
    """Paths, commands and processes of one gateway. Call `close` at the end.

    `settings` become TAPECTL_* variables of every command, `credentials` variables as they are.
    """

    def __init__(self, root: Path, **settings: str) -> None:
        self.root = root
        self.state = root / "gateway" / "tapectl.db"
        self.cache = root / "cache"
        self.buffer = root / "buffer"
        self.store = root / "store"
        self.log_path = root / "serve.log"
        self.port = free_port()
        # None of them where the configuration file says it.
        self.listen_options: Sequence[str] = ("--listen", f"{HOST}:{self.port}")
        # What `tapectl` is, and what serves: wrapped, in tests of a service's surroundings.
        self.command: Sequence[str] = (str(TAPECTL),)
        self.serve_wrapper: Sequence[str] = ()
        # Sessions that a test leaves open are not waited for at the end.
        self.settings = {"logout_wait_s": "0"} | settings
        self.credentials: dict[str, str] = {}
        self._server: subprocess.Popen[bytes] | None = None
        for folder in (self.state.parent, self.cache, self.buffer, self.store):
            folder.mkdir(parents=True, exist_ok=True)

    # -- commands --------------------------------------------------------------------------
    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("TAPECTL_")}
        mine = {f"TAPECTL_{name.upper()}": value for name, value in self.settings.items()}
        return (
            inherited
            | {"TAPECTL_STATE": str(self.state), "NO_COLOR": "1"}
            | mine
            | self.credentials
        )

    def run(self, *words: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever its exit status."""
        return subprocess.run(
            [*self.command, *words],
            env=self.environment,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command and leave it to its work; the test waits for it."""
        return subprocess.Popen(
            [*self.command, *words], env=self.environment, cwd=self.root, stdin=subprocess.DEVNULL
        )

    def cli(self, *words: str, timeout_s: float = 120.0) -> str:
        """Run a command that must succeed; return its stdout."""
        done = self.run(*words, timeout_s=timeout_s)
        assert done.returncode == 0, f"tapectl {' '.join(words)}: {done.returncode}\n{done.stderr}"
        return done.stdout

    def json(self, *words: str) -> Any:
        """Run a command with --output json and decode it."""
        return json.loads(self.cli(*words, "--output", "json"))

    def prepare(self, *words: str) -> str:
        """Run a command that must succeed and is not what the test is about; return its stdout.

        In this process, where the command is the one that is installed here: most of what a test
        of a served library costs would be the start of interpreters.
        """
        if self.command != (str(TAPECTL),) or "LD_PRELOAD" in self.environment:
            return self.cli(*words)
        done = run_here(words, self.environment)
        assert done.returncode == 0, f"tapectl {' '.join(words)}: {done.returncode}\n{done.stderr}"
        return done.stdout

    def ask(self, *words: str) -> Any:
        """Run a command as `prepare` does, with --output json, and decode what it says."""
        return json.loads(self.prepare(*words, "--output", "json"))

    def activate(
        self, *options: str, store: str | None = None, disk_options: Sequence[str] = ()
    ) -> None:
        """Activate on a directory store (or the one given) and add both disks.

        Two drives, where `options` say nothing else: each is a process that has to start.
        """
        if "--drives" not in options:
            options = ("--drives", "2", *options)
        self.prepare("activate", "--name", "test", "--store", store or str(self.store), *options)
        self.prepare("disk", "add-cache", str(self.cache), *disk_options)
        self.prepare("disk", "add-buffer", str(self.buffer), *disk_options)

    def create_tapes(self, *options: str, size: str = "100GiB") -> list[str]:
        """Create tapes in storage slots, AVAILABLE when this returns; return their barcodes."""
        created = self.ask("tape", "create", "--size", size, "--to-slots", "--wait", *options)
        return sorted(tape["TapeBarcode"] for tape in created)

    def barcodes(self) -> list[str]:
        return [tape["TapeBarcode"] for tape in self.ask("tape", "list")]

    def tape_status(self, barcode: str) -> str:
        """Return the status of a tape in the library or on the shelf."""
        status: str = self.ask("tape", "show", barcode)["TapeStatus"]
        return status

    def wait_status(self, barcode: str, status: str, timeout_s: float = 120.0) -> None:
        wait_until(lambda: self.tape_status(barcode) == status, f"{barcode} {status}", timeout_s)

    # -- serving ---------------------------------------------------------------------------
    @property
    def portal(self) -> tuple[str, int]:
        return HOST, self.port

    @property
    def server_pid(self) -> int:
        assert self._server is not None, "not serving"
        return self._server.pid

    def serve(self, *options: str) -> None:
        """Start `tapectl serve` and wait until its portal answers.

        Tries again while children of a killed supervisor still hold the lock.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with self.log_path.open("ab") as log:
                self._server = subprocess.Popen(
                    [
                        *self.serve_wrapper,
                        *self.command,
                        "serve",
                        *self.listen_options,
                        *options,
                    ],
                    env=self.environment,
                    cwd=self.root,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            if self._wait_answering(deadline):
                return
            status = self._server.returncode
            assert status == ALREADY_SERVING, f"serve ended with {status}\n{self.log()[-4000:]}"
            assert time.monotonic() < deadline, self.log()[-4000:]

    def _wait_answering(self, deadline: float) -> bool:
        """Return True when the control socket answers, False when serve has ended."""
        assert self._server is not None
        while self._server.poll() is None:
            assert time.monotonic() < deadline, f"serve is not ready\n{self.log()[-4000:]}"
            if self.control("status"):
                return True
            time.sleep(POLL_S)
        return False

    def control(self, operation: str) -> dict[str, Any]:
        """Ask the supervisor over its control socket; empty when there is none."""
        try:
            # The folders of tests may be too deep for a socket's address; this way they are not.
            with json_lines.connect(
                self.state.with_name("tapectl.sock"), START_TIMEOUT_S
            ) as stream:
                stream.sendall(json.dumps({"op": operation}).encode() + b"\n")
                line = stream.makefile().readline()
        except OSError:
            return {}
        answer: dict[str, Any] = json.loads(line) if line else {}
        return answer

    def serving(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def stop(self, expected_status: int = 0) -> None:
        """SIGTERM, as systemd does, and wait for the flush."""
        assert self._server is not None, "not serving"
        self._server.terminate()
        status = self._server.wait(STOP_TIMEOUT_S)
        self._server = None
        assert status == expected_status, f"serve ended with {status}\n{self.log()[-4000:]}"

    def kill_server(self) -> None:
        """kill -9 of the supervisor; its children leave by themselves."""
        assert self._server is not None, "not serving"
        self._server.kill()
        self._server.wait()
        self._server = None

    def close(self) -> None:
        """End everything this gateway started, gently if it can be."""
        if self._server is None:
            return
        children = self.child_pids()
        self._server.terminate()
        try:
            self._server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
            for pid in children:
                _kill_if_alive(pid)
        self._server = None

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # -- processes -------------------------------------------------------------------------
    def child_pids(self, module: str = "tapectl.serve.") -> list[int]:
        """Return the supervisor's children that run a module of that name, oldest first."""
        if not self.serving():
            return []
        pid = self.server_pid
        found: set[int] = set()
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            found |= {int(word) for word in _read(children).split()}
        return sorted(child for child in found if module in _read(Path(f"/proc/{child}/cmdline")))

    def transfer_pid(self) -> int:
        """Return the pid of the transfer process, waiting for one that is being restarted."""
        wait_until(
            lambda: bool(self.child_pids("serve.transfer")), "a transfer process", START_TIMEOUT_S
        )
        return self.child_pids("serve.transfer")[0]

    def worker_pid(self, session: Session) -> int:
        """Return the worker that serves this session: the one that holds its socket."""
        socket_link = f"socket:[{_server_side_inode(self.portal[1], session)}]"
        found: list[int] = []

        def look() -> bool:
            # The list of children may lack one while others come and go (proc(5)).
            for pid in self.child_pids("serve.worker"):
                if any(_link(one) == socket_link for one in Path(f"/proc/{pid}/fd").iterdir()):
                    found.append(pid)
            return bool(found)

        wait_until(look, "the worker that holds the session's socket", START_TIMEOUT_S)
        return found[0]

    # -- devices ---------------------------------------------------------------------------
    def targets(self) -> dict[str, str]:
        """Return device name (mediachanger, tapedrive-01, ...) to target name."""
        return {device["Device"]: device["TargetARN"] for device in self.ask("device", "list")}

    def connect(self, device: str, options: SessionOptions | None = None) -> Session:
        """Log in to a device, trying again while its worker is being started."""
        target = self.targets()[device]
        deadline = time.monotonic() + RECONNECT_TIMEOUT_S
        while True:
            try:
                return Session(self.portal, target, options)
            except (OSError, LoginRefusedError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)

    def changer(self) -> MediaChanger:
        return MediaChanger(self.connect("mediachanger"))

    def drive(self, number: int = 1, options: SessionOptions | None = None) -> TapeDrive:
        """Return drive `number`, counted from 1 as the device names are."""
        return TapeDrive(self.connect(f"tapedrive-{number:02d}", options))

    def load(self, barcode: str, drive: int = 1) -> None:
        """Load a tape by the media changer, as backup software does."""
        changer = self.changer()
        changer.load(barcode, drive - 1)
        changer.session.logout()

    def url(self, device: str) -> str:
        """Return the device's libiscsi URL."""
        return f"iscsi://{HOST}:{self.port}/{self.targets()[device]}/0"

    def urls(self, numbers: Sequence[int]) -> tuple[str, ...]:
        targets = self.targets()
        return tuple(
            f"iscsi://{HOST}:{self.port}/{targets[f'tapedrive-{n:02d}']}/0" for n in numbers
        )


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # the process ended meanwhile


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _kill_if_alive(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _server_side_inode(portal_port: int, session: Session) -> str:
    """Return the inode of the target's end of the session's TCP connection (/proc/net/tcp).

    Both ports tell which it is: elsewhere somebody may listen on the one that is our client's.
    """
    ports = [portal_port, session.local_port]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if [int(address.split(":")[1], 16) for address in fields[1:3]] == ports:
            return fields[9]
    raise AssertionError(f"no connection from port {session.local_port}")
