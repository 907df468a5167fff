"""What kinds of cartridges there are: LTO generations by name, and cleaning cartridges."""

from __future__ import annotations

import enum
import sqlite3

from tapectl.errors import UsageError
from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.drive_types import drive_personalities
from tapectl.gateway.elements import ElementMap
from tapectl.gateway.tape_info import TapeInfo
from tapectl.medium.volume import VolumeRecord
from tapectl.scsi.media import CLEANINGS, LTO_MEDIA
from tapectl.scsi.personality import Access, DrivePersonality
from tapectl.state import volumes
from tapectl.state.database import State
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


def check_worm(generation: int) -> None:
    """Raise UsageError if there are no WORM media of a generation."""
    if not LTO_MEDIA[generation].worm:
        first = next(media for media in LTO_MEDIA.values() if media.worm)
        raise UsageError(
            f"there are no WORM media of this generation: {generation_name(generation)}",
            hint=f"{first.name} is the first that has them",
        )


class Use(enum.IntEnum):
    """What a drive can do with a cartridge, most first."""

    ALL = 0
    READ = 1
    NONE = 2


def use_of(tape: TapeRecord | TapeInfo, drive: DrivePersonality) -> Use:
    """Return what a drive can do with a tape; any cleaning cartridge cleans any drive."""
    if tape.cleaning:
        return Use.ALL
    return _USES.get(drive.generation.access(tape.generation), Use.NONE)


def warning_of_use(state: State, tape: TapeInfo) -> str | None:
    """Return what the drive that a tape is in cannot do with it, for people; None: nothing."""
    if tape.vtl_device is None or tape.element_address is None:
        return None
    elements = ElementMap.of(describe_gateway(state))
    drive = drive_personalities(state)[elements.number(tape.element_address) - 1]
    cannot = _CANNOT.get(use_of(tape, drive))
    if cannot is None:
        return None
    return f"{tape.location}, {drive.product}, {cannot} {generation_name(tape.generation)}"


_CANNOT = {Use.READ: "does not write", Use.NONE: "cannot read"}
_USES = {Access.READ_WRITE: Use.ALL, Access.READ_ONLY: Use.READ}


def cleanings_left(db: sqlite3.Connection, tape: TapeRecord) -> int | None:
    """Return how often a cleaning cartridge can still clean; None for all others."""
    if not tape.cleaning:
        return None
    row = volumes.get(db, tape.barcode)
    attributes = VolumeRecord.from_document(row.document).attributes if row else {}
    used = attributes.get(_LOAD_COUNT)
    return CLEANINGS - (int.from_bytes(used.value, "big") if used else 0)
