"""What may be written where: write protection, WORM, append-only mode, ALLOW OVERWRITE.

The volume change reference is here too: it changes before a volume does (SPC-5 7.4.2.2).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from tapectl.scsi.cartridge import Cartridge, CartridgeWriteError, StoredAttribute
from tapectl.scsi.command_table import GOOD, Task
from tapectl.scsi.logical_unit import Reply
from tapectl.scsi.sense import (
    ASC,
    CheckCondition,
    Sense,
    SenseKey,
    illegal_request,
    invalid_field_in_cdb,
)

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

VOLUME_CHANGE_REFERENCE = 0x0009
_REFERENCE_BYTES = 4


class _Allowed(enum.IntEnum):
    """ALLOW OVERWRITE field (SSC-5 7.1)."""

    NOTHING = 0
    CURRENT_POSITION = 1
    FORMAT = 2


class Overwriting:
    """The state of a drive that decides whether a write may take something away.

    `append_only` is WRITE MODE 01h of the Device Configuration Extension mode page.
    `reference_seen`: the volume change reference must change before the next change of the volume.
    `allowed_at` is the partition and object number at which one overwrite is allowed.
    """

    def __init__(self) -> None:
        self.append_only = False
        self.reference_seen = True
        self.allowed_at: tuple[int, int] | None = None
        self._format_allowed = False
        # What the last command that was looked at had been allowed.
        self._used: tuple[int, int] | None = None
        self._format_used = False

    def loaded(self) -> None:
        """A cartridge was threaded."""
        self.append_only = False
        self.reference_seen = True
        self.forbid()

    def forbid(self) -> None:
        """End what ALLOW OVERWRITE has allowed."""
        self.allowed_at = self._used = None
        self._format_allowed = self._format_used = False

    def guards(self, medium: Cartridge) -> bool:
        """Whether a write must be looked at before it is made."""
        return medium.write_protected or medium.worm or self.append_only or self.reference_seen

    def allow(self, what: _Allowed, medium: Cartridge) -> None:
        """Allow one overwrite at the position, or one FORMAT MEDIUM."""
        self.forbid()
        if what is _Allowed.CURRENT_POSITION:
            self.allowed_at = (medium.partition, medium.position)
        self._format_allowed = what is _Allowed.FORMAT

    def check_write(self, medium: Cartridge, *, appends: bool) -> None:
        """Raise CheckCondition (DATA PROTECT) where the medium must not be written here.

        `appends`: what is written takes nothing away when it is written at end of data.
        """
        self._used, self._format_used = None, False
        if medium.worm and not (appends and _at_end(medium)):
            raise _protected(ASC.WORM_MEDIUM_OVERWRITE_ATTEMPTED)
        if self.append_only:
            here = (medium.partition, medium.position)
            if self.allowed_at == here:
                self.forbid()
                self._used = here
            elif not (appends and _at_end(medium)):
                raise _protected(ASC.WORM_MEDIUM_OVERWRITE_ATTEMPTED)

    def give_back(self, medium: Cartridge) -> None:
        """A command that was allowed has changed nothing, and may be sent or run again."""
        if self._used == (medium.partition, medium.position):
            self.allowed_at = self._used
        self._format_allowed |= self._format_used

    def check_format(self, medium: Cartridge) -> None:
        """Raise CheckCondition (DATA PROTECT) where the medium must not be formatted."""
        if medium.worm or (self.append_only and not self._format_allowed):
            raise _protected(ASC.WORM_MEDIUM_OVERWRITE_ATTEMPTED)
        used = self._format_allowed
        self.forbid()
        self._format_used = used

    def change_reference(self, medium: Cartridge) -> None:
        """Give the volume a new change reference if anybody may have seen the present one.

        Raises CheckCondition (MEDIUM ERROR).
        """
        if not self.reference_seen:
            return
        number = (volume_change_reference(medium) + 1) % 0xFFFFFFFF or 1
        value = StoredAttribute(0, number.to_bytes(_REFERENCE_BYTES, "big"))
        try:
            medium.set_attributes({(0, VOLUME_CHANGE_REFERENCE): value})
        except CartridgeWriteError as error:
            code = ASC.AUXILIARY_MEMORY_WRITE_ERROR
            raise CheckCondition(Sense(SenseKey.MEDIUM_ERROR, code)) from error
        self.reference_seen = False


def volume_change_reference(medium: Cartridge) -> int:
    """Return the volume change reference; 0 for a volume that was never written."""
    stored = medium.attribute(0, VOLUME_CHANGE_REFERENCE)
    return int.from_bytes(stored.value, "big") if stored else 0


def _at_end(medium: Cartridge) -> bool:
    """Whether a write takes nothing away but, at most, the one filemark before end of data.

    LTO lets that one go, so that an application can append after its own closing filemark.
    """
    position, end = medium.position, medium.end_of_data
    if position == end:
        return True
    if position + 1 != end:
        return False
    is_filemark = medium.space_filemarks(1) == (1, None)
    medium.locate(position)
    return is_filemark


def _protected(code: ASC) -> CheckCondition:
    return CheckCondition(Sense(SenseKey.DATA_PROTECT, code))


def allow_overwrite(drive: TapeDrive, task: Task) -> Reply:
    """ALLOW OVERWRITE: one write in append-only mode that takes something away."""
    cdb = task.cdb
    try:
        what = _Allowed(cdb[2] & 0x0F)
    except ValueError:
        raise invalid_field_in_cdb(2, 3) from None
    medium = drive.threaded_medium()
    if what is _Allowed.CURRENT_POSITION:
        named = cdb[3], int.from_bytes(cdb[4:12], "big")
        if named[0] == medium.partition and named[1] > medium.end_of_data:
            # How LTFS asks for the end, wherever that is: there is nothing to overwrite.
            raise CheckCondition(Sense(SenseKey.BLANK_CHECK, ASC.END_OF_DATA_DETECTED))
        if named != (medium.partition, medium.position):
            raise illegal_request(ASC.SEQUENTIAL_POSITIONING_ERROR)
    drive.overwriting.allow(what, medium)
    return GOOD
