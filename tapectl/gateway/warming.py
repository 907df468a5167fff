"""What of a tape is not in the cache, and whether the cache has room for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.barcodes import check_barcode
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.settings import Settings
from tapectl.medium.volume import VolumeRecord
from tapectl.state import disks, segments, tapes, volumes
from tapectl.state.database import State
from tapectl.state.disks import DiskRole
from tapectl.state.errors import TapeStatusError
from tapectl.state.tape_status import LOADABLE
from tapectl.state.transfer_queries import cached_of_tape
from tapectl.units import format_size


class CacheTooSmallError(TapectlError):
    """The cache would drop the beginning of the tape to take its end."""

    exit_code = ExitCode.DISK_TOO_SMALL
    code = "cache_too_small"
    aws_code = "LocalStorageLimitExceeded"


@dataclass(frozen=True, slots=True)
class ColdSegment:
    """A segment that only the store has; `file_bytes` is what it takes in the cache."""

    sequence: int
    file_bytes: int


@dataclass(frozen=True, slots=True)
class Warmth:
    """What of a tape is in the cache, and what is not, in order."""

    barcode: str
    cached_bytes: int
    cold: tuple[ColdSegment, ...]

    @property
    def cold_bytes(self) -> int:
        return sum(one.file_bytes for one in self.cold)


def warmth(state: State, barcode: str) -> Warmth:
    """Return what of a tape is in the cache; raise TapeNotFoundError, and TapeStatusError for a
    tape that no drive would take."""
    check_barcode(barcode)
    with state.read() as db:
        _require_loadable(db, barcode)
        row = volumes.get(db, barcode)
        volume = VolumeRecord() if row is None else VolumeRecord.from_document(row.document)
        records = [
            one
            for one in segments.of_tape(db, barcode)
            if one.overwritten_at_ms is None and volume.counts(one.sequence)
        ]
    cold = [one for one in records if one.cache_disk_id is None and one.uploaded_at_ms is not None]
    return Warmth(
        barcode,
        sum(one.summary.file_bytes for one in records if one.cache_disk_id is not None),
        tuple(ColdSegment(one.sequence, one.summary.file_bytes) for one in cold),
    )


def keep_cached(state: State, barcode: str, *, now_ms: Callable[[], int] = clock_now_ms) -> None:
    """Have what of a tape is in the cache stay there, while the rest of it is fetched, as if it had
    been read just now."""
    with state.write() as db:
        cached = [place.sequence for place in cached_of_tape(db, barcode)]
        segments.touch(db, barcode, cached, now_ms=now_ms())


def is_cached(state: State, barcode: str, sequence: int) -> bool:
    """Return whether a segment is in the cache, or never will be; raises as `warmth`."""
    with state.read() as db:
        _require_loadable(db, barcode)
        record = segments.find(db, barcode, sequence)
    return record is None or record.cache_disk_id is not None


def _require_loadable(db: sqlite3.Connection, barcode: str) -> None:
    tape = tapes.get(db, barcode)
    if tape.status not in LOADABLE:
        raise TapeStatusError(
            f"tape {barcode} is {tape.status}, its data cannot be brought into the cache",
            status=tape.status,
            hint="a tape on the shelf has to be retrieved first",
        )


def refuse_too_large(state: State, settings: Settings, found: Warmth) -> None:
    """Raise CacheTooSmallError if the tape is larger than what the cache keeps."""
    with state.read() as db:
        caches = disks.all_disks(db, DiskRole.CACHE_STORAGE)
    kept_bytes = (
        sum(disk.size_bytes for disk in caches) * settings.cache_high_watermark_percent // 100
    )
    if found.cached_bytes + found.cold_bytes > kept_bytes:
        raise CacheTooSmallError(
            f"tape {found.barcode} has {format_size(found.cached_bytes + found.cold_bytes)},"
            f" the cache keeps {format_size(kept_bytes)}",
            hint="add a cache disk with `tapectl disk add-cache`",
        )
