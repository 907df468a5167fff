"""What a drive counts for its log pages, and the alerts it raises."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, fields


class TapeAlert(enum.IntEnum):
    """TapeAlert flags that this drive has a cause for (SSC-5 table A.1)."""

    READ_FAILURE = 5
    WRITE_FAILURE = 6
    WRITE_PROTECT = 9


@dataclass(slots=True)
class Transfers:
    """Bytes of user data and errors, in both directions."""

    written_bytes: int = 0
    read_bytes: int = 0
    write_errors: int = 0
    read_errors: int = 0


@dataclass(slots=True)
class Counters:
    """`total` since the drive was made or LOG SELECT reset it, `mounted` since the last load."""

    total: Transfers = field(default_factory=Transfers)
    mounted: Transfers = field(default_factory=Transfers)

    def mount(self) -> None:
        """A cartridge was loaded; the totals take up what was counted for the one before."""
        for item in fields(Transfers):
            both = getattr(self.total, item.name) + getattr(self.mounted, item.name)
            setattr(self.total, item.name, both)
        self.mounted = Transfers()

    def reset(self) -> None:
        """Set everything to zero."""
        self.total = Transfers()
        self.mounted = Transfers()

    def cumulative(self) -> Transfers:
        """Return the totals with what the present mount adds."""
        total, mounted = self.total, self.mounted
        return Transfers(
            total.written_bytes + mounted.written_bytes,
            total.read_bytes + mounted.read_bytes,
            total.write_errors + mounted.write_errors,
            total.read_errors + mounted.read_errors,
        )
