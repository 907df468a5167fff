"""What Glacier does to an object, for stores that are not S3.

Pure: times come in as arguments. So the whole life of a tape can be tried on a laptop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tapectl.store.interface import RestoreState, StorageClass

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class ArchiveRecord:
    """The archive class of an object and its last restore request; times in ms since 1970.

    `ready_ms` and `expires_ms` are None until a restore has been asked for.
    """

    storage_class: StorageClass = StorageClass.STANDARD
    ready_ms: int | None = None
    expires_ms: int | None = None

    def state(self, now_ms: int) -> RestoreState:
        """Return what a reader finds at `now_ms`."""
        if self.storage_class is StorageClass.STANDARD:
            return RestoreState.READABLE
        if self.ready_ms is None or self.expires_ms is None or now_ms >= self.expires_ms:
            return RestoreState.ARCHIVED
        return RestoreState.IN_PROGRESS if now_ms < self.ready_ms else RestoreState.RESTORED

    def readable(self, now_ms: int) -> bool:
        """Whether the bytes can be had at `now_ms`."""
        return self.state(now_ms) in (RestoreState.READABLE, RestoreState.RESTORED)

    def restored_until_ms(self, now_ms: int) -> int | None:
        """Return when the restored copy goes away, None if there is none now."""
        return self.expires_ms if self.state(now_ms) is RestoreState.RESTORED else None

    def with_restore(self, now_ms: int, delay_ms: int, days: int) -> ArchiveRecord:
        """Return the record after a restore request: begun, extended, or left as it is."""
        state = self.state(now_ms)
        if state is RestoreState.ARCHIVED:
            ready_ms = now_ms + delay_ms
            return replace(self, ready_ms=ready_ms, expires_ms=ready_ms + days * _DAY_MS)
        if state is RestoreState.RESTORED:
            return replace(self, expires_ms=max(self.expires_ms or 0, now_ms + days * _DAY_MS))
        return self
