"""What a disk holds that counts: sealed segments by the state, unsealed ones by their files."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tapectl.disks.tape_files import OPEN
from tapectl.state import segments
from tapectl.state.disks import DiskRecord


class UnsealedSegment(NamedTuple):
    """A segment that a drive is writing, or that a dead one has left."""

    barcode: str
    sequence: int


@dataclass(frozen=True, slots=True)
class DiskContents:
    """`segments` and `bytes` of sealed ones; the unsealed ones that are on the disk."""

    segments: int
    bytes: int
    unsealed: frozenset[UnsealedSegment]

    @property
    def empty(self) -> bool:
        return not self.segments and not self.unsealed


def contents_of(db: sqlite3.Connection, disk: DiskRecord) -> DiskContents:
    """Return what a disk holds; of one that cannot be looked at, what the state says."""
    sealed = segments.totals_on_disk(db, disk.id)
    return DiskContents(sealed.segments, sealed.bytes, unsealed_on(db, disk))


def unsealed_on(db: sqlite3.Connection, disk: DiskRecord) -> frozenset[UnsealedSegment]:
    """Return the unsealed segments on a disk, none where it cannot be looked at.

    A copy of one that has been sealed without it counts for nothing.
    """
    try:
        names = list(disk.path.glob(f"tapes/*/*{OPEN}"))
    except OSError:
        return frozenset()
    found = [
        UnsealedSegment(name.parent.name, int(name.stem)) for name in names if name.stem.isdigit()
    ]
    return frozenset(one for one in found if segments.find(db, *one) is None)


def unsealed_without_role(
    db: sqlite3.Connection, gone: DiskRecord, there: Iterable[DiskRecord]
) -> frozenset[UnsealedSegment]:
    """Return the unsealed segments of which the disks that are `there` have no copy in the role of
    one that is gone: that copy may have been on it."""
    in_role: set[UnsealedSegment] = set()
    in_other: set[UnsealedSegment] = set()
    for disk in there:
        (in_role if disk.role is gone.role else in_other).update(unsealed_on(db, disk))
    return frozenset(in_other - in_role)


def barcodes_of(unsealed: Collection[UnsealedSegment]) -> Sequence[str]:
    """Return the tapes of unsealed segments, sorted."""
    return sorted({one.barcode for one in unsealed})
