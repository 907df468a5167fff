"""Names of a tape's files on a disk, and which tape they are of."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

OPEN, SEALED = ".open", ".seg"
COPYING = ".copy"
"""A copy of a sealed segment that is being made."""


@dataclass(frozen=True, slots=True)
class TapeDescription:
    """A tape as the state knows it. `capacity_bytes` counts user data, `tape_uuid` is its text,
    `created_ms` the time since 1970 when it was made.
    """

    barcode: str
    tape_uuid: str
    capacity_bytes: int
    write_protected: bool = False
    worm: bool = False
    generation: int = 5
    cleaning: bool = False
    created_ms: int = 0

    @property
    def uuid(self) -> uuid.UUID:
        return uuid.UUID(self.tape_uuid)


def tape_folder(disk: Path, barcode: str) -> Path:
    """Return the folder of a tape's segments on a disk."""
    return disk / "tapes" / barcode


def segment_name(sequence: int, suffix: str) -> str:
    """Return the name of a segment's file; `suffix` is OPEN or SEALED."""
    return f"{sequence:08d}{suffix}"
