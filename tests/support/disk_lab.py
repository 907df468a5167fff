"""A gateway whose disks go wrong, and what was written to its tapes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tapectl.gateway.check.findings import Code
from tapectl.state import segments
from tapectl.state.database import State
from tapectl.state.segments import SegmentRecord
from tests.faults.one_process import OF_THE_HOST
from tests.support.gateway import Gateway, wait_until
from tests.support.tape_client import MediaChanger, TapeDrive

BLOCK_BYTES = 65536
WAIT_S = 60.0
# A disk that fails is what these tests are about.
_OF_THE_MACHINE = frozenset(one.value for one in OF_THE_HOST - {Code.DISK_FAILING})
_ALLOW_SMALL = "--allow-small"


class DiskLab:
    """A served gateway with one drive and two tapes."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.written: dict[str, list[bytes]] = {}
        self._drive: TapeDrive | None = None
        self._changer: MediaChanger | None = None

    def start(self, *disks: tuple[str, Path]) -> None:
        """Activate with more disks beside the first two, make the tapes and serve."""
        gateway = self.gateway
        gateway.activate("--drives", "1", disk_options=[_ALLOW_SMALL])
        for command, path in disks:
            self.add(command, path)
        self.written = {barcode: [] for barcode in gateway.create_tapes("--count", "2")}
        gateway.serve()

    @property
    def barcodes(self) -> list[str]:
        return sorted(self.written)

    def add(self, command: str, path: Path, *options: str) -> str:
        """Add a disk and return its id."""
        path.mkdir(exist_ok=True)
        disk_id: str = self.gateway.json("disk", command, str(path), _ALLOW_SMALL, *options)[
            "DiskId"
        ]
        return disk_id

    def disk_at(self, path: Path) -> str:
        disk_id: str = self.gateway.json("disk", "show", str(path))["DiskId"]
        return disk_id

    def stop_the_store(self) -> None:
        """Let nothing be uploaded from now on."""
        self.gateway.store.rename(self.gateway.store.with_name("away"))

    def start_the_store(self) -> None:
        self.gateway.store.with_name("away").rename(self.gateway.store)

    def drive(self, ready_s: float = 30.0) -> TapeDrive:
        """Return the drive once it is ready, one session for the whole test."""
        if self._drive is None:
            self._drive = self.gateway.drive()
        self._drive.wait_ready(ready_s)
        return self._drive

    def load(self, barcode: str) -> None:
        """Have a tape in the drive, loaded anew, and the other one in its slot."""
        if self._changer is None:
            self._changer = self.gateway.changer()
        in_drive, _ = self._changer.addresses().data_transfer
        if any(self._changer.address_of(one) == in_drive for one in self.barcodes):
            self._changer.unload(0)
        self._changer.load(barcode, 0)

    def log_in_again(self) -> None:
        """The gateway was started anew: the sessions are of the old one."""
        self._drive = self._changer = None

    def write(self, barcode: str, count: int = 4) -> None:
        """Write blocks at the end of a tape that is loaded, and synchronise."""
        drive = self.drive()
        drive.locate(len(self.written[barcode]))
        for _ in range(count):
            block = os.urandom(BLOCK_BYTES)
            drive.write_block(block)
            self.written[barcode].append(block)
        drive.write_filemarks(0)

    def assert_whole(self, barcode: str) -> None:
        """Read a tape that is loaded, and find all that was written."""
        drive = self.drive()
        drive.rewind()
        assert [drive.read_block(BLOCK_BYTES) for _ in self.written[barcode]] == self.written[
            barcode
        ]

    def check(self, *options: str) -> dict[str, Any]:
        """Return what `tapectl check` says; `Codes` are the tapes by what was found."""
        done = self.gateway.run("check", *options, "--output", "json")
        report: dict[str, Any] = json.loads(done.stdout)
        report["Codes"] = {one["Code"]: one["TapeBarcodes"] for one in report["Findings"]}
        return report

    def assert_clean(self) -> None:
        found = self.check("--data")["Findings"]
        left = [
            one for one in found if one["Severity"] != "info" and one["Code"] not in _OF_THE_MACHINE
        ]
        assert left == []

    def wait_uploaded(self) -> None:
        """Wait until the store has everything."""

        wait_until(
            lambda: all(
                self._sealed(barcode) and all(one.uploaded_at_ms for one in self._rows(barcode))
                for barcode in self.barcodes
            ),
            "all is uploaded",
            WAIT_S,
        )

    def wait_sealed(self, barcode: str) -> None:
        """Wait until all that was written to a tape is sealed, on some disks."""
        wait_until(lambda: self._sealed(barcode), "all is sealed", WAIT_S)

    def _sealed(self, barcode: str) -> bool:
        objects = sum(one.summary.object_count for one in self._rows(barcode))
        return objects >= len(self.written[barcode])

    def _rows(self, barcode: str) -> Sequence[SegmentRecord]:
        with State.open(self.gateway.state) as state, state.read() as db:
            return segments.of_tape(db, barcode)

    def copies(self, barcode: str) -> list[Path]:
        """Return the sealed copies on all disks."""
        return sorted(self.gateway.root.glob(f"*/tapes/{barcode}/*.seg"))

    def unsealed(self, barcode: str) -> list[Path]:
        """Return the unsealed copies, but for those on a disk that is lost."""
        found = self.gateway.root.glob(f"*/tapes/{barcode}/*.open")
        return [path for path in found if not path.parents[2].name.startswith("lost")]
