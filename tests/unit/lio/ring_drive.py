"""A drive behind a ring, whose process can die at any moment and be followed by another."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from tapectl.lio.continuity import Continuity
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
    "before answered",
    "after answered",
)
"""Between two of them nothing is written down: nothing could be told apart."""


class Death(BaseException):
    """The process is no more."""


class MortalJournal(Journal):
    """Dies at a moment of the command that is being run, once it is told which."""

    moment: str | None = None

    def _come(self, moment: str) -> None:
        if moment == self.moment:
            raise Death

    def begin(self, at: int, place: Place | None, *, attempts: int) -> None:
        self._come("before begin")
        super().begin(at, place, attempts=attempts)
        self._come("after begin")

    def done(
        self, outcome: tuple[int, bytes, int], place: Place | None, continuation: bytes | None
    ) -> None:
        self._come("before done")
        super().done(outcome, place, continuation)
        self._come("after done")

    def answered(self) -> None:
        self._come("before answered")
        super().answered()
        self._come("after answered")


class MortalService(RingService):
    """A service whose death is no exception of the test's."""

    def _serve(self) -> None:
        self.died = threading.Event()
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
        return command_id
