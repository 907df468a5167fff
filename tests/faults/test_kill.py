"""kill -9 in the middle of a write: what was answered GOOD is on the tape afterwards.

One write job of 2 GiB is broken off twenty times: the drive's worker, the supervisor or the
transfer process dies at a random moment while a command is under way. The client reconnects, reads
back everything, and goes on at the end of data. The upload buffer is a disk of its own, whose
copies are behind those of the cache.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.bench.targets import second_disk
from tests.support.clients import require_root
from tests.support.gateway import START_TIMEOUT_S, Gateway, wait_until
from tests.support.recorded_tape import RecordedTape
from tests.support.tape_client import TapeDrive

JOB_BYTES = 2 << 30
BLOCK_BYTES = 256 << 10
OBJECTS = JOB_BYTES // BLOCK_BYTES
KILLS = 20
# Longer than a command takes, so that a kill may also fall into the ones that follow.
KILL_DELAY_S_MAX = 0.004
VICTIMS = ("worker", "supervisor", "transfer")


@dataclass(slots=True)
class Killer:
    """Kills one process shortly after it is told to, from a thread of its own."""

    pid: int
    delay_s: float
    _go: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def arm(self) -> None:
        self._thread = threading.Thread(target=self._kill, daemon=True)
        self._thread.start()

    def fire(self) -> None:
        self._go.set()

    def join(self) -> None:
        assert self._thread is not None
        self._thread.join()

    def _kill(self) -> None:
        self._go.wait()
        time.sleep(self.delay_s)
        os.kill(self.pid, signal.SIGKILL)


class WriteJob:
    """Writes the objects of a tape in order; knows how many were acknowledged."""

    def __init__(self, gateway: Gateway, tape: RecordedTape) -> None:
        self.gateway = gateway
        self.tape = tape
        self.acknowledged = 0
        self.drive = self._open_drive()

    def _open_drive(self) -> TapeDrive:
        drive = self.gateway.drive(1)
        drive.wait_ready()
        return drive

    def pid_of(self, victim: str) -> int:
        if victim == "worker":
            return self.gateway.worker_pid(self.drive.session)
        return self.gateway.transfer_pid() if victim == "transfer" else self.gateway.server_pid

    def write_to(self, end: int, killer: Killer | None, trigger: int) -> None:
        """Write up to object `end`, telling the killer at `trigger`; OSError when cut off."""
        while self.acknowledged < end:
            if killer is not None and self.acknowledged == trigger:
                killer.fire()
            self.tape.write(self.drive, self.acknowledged)
            self.acknowledged += 1

    def recover(self, victim: str) -> None:
        """Do what an admin and a client do after a crash, and check the tape."""
        self.drive.session.close()
        if victim == "supervisor":
            self.gateway.kill_server()
            self.gateway.serve()
        self.drive = self._open_drive()
        found = self.tape.read_all(self.drive)
        # The command that was cut off may have been recorded whole, or not at all.
        assert self.acknowledged <= found <= self.acknowledged + 1
        self.drive.space_end_of_data()
        assert self.drive.read_position() == found
        self.acknowledged = found


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    require_root()
    with second_disk(tmp_path) as mounted:
        assert mounted is not None
        yield mounted


@pytest.mark.timeout(900)
def test_every_acknowledged_block_survives_kill_9(
    make_gateway: Callable[..., Gateway], other_disk: Path
) -> None:
    seed = int(os.environ.get("TAPECTL_KILL_SEED", "0")) or random.SystemRandom().getrandbits(31)
    print(f"seed: TAPECTL_KILL_SEED={seed}")
    rng = random.Random(seed)
    gateway = make_gateway(segment_bytes="64MiB")
    gateway.buffer = other_disk / "buffer"
    gateway.buffer.mkdir()
    gateway.activate()
    (barcode,) = gateway.create_tapes("--count", "1")
    gateway.serve()
    gateway.load(barcode)
    tape = RecordedTape(barcode, block_bytes=BLOCK_BYTES, blocks_per_file=500)
    job = WriteJob(gateway, tape)
    victims = [VICTIMS[i % len(VICTIMS)] for i in range(KILLS)]
    rng.shuffle(victims)
    for trigger, victim in zip(
        sorted(rng.sample(range(1, OBJECTS - 100), KILLS)), victims, strict=True
    ):
        _kill_while_writing(job, victim, trigger, delay_s=rng.uniform(0, KILL_DELAY_S_MAX))
    job.write_to(OBJECTS, None, 0)
    job.drive.write_filemarks(0)
    assert tape.read_all(job.drive) == OBJECTS


def _kill_while_writing(job: WriteJob, victim: str, trigger: int, *, delay_s: float) -> None:
    killer = Killer(job.pid_of(victim), delay_s)
    killer.arm()
    if victim == "transfer":
        # Nobody who writes notices: the supervisor starts another.
        job.write_to(max(trigger, job.acknowledged) + 1, killer, max(trigger, job.acknowledged))
        killer.join()
        wait_until(
            lambda: job.gateway.child_pids("serve.transfer") not in ([], [killer.pid]),
            "a new transfer process",
            START_TIMEOUT_S,
        )
        return
    with pytest.raises(OSError):
        job.write_to(OBJECTS, killer, max(trigger, job.acknowledged))
    killer.join()
    job.recover(victim)
