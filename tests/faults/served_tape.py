"""A tape in a drive of a served gateway, written by a client that knows what was answered.

Commands of many kinds, at random; after a fault the client does what backup programs and admins do,
logs in again, loads the tape again, and then everything that was answered must be there.
"""

from __future__ import annotations

import contextlib
import random
import struct
import time
from collections.abc import Callable
from functools import partial

from tests.faults.one_process import Objects
from tests.faults.tape_life import NEVER, History, Version, describe
from tests.support.encryption import DISABLE, ENCRYPT, MIXED, set_page, spout_cdb
from tests.support.gateway import RECONNECT_TIMEOUT_S, Gateway
from tests.support.initiator import InitiatorError
from tests.support.tape_client import (
    EndOfDataError,
    FilemarkError,
    SenseError,
    TapeDrive,
)

LABEL = 0x0803  # USER MEDIUM TEXT LABEL (SPC-5 7.4.2.3)
_LABEL_BYTES = 160
_BLOCK_BYTES_MAX = 100_000
# What a client sees of a fault: its connection ends, or its command does.
TROUBLE = (OSError, InitiatorError, SenseError)


class ServedTape:
    """One tape and its drive. `position` tells where a log of changes is, if there is one."""

    def __init__(
        self,
        gateway: Gateway,
        barcode: str,
        *,
        drive_number: int,
        rng: random.Random,
        position: Callable[[], int] = lambda: 0,
    ) -> None:
        self.gateway = gateway
        self.barcode = barcode
        self.objects = History.of(())
        self.label = History.of(b"")
        self._drive_number = drive_number
        self._rng = rng
        self._position = position
        self._blocks = 0
        self._drive: TapeDrive | None = None

    @property
    def tape(self) -> Objects:
        now = self.objects.now
        assert isinstance(now, tuple)
        return now

    @property
    def drive(self) -> TapeDrive:
        assert self._drive is not None, "not in use"
        return self._drive

    # -- commands -----------------------------------------------------------------------------
    def step(self) -> None:
        """Send one command or a few; raise one of TROUBLE."""
        (step,) = self._rng.choices(list(_STEPS), list(_STEPS.values()))
        step(self)

    def write_some(self) -> None:
        for _ in range(self._rng.randint(1, 6)):
            block = self._new_block()
            self._change((*self.tape, block), partial(self.drive.write_block, block))

    def filemark(self) -> None:
        self._change((*self.tape, None), self.drive.write_filemarks, synchronises=True)

    def synchronise(self) -> None:
        self._change(self.tape, lambda: self.drive.write_filemarks(0), synchronises=True)

    def overwrite(self) -> None:
        at = self._rng.randint(0, len(self.tape))
        self._change(self.tape, lambda: self.drive.locate(at), synchronises=True)
        block = self._new_block()
        self._change((*self.tape[:at], block), lambda: self.drive.write_block(block))

    def erase(self) -> None:
        at = self._rng.randint(0, len(self.tape))
        self._change(self.tape, lambda: self.drive.locate(at), synchronises=True)
        self._change(
            self.tape[:at],
            lambda: self.drive.checked("ERASE", b"\x19\x01" + bytes(4)),
            synchronises=True,
        )

    def format(self) -> None:
        self._change(self.tape, self.drive.rewind, synchronises=True)
        self._change(
            (), lambda: self.drive.checked("FORMAT", b"\x04" + bytes(5)), synchronises=True
        )

    def set_label(self) -> None:
        """WRITE ATTRIBUTE."""
        text = b"label %d" % self._rng.randrange(1000)
        row = struct.pack(">HBH", LABEL, 2, _LABEL_BYTES) + text.ljust(_LABEL_BYTES)
        data = struct.pack(">I", len(row)) + row
        cdb = b"\x8d" + bytes(9) + struct.pack(">I", len(data)) + bytes(2)
        version = Version(text, self._position(), NEVER, True)
        self.label.versions.append(version)
        self.drive.checked("WRITE ATTRIBUTE", cdb, data_out=data)
        version.answered = self._position()

    def encryption(self) -> None:
        self._encrypt(self._rng.random() < 0.5)

    def _encrypt(self, on: bool) -> None:
        page = set_page(ENCRYPT if on else DISABLE, MIXED)
        self.drive.checked("SECURITY PROTOCOL OUT", spout_cdb(page), data_out=page)

    def reload(self) -> None:
        """Have the changer put the tape into a slot and back."""
        self._change(self.tape, self._unload, synchronises=True)
        self._load()
        self.drive.wait_ready()
        self.drive.locate(len(self.tape))

    def _unload(self) -> None:
        with self._changer() as changer:
            changer.unload(self._drive_number - 1)

    def _load(self) -> None:
        with self._changer() as changer:
            changer.load(self.barcode, self._drive_number - 1)

    @contextlib.contextmanager
    def _changer(self):  # type: ignore[no-untyped-def]
        changer = self.gateway.changer()
        try:
            yield changer
        finally:
            changer.session.close()

    def _new_block(self) -> bytes:
        self._blocks += 1
        length = self._rng.randint(40, self._rng.choice([2000, _BLOCK_BYTES_MAX]))
        noise = self._rng.randbytes(min(length, 600))
        return (self._blocks.to_bytes(4, "big") + noise).ljust(length, b"\x5a")[:length]

    def _change(
        self, after: Objects, command: Callable[[], object], *, synchronises: bool = False
    ) -> None:
        version = Version(after, self._position(), NEVER, synchronises)
        self.objects.versions.append(version)
        command()
        version.answered = self._position()

    # -- after a fault ------------------------------------------------------------------------
    def begin(self) -> None:
        """Have the tape in the drive, wherever it is in the library, and log in."""
        self.leave()
        deadline = time.monotonic() + RECONNECT_TIMEOUT_S
        while True:
            try:
                self._put_into_drive()
                self._drive = self.gateway.drive(self._drive_number)
                self._drive.wait_ready()
            except TROUBLE:
                # The tape is being moved, the drive's process is being started, ...
                if time.monotonic() > deadline:
                    raise
                self.leave()
                time.sleep(0.1)
            else:
                return

    def _put_into_drive(self) -> None:
        with self._changer() as changer:
            drive = changer.addresses().data_transfer[0] + self._drive_number - 1
            at = changer.address_of(self.barcode)
            if at != drive:
                changer.move(at, drive)

    def reload_by_force(self) -> None:
        """What an admin does with a tape that only gives errors: out of the drive and in again."""
        self.leave()
        with contextlib.suppress(*TROUBLE):
            self._unload()
        self.begin()

    def leave(self) -> None:
        """Close the session, if there is one."""
        if self._drive is not None:
            self._drive.session.close()
            self._drive = None

    def compare(self, objects: list[Objects | bytes], labels: list[Objects | bytes]) -> None:
        """Assert that the tape holds one of these, take it as known, and go to its end."""
        found = self.read_all()
        assert found in objects, f"{self.barcode}: {describe(found, objects)}"
        label = self.read_label()
        assert label in labels, f"{self.barcode}: the label is {label!r}, not one of {labels}"
        now = self._position()
        self.objects.versions.append(Version(found, now, now, True))
        self.label.versions.append(Version(label, now, now, True))

    def compare_after_death(self) -> None:
        """Assert that everything answered is there: at most a command under way may be, too."""
        self.compare(self.objects.answered_last(), self.label.answered_last())

    def read_all(self) -> Objects:
        """Read the tape from its beginning to the end of data, and stay there."""
        self._encrypt(False)
        self.drive.rewind()
        found: list[bytes | None] = []
        while True:
            try:
                found.append(self.drive.read_block(_BLOCK_BYTES_MAX))
            except FilemarkError:
                found.append(None)
            except EndOfDataError:
                return tuple(found)

    def read_label(self) -> bytes:
        """READ ATTRIBUTE; empty where there is none."""
        cdb = struct.pack(">BBxxxBxBHIxx", 0x8C, 0, 0, 0, LABEL, 1024)
        try:
            data = self.drive.checked("READ ATTRIBUTE", cdb, data_in_bytes=1024)
        except SenseError as error:
            if error.key != 5:  # there is no such attribute
                raise
            return b""
        identifier, _, length = struct.unpack_from(">HBH", data, 4)
        return data[9 : 9 + length].rstrip() if identifier == LABEL else b""


_STEPS: dict[Callable[[ServedTape], None], int] = {
    ServedTape.write_some: 40,
    ServedTape.filemark: 12,
    ServedTape.synchronise: 6,
    ServedTape.overwrite: 8,
    ServedTape.erase: 2,
    ServedTape.format: 1,
    ServedTape.set_label: 6,
    ServedTape.encryption: 5,
    ServedTape.reload: 4,
}
