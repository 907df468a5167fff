"""A drive behind a ring, whose process can die at any moment and be followed by another."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

from tapectl.lio.continuity import Continuity
from tapectl.lio.disorder import Disorder
from tapectl.lio.journal import Journal
from tapectl.lio.ring_service import NEXUS, RingService
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.ssc.continuation import Place
from tapectl.scsi.ssc.drive import TapeDrive
from tests.support.fake_kernel import Answer, FakeKernel
from tests.support.memory_cartridge import MemoryCartridge

MOMENTS = (
    "before begin",
    "after begin",
    "before done",
    "after done",
    "before answering",
    "within the answer",
    "before answered",
    "after answered",
)
"""Between two of them nothing is written down: nothing could be told apart."""


class Death(BaseException):
    """The process is no more."""


class MortalJournal(Journal):
    """Dies at a moment of the command that is being run, once it is told which; or at the so many
    next, `dies_after`."""

    moment: str | None = None
    dies_after: int | None = None
    died_at: str = ""

    def _come(self, moment: str) -> None:
        self.died_at = moment
        if moment == self.moment:
            raise Death
        if self.dies_after is not None:
            self.dies_after -= 1
            if self.dies_after < 0:
                raise Death

    def begin(self, command_id: int, tail: int, place: Place | None, *, attempts: int) -> None:
        self._come("before begin")
        super().begin(command_id, tail, place, attempts=attempts)
        self._come("after begin")

    def done(
        self,
        outcome: tuple[int, bytes, int],
        data_bytes: int,
        place: Place | None,
        continuation: bytes | None,
    ) -> None:
        self._come("before done")
        super().done(outcome, data_bytes, place, continuation)
        self._come("after done")

    def refused(
        self, command_id: int, tail: int, outcome: tuple[int, bytes, int], data_bytes: int
    ) -> None:
        self._come("before refused")
        super().refused(command_id, tail, outcome, data_bytes)
        self._come("after refused")

    def put_disorder(self, disorder: Disorder, tail: int, *, now: int) -> None:
        self._come("before disorder")
        super().put_disorder(disorder, tail, now=now)
        self._come("after disorder")

    def answering(self) -> None:
        self._come("before answering")
        super().answering()
        self._come("within the answer")

    def answered(self) -> None:
        self._come("before answered")
        super().answered()
        self._come("after answered")

    def put_no_disorder(self) -> None:
        self._come("before order")
        super().put_no_disorder()
        self._come("after order")


class MortalService(RingService):
    """A service whose death is no exception of the test's."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.died = threading.Event()

    def start(self) -> None:
        try:
            super().start()
        except Death:
            self.died.set()

    def _serve(self) -> None:
        with contextlib.suppress(Death):
            super()._serve()
        self.died.set()


class RingDrive:
    """One life of a drive's process; `live` begins it, `kernel` outlives it."""

    def __init__(
        self,
        kernel: FakeKernel,
        cartridge: MemoryCartridge | None,
        folder: Path,
        *,
        identity: str = "this ring",
        busy_timeout_s: float = 30.0,
    ) -> None:
        self.kernel = kernel
        self.drive = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD5"], serial="0123456789")
        if cartridge is not None:
            self.drive.load(cartridge, attention=False)
        folder.mkdir(exist_ok=True)
        self.journal = MortalJournal(folder / "rings" / "drive", identity)
        self.lock = threading.Lock()
        self.busy_timeout_s = busy_timeout_s
        self.service = MortalService(
            kernel,
            self.drive,
            self.lock,
            busy_timeout_s=lambda: self.busy_timeout_s,
            buffer=self.drive.data_buffer,
            continuity=Continuity(self.drive, NEXUS, self.journal),
        )

    def live(self) -> RingDrive:
        self.service.start()
        return self

    def run(self, cdb: str, data_out: bytes = b"", *, room: int = 0) -> Answer:
        """Run one command to its end."""
        return self.kernel.await_answers(self.kernel.put(bytes.fromhex(cdb), data_out, room=room))[
            0
        ]

    def die_at(self, moment: str, cdb: str, data_out: bytes, room: int) -> int:
        """Send a command, and die at a moment of it; return its id."""
        self.journal.moment = moment
        command_id = self.kernel.put(bytes.fromhex(cdb), data_out, room=room)
        assert self.service.died.wait(30)
        self.leave()
        return command_id

    def leave(self) -> None:
        """Leave in the ring, after a death, what its moment leaves there."""
        if self.journal.died_at == "within the answer":
            self.kernel.spoil_first()
