"""What the drive and the volume in it went through, up to now: the memories and what came since.

The memories are written when a volume is threaded, when it is unthreaded and when the drive is at
rest; never while blocks are on their way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tapectl.scsi.cartridge import AttributeKey, CartridgeError, StoredAttribute
from tapectl.scsi.log_pages import tape_alert_bits
from tapectl.scsi.ssc.alerts import TapeAlert
from tapectl.scsi.ssc.drive_lifetime import DriveLifetime
from tapectl.scsi.ssc.volume_history import VolumeHistory, last_loads

if TYPE_CHECKING:
    from tapectl.scsi.ssc.drive import TapeDrive

_BINARY = 0
_HOUR_S = 3600
_TAPE_ALERT_FLAGS = (0, 0x0002)


class Statistics:
    """The statistics of one drive; a memory that cannot be written costs them and nothing else."""

    def __init__(self, drive: TapeDrive) -> None:
        self._drive = drive
        self._powered_on_ms = self._mounted_ms = drive.now_ms()
        self._history = VolumeHistory()
        self._recovered_before = 0
        kept = DriveLifetime.read(drive.server.memory)
        if kept is None:
            drive.alerts.add(TapeAlert.LOST_STATISTICS)
        self._lifetime = kept or DriveLifetime()
        self._lifetime.power_ons += 1
        drive.failures.diagnostics.extend(self._lifetime.diagnostics)
        # What was kept last, without what changes all the time.
        self._kept: tuple[object, ...] = ()
        self._keep_lifetime()

    # What happens to the drive.

    def threaded(self) -> None:
        """A volume was threaded: a load of both begins."""
        drive = self._drive
        drive.counters.mount()
        self._mounted_ms = drive.now_ms()
        self._lifetime.loads += 1
        medium = drive.medium
        assert medium is not None, "it was threaded"
        self._recovered_before = medium.recovered_reads
        self._history = VolumeHistory.read(medium).loaded()
        identity = drive.server.identity
        self._set_attributes(last_loads(medium, f"{identity.vendor:<8}{identity.serial}"))
        self.keep()

    def cleaned(self) -> None:
        """A cleaning cartridge has cleaned the drive."""
        self._lifetime.loads += 1
        self._lifetime.cleanings += 1
        self._lifetime.cleaned_bytes = _bytes_moved(self.lifetime())
        self._keep_lifetime()

    def keep(self) -> None:
        """Bring both memories up to date."""
        self.look()
        if self._drive.medium is not None:
            self._set_attributes(self.attributes())
        self._keep_lifetime()

    def look(self) -> None:
        """See whether blocks were read from another copy than the first since the last look."""
        medium, mounted = self._drive.medium, self._drive.counters.mounted
        if medium is None:
            return
        recovered = medium.recovered_reads - self._recovered_before
        if recovered > mounted.recovered_reads:
            mounted.recovered_reads = recovered
            self._drive.alerts.add(TapeAlert.READ_WARNING)

    # What is told of it.

    def lifetime(self) -> DriveLifetime:
        """Return the drive's, up to now."""
        drive, kept = self._drive, self._lifetime
        return dataclasses.replace(
            kept,
            powered_s=kept.powered_s + max(0, drive.now_ms() - self._powered_on_ms) // 1000,
            moved=kept.moved + drive.counters.total + drive.counters.mounted,
            diagnostics=list(drive.failures.diagnostics),
        )

    def volume(self) -> VolumeHistory:
        """Return the mounted volume's, as if it were unloaded now."""
        return self._history.unloaded(self._drive.counters.mounted)

    def mounted_ms(self) -> int:
        """Return for how long the volume has been mounted."""
        return max(0, self._drive.now_ms() - self._mounted_ms)

    def attributes(self) -> Mapping[AttributeKey, StoredAttribute]:
        """Return what the mounted volume's memory is to say of it now."""
        flags = StoredAttribute(_BINARY, tape_alert_bits(self._drive.alerts.active))
        return {_TAPE_ALERT_FLAGS: flags, **self.volume().attributes()}

    def _set_attributes(self, changes: Mapping[AttributeKey, StoredAttribute]) -> None:
        medium = self._drive.medium
        assert medium is not None, "callers looked"
        try:
            medium.set_attributes(dict(changes))
        except CartridgeError:
            self._drive.alerts.add(TapeAlert.MEMORY_CHIP_IN_CARTRIDGE_FAILURE)

    def _keep_lifetime(self) -> None:
        """Keep the drive's, unless only time went by since the last time, and less than an hour."""
        now = self.lifetime()
        news = (now.loads, now.moved, now.diagnostics, now.powered_s // _HOUR_S)
        if news == self._kept:
            return
        if now.keep(self._drive.server.memory):
            self._kept = news
        else:
            self._drive.alerts.add(TapeAlert.LOST_STATISTICS)


def _bytes_moved(lifetime: DriveLifetime) -> int:
    return lifetime.moved.written_bytes + lifetime.moved.read_bytes


def bytes_since_cleaning(lifetime: DriveLifetime) -> int:
    """Return what went through the drive since it was cleaned last, or ever."""
    return _bytes_moved(lifetime) - lifetime.cleaned_bytes
