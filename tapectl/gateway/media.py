"""What kinds of cartridges there are: LTO generations by name, and cleaning cartridges."""

from __future__ import annotations

import sqlite3

from tapectl.errors import UsageError
from tapectl.medium.volume import VolumeRecord
from tapectl.scsi.media import CLEANINGS, LTO_MEDIA
from tapectl.state import volumes
from tapectl.state.tapes import TapeRecord

_LOAD_COUNT = (0, 0x0003)


def parse_generation(text: str) -> int:
    """Return the generation of `LTO-8`; raise UsageError if there is none of this name."""
    for number, media in LTO_MEDIA.items():
        if text.upper() in (media.name, media.name.replace("-", ""), str(number)):
            return number
    raise UsageError(
        f"no such generation of media: {text}",
        hint=f"there are {', '.join(media.name for media in LTO_MEDIA.values())}",
    )


def generation_name(generation: int) -> str:
    """Return `LTO-8`."""
    return LTO_MEDIA[generation].name


def cleanings_left(db: sqlite3.Connection, tape: TapeRecord) -> int | None:
    """Return how often a cleaning cartridge can still clean; None for all others."""
    if not tape.cleaning:
        return None
    row = volumes.get(db, tape.barcode)
    attributes = VolumeRecord.from_document(row.document).attributes if row else {}
    used = attributes.get(_LOAD_COUNT)
    return CLEANINGS - (int.from_bytes(used.value, "big") if used else 0)
