"""What a drive counts: what it moved, and what could not be moved."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Transfers:
    """Bytes of user data and errors, in both directions; and blocks that were read all the same."""

    written_bytes: int = 0
    read_bytes: int = 0
    write_errors: int = 0
    read_errors: int = 0
    recovered_reads: int = 0

    def __add__(self, other: Transfers) -> Transfers:
        return Transfers(
            self.written_bytes + other.written_bytes,
            self.read_bytes + other.read_bytes,
            self.write_errors + other.write_errors,
            self.read_errors + other.read_errors,
            self.recovered_reads + other.recovered_reads,
        )

    def __sub__(self, other: Transfers) -> Transfers:
        return Transfers(
            self.written_bytes - other.written_bytes,
            self.read_bytes - other.read_bytes,
            self.write_errors - other.write_errors,
            self.read_errors - other.read_errors,
            self.recovered_reads - other.recovered_reads,
        )


@dataclass(slots=True)
class Counters:
    """`total` since the drive was made, `mounted` since the last load, and `base`, the cumulative
    values when LOG SELECT last reset the pages that can be reset.
    """

    total: Transfers = field(default_factory=Transfers)
    mounted: Transfers = field(default_factory=Transfers)
    base: Transfers = field(default_factory=Transfers)
    loads: int = 0

    def mount(self) -> None:
        """A cartridge was loaded; the totals take up what was counted for the one before."""
        self.total += self.mounted
        self.mounted = Transfers()
        self.loads += 1

    def reset(self) -> None:
        """Let what LOG SELECT may reset count from zero; what a volume went through it may not."""
        self.base = self.total + self.mounted
        self.loads = 0

    def since_reset(self) -> Transfers:
        """Return what was counted since the last reset."""
        return self.total + self.mounted - self.base

    cumulative = since_reset
