"""The warnings that come before the end of a partition (SSC-5 4.2.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapectl.scsi.sense import ASC, Sense, SenseKey

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

DEFAULT_PERCENT = 1.0
"""Part of a partition that is left at early warning: enough for what an application still has in
its buffers and for its closing labels."""

# "The EOM bit shall be set to one and the sense key NO SENSE ... all data has been written".
EARLY_WARNING = Sense(
    SenseKey.NO_SENSE, ASC.END_OF_PARTITION_MEDIUM_DETECTED, information=0, end_of_medium=True
)
PROGRAMMABLE_EARLY_WARNING = Sense(
    SenseKey.NO_SENSE, ASC.PROGRAMMABLE_EARLY_WARNING_DETECTED, information=0
)


class EarlyWarning:
    """Where the position of a drive is between the warnings.

    `programmable_bytes` is how far before early warning the programmable one comes, 0 for none.
    `_left_bytes` can be written before anything is to be said; None: not known since the tape
    moved.
    """

    def __init__(self, percent: float = DEFAULT_PERCENT) -> None:
        self.programmable_bytes = 0
        self._percent = percent
        self._left_bytes: int | None = None
        # Whether the programmable early warning of this crossing has been given.
        self._crossed = False

    def set_percent(self, percent: float) -> None:
        """Warn when this part of a partition is left, from now on."""
        self._percent = percent
        self._left_bytes = None

    def moved(self) -> None:
        """The position changed otherwise than by a write."""
        self._left_bytes = None

    def loaded(self) -> None:
        """Another volume or another partition is under the head."""
        self._left_bytes = None
        self._crossed = False

    def after_write(self, drive: TapeDrive, wrote_bytes: int) -> Sense | None:
        """Return what a command that has just written so many bytes must say, None for nothing."""
        left = self._left_bytes
        if left is not None:
            left -= wrote_bytes
            if left > 0:
                self._left_bytes = left
                return None
        return self._cross(drive)

    def _cross(self, drive: TapeDrive) -> Sense | None:
        room = self.room_bytes(drive)
        zone = self.zone_bytes(drive)
        self._left_bytes = None
        if room <= zone:
            self._crossed = True
            return EARLY_WARNING
        if room <= zone + self.programmable_bytes:
            self._left_bytes = room - zone
            first, self._crossed = not self._crossed, True
            return PROGRAMMABLE_EARLY_WARNING if first else None
        self._left_bytes = room - zone - self.programmable_bytes
        self._crossed = False
        return None

    def room_bytes(self, drive: TapeDrive) -> int:
        """Return what can be written from the position on."""
        medium = drive.threaded_medium()
        return medium.capacity_bytes - medium.written_bytes_at_position

    def zone_bytes(self, drive: TapeDrive) -> int:
        """Return how much of the partition lies beyond early warning."""
        return int(drive.threaded_medium().capacity_bytes * self._percent / 100)
