"""Open segments that a dead worker left behind, of tapes that are in no drive."""

from __future__ import annotations

from tapectl.gateway.transfer.local_files import OPEN, LocalDisks, tape_folder


def has_open_file(local: LocalDisks, barcode: str) -> bool:
    """Whether any disk has a segment of the tape that is not sealed yet."""
    return any(any(tape_folder(root, barcode).glob(f"*{OPEN}")) for root in local.paths.values())
