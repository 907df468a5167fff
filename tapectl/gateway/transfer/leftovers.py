"""Segments that a dead worker left behind, of tapes that are in no drive."""

from __future__ import annotations

from tapectl.gateway.transfer.context import TransferContext
from tapectl.gateway.transfer.local_files import OPEN, SEALED, LocalDisks, tape_folder
from tapectl.state.transfer_queries import sequences_of_tape


def has_leftovers(context: TransferContext, local: LocalDisks, barcode: str) -> bool:
    """Whether a disk has a segment of the tape that is not sealed yet, or that is sealed and not
    entered in the state: the tape then holds more than the state knows."""
    folders = [tape_folder(root, barcode) for root in local.paths.values()]
    if any(True for folder in folders for _ in folder.glob(f"*{OPEN}")):
        return True
    with context.state.read() as db:
        known = sequences_of_tape(db, barcode)
    found = (path.stem for folder in folders for path in folder.glob(f"*{SEALED}"))
    return any(stem.isdigit() and int(stem) not in known for stem in found)
