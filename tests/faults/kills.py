"""Kills processes of a busy gateway: three drives are written, tapes go to the shelf and come back.

    python -m tests.faults.kills SEED KILLS

The victim is any process at all: a drive's worker, the transfer process, the supervisor, or a
command of an admin in the middle. Nothing that was answered may be lost by it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.faults.one_process import OF_THE_HOST
from tests.faults.served_tape import TROUBLE, ServedTape
from tests.support.gateway import TAPECTL, Gateway

DRIVES = 3
SHELF_TAPES = 3
SETTINGS = {
    "segment_bytes": "1MiB",
    "hold_s": "0",
    "seal_idle_s": "0.5",
    "retrieval_poll_s": "0.2",
    "keep_overwritten_days": "0",
}
_VICTIMS = (
    "worker",
    "worker",
    "worker",
    "transfer",
    "transfer",
    "command",
    "command",
    "supervisor",
)
_PAUSE_S = (0.05, 0.7)
# What `tapectl check` says of a machine that runs tests.
_OF_THE_HOST = frozenset(one.value for one in OF_THE_HOST)


class Busy:
    """The gateway, its clients, and who kills. One thread each; `stop` ends them."""

    def __init__(self, gateway: Gateway, rng: random.Random) -> None:
        self.gateway = gateway
        self.rng = rng
        self.killed: Counter[str] = Counter()
        self.commands = 0
        self.errors: list[BaseException] = []
        self._stop = threading.Event()
        # While the supervisor is being started nobody else may ask for its processes.
        self._serving = threading.Lock()
        self._command: subprocess.Popen[str] | None = None
        self.tapes: list[ServedTape] = []
        self.shelf: list[ServedTape] = []

    def set_up(self) -> None:
        """Activate, create, serve, and write something to the tapes that go to the shelf."""
        gateway = self.gateway
        gateway.activate("--drives", str(DRIVES))
        barcodes = gateway.create_tapes("--count", str(DRIVES + SHELF_TAPES))
        gateway.serve()
        targets = gateway.targets()
        gateway.targets = lambda: targets  # type: ignore[method-assign]

        def tape(barcode: str, number: int) -> ServedTape:
            rng = random.Random(self.rng.random())
            return ServedTape(gateway, barcode, drive_number=number, rng=rng)

        self.tapes = [tape(one, at + 1) for at, one in enumerate(barcodes[:DRIVES])]
        self.shelf = [tape(one, 1) for one in barcodes[DRIVES:]]
        for one in self.shelf:
            one.begin()
            one.write_some()
            one.set_label()
            one.filemark()
            one.leave()
            with one._changer() as changer:
                changer.unload(0)

    def run(self, kills: int) -> None:
        """Let everybody do what they do until so many processes were killed."""
        threads = [
            threading.Thread(target=self._guarded(work), name=name)
            for name, work in (
                *((f"drive {one.barcode}", lambda one=one: self._write(one)) for one in self.tapes),
                ("admin", self._administer),
            )
        ]
        for thread in threads:
            thread.start()
        try:
            while sum(self.killed.values()) < kills and not self.errors:
                time.sleep(self.rng.uniform(*_PAUSE_S))
                self._kill(self.rng.choice(_VICTIMS))
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(timeout=180.0)
        assert not any(thread.is_alive() for thread in threads), "a client hangs"
        if self.errors:
            raise self.errors[0]

    def _guarded(self, work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                self.errors.append(error)

        return run

    def _kill(self, victim: str) -> None:
        if victim == "supervisor":
            with self._serving:
                self.gateway.kill_server()
                time.sleep(self.rng.choice([0.0, 0.2]))
                self.gateway.serve()
            self.killed[victim] += 1
            return
        if victim == "command":
            found = [self._command.pid] if self._command is not None else []
        else:
            found = self.gateway.child_pids(f"serve.{victim}")
        if found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.rng.choice(found), signal.SIGKILL)
                self.killed[victim] += 1

    def _write(self, tape: ServedTape) -> None:
        """Write to one drive; after each fault all that was answered must be there."""
        again = True
        while not self._stop.is_set():
            try:
                if again:
                    tape.begin()
                    tape.compare_after_death()
                    again = False
                tape.step()
                self.commands += 1
            except TROUBLE:
                again = True
        tape.leave()

    def _administer(self) -> None:
        """Move tapes, to the shelf and back; create some and delete them."""
        spare: list[str] = []
        rng = random.Random(self.rng.random())
        while not self._stop.is_set():
            one = rng.choice(self.shelf).barcode
            match rng.randrange(5):
                case 0:
                    self._tapectl("tape", "move", one, f"slot:{rng.randint(100, 200)}")
                case 1 | 2:
                    self._tapectl("tape", "eject", one)
                case 3:
                    self._tapectl("tape", "retrieve", one, "--tier", "Bulk")
                case 4 if spare:
                    self._tapectl("tape", "delete", spare.pop(), "--yes")
                case 4:
                    done = self._tapectl(
                        "tape", "create", "--size", "100GiB", "--count", "1", "--output", "json"
                    )
                    with contextlib.suppress(ValueError):
                        spare += [made["TapeBarcode"] for made in json.loads(done)]

    def _tapectl(self, *words: str) -> str:
        """Run a command that may be killed, or refuse because of what else goes on."""
        self._command = process = subprocess.Popen(
            [str(TAPECTL), *words],
            env=self.gateway.environment,
            cwd=self.gateway.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        stdout, stderr = process.communicate(timeout=120)
        self._command = None
        assert "Traceback" not in stderr, stderr
        self.commands += 1
        return stdout

    def examine(self) -> None:
        """With nobody killing any more: nothing is lost, no tape is stuck, the check is clean."""
        gateway = self.gateway
        for tape in self.tapes:
            tape.begin()
            tape.compare_after_death()
            tape.write_some()
            tape.filemark()
            tape.compare_after_death()
        examined = self.tapes[0]
        examined.leave()
        examined._unload()
        gateway.cli("tape", "eject", examined.barcode)
        for tape in (examined, *self.shelf):
            status = gateway.tape_status(tape.barcode)
            if status not in ("AVAILABLE", "RETRIEVED", "RETRIEVING"):
                gateway.wait_status(tape.barcode, "ARCHIVED")
                gateway.cli("tape", "retrieve", tape.barcode)
            if status != "AVAILABLE":
                gateway.wait_status(tape.barcode, "RETRIEVED")
            tape.begin()
            tape.compare_after_death()
            tape.leave()
            tape._unload()
        found = [one for one in check(gateway) if one["Code"] != "upload_backlog"]
        assert not found, found


def check(gateway: Gateway) -> list[dict[str, object]]:
    """Return what `tapectl check` finds that is of the gateway and not of the machine."""
    done = gateway.run("check", "--data", "--output", "json")
    assert done.returncode in (0, 3), done.stderr
    return [
        one
        for one in json.loads(done.stdout)["Findings"]
        if one["Severity"] != "info" and one["Code"] not in _OF_THE_HOST
    ]


def run(root: Path, seed: int, kills: int) -> dict[str, int]:
    """Lead a busy gateway below `root` through so many kills; return what was killed."""
    gateway = Gateway(root, **SETTINGS)
    busy = Busy(gateway, random.Random(seed))
    try:
        busy.set_up()
        busy.run(kills)
        busy.examine()
    except BaseException as error:
        error.add_note(f"seed {seed}, killed {dict(busy.killed)}\n{gateway.log()[-3000:]}")
        raise
    finally:
        gateway.close()
    return {**busy.killed, "commands": busy.commands}


if __name__ == "__main__":
    try:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(run(Path(folder) / "one", *map(int, sys.argv[1:]))))
    except Exception:
        traceback.print_exc()
        sys.exit(1)
