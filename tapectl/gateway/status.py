"""The gateway at one glance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tapectl.gateway.elements import ElementMap
from tapectl.scsi.library import ElementType
from tapectl.state import disks, overwritten, segments, tapes
from tapectl.state.database import State
from tapectl.state.disks import DiskRole
from tapectl.state.gateways import GatewayRecord, StandingRecord, read_gateway, read_standing
from tapectl.state.tape_status import TapeStatus


@dataclass(frozen=True, slots=True)
class RoomInfo:
    """The room of all disks of one role; `used_bytes` are sealed segments."""

    disks: int
    allocated_bytes: int
    used_bytes: int

    @property
    def used_percent(self) -> float:
        return _percent(self.used_bytes, self.allocated_bytes)

    @property
    def free_bytes(self) -> int:
        return max(0, self.allocated_bytes - self.used_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStatus:
    """Counts and fill levels of a gateway, from its state alone.

    `tapes` and `size_bytes` are what counts against the quota (the shelf does not).
    `waiting_*` is sealed but not in the store, `cache_dirty_percent` its share of the cache,
    `overwritten_bytes` what the store still has of what was overwritten.
    """

    gateway: GatewayRecord
    tapes_by_status: Mapping[TapeStatus, int]
    tapes: int
    size_bytes: int
    tapes_in_drives: int
    drives: int
    waiting_segments: int
    waiting_bytes: int
    overwritten_bytes: int
    cache: RoomInfo
    cache_dirty_percent: float
    upload_buffer: RoomInfo


def gateway_status(state: State) -> GatewayStatus:
    """Return the status of the gateway; reads the state and nothing else."""
    with state.read() as db:
        gateway = read_gateway(db)
        by_status = tapes.count_by_status(db)
        totals = tapes.totals(db)
        occupied = tapes.occupied_elements(db)
        waiting = segments.waiting_uploads(db)
        kept = overwritten.totals_by_tape(db)
        used = segments.bytes_by_disk(db)
        all_disks = disks.all_disks(db)
        dirty_bytes = segments.dirty_cache_bytes(db)
    rooms = {}
    for role in DiskRole:
        mine = [disk for disk in all_disks if disk.role is role]
        rooms[role] = RoomInfo(
            len(mine),
            sum(disk.size_bytes for disk in mine),
            sum(used.get(disk.id, 0) for disk in mine),
        )
    drives = ElementMap.of(gateway).addresses(ElementType.DATA_TRANSFER)
    cache = rooms[DiskRole.CACHE_STORAGE]
    return GatewayStatus(
        gateway=gateway,
        tapes_by_status=by_status,
        tapes=totals.tapes,
        size_bytes=totals.size_bytes,
        tapes_in_drives=len(occupied.intersection(drives)),
        drives=len(drives),
        waiting_segments=waiting.segments,
        waiting_bytes=waiting.bytes,
        overwritten_bytes=sum(one.object_bytes for one in kept.values()),
        cache=cache,
        cache_dirty_percent=_percent(dirty_bytes, cache.allocated_bytes),
        upload_buffer=rooms[DiskRole.UPLOAD_BUFFER],
    )


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


def gateway_standing(state: State) -> StandingRecord:
    """Return whether this machine still is its gateway, as far as it knows."""
    with state.read() as db:
        return read_standing(db)
