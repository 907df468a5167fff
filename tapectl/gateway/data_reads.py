"""Data that left the gateway by a command and not by a drive: who read which tape, where to."""

from __future__ import annotations

from pathlib import Path

from tapectl.gateway.clock import now_ms
from tapectl.state import events, tapes
from tapectl.state.database import State
from tapectl.state.tapes import Stamp

TAPE_DATA_READ = "TapeDataRead"


def note_data_read(state: State, barcode: str, *, command: str, to: Path, actor: str) -> None:
    """Record that a tape's data is about to be read, before any of it is; to the file - is to
    standard output. Raises StateError."""
    detail = {"command": command, "to": "-" if str(to) == "-" else str(to.absolute())}
    event = tapes.event_of(barcode, Stamp(actor, now_ms()), TAPE_DATA_READ, detail)
    with state.write() as db:
        events.append(db, event)
