"""Disks that outlived the state which named them: their gateway was adopted, and gets them back.

What they hold beyond the store is found when its tape is loaded, as after a crash. That is only
right while nothing else has been written there since.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from tapectl.disks.segment_copies import fault_of_copy
from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.elements import ElementMap
from tapectl.gateway.tapes import refuse_loaded
from tapectl.gateway.transfer.local_files import OPEN, SEALED
from tapectl.state import events, segments, tapes
from tapectl.state.database import State
from tapectl.state.events import DISK_REMOVED, EventFilter
from tapectl.state.gateways import read_gateway
from tapectl.state.segments import SegmentRecord
from tapectl.state.tapes import TapeRecord


class DiskOvertakenError(TapectlError):
    """What the disk holds cannot be gone on with: its tape was written elsewhere since."""

    exit_code = ExitCode.DISK_NOT_EMPTY
    code = "disk_overtaken"


def refuse_overtaken(state: State, path: Path, disk_id: str) -> None:
    """Refuse a disk of this gateway with segments in the place of which the gateway has others.

    One that was given up here, by force, and is found again brings back what it was given up with.
    Raises DiskOvertakenError, TapeInDriveError.
    """
    with state.read() as db:
        given_up = events.select(db, EventFilter(subject_id=disk_id, type=DISK_REMOVED, limit=1))
        elements = ElementMap.of(read_gateway(db))
        for folder in sorted((path / "tapes").glob("*")):
            tape = tapes.find(db, folder.name)
            names = [name for name in folder.glob("*") if name.suffix in (OPEN, SEALED)]
            if tape is None or not names:
                continue
            refuse_loaded(tape, elements)
            for name in names:
                record = segments.find(db, tape.barcode, int(name.stem))
                if record is None or (given_up and _is_copy(name, tape, record)):
                    continue
                # What another epoch put in the store is what this file was.
                if record.store_epoch in (None, tape.store_epoch):
                    raise DiskOvertakenError(
                        f"tape {tape.barcode} was written after {path} was lost",
                        hint="empty the directory, or use another one",
                    )


def _is_copy(path: Path, tape: TapeRecord, record: SegmentRecord) -> bool:
    """Whether a file is like the segment that the state has; its content may be another's."""
    if path.suffix != SEALED:
        return False
    fault = fault_of_copy(path, uuid.UUID(tape.tape_uuid), record.summary, whole=False)
    return fault is None
