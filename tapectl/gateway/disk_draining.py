"""Taking a disk out of use: nothing new goes to it, and the transfer engine empties it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.disk_contents import barcodes_of, contents_of
from tapectl.gateway.disk_list import DiskInfo, find_allocated, show_disk
from tapectl.gateway.journal import is_present
from tapectl.gateway.tape_creation import DisksNeededError
from tapectl.state import disks, events
from tapectl.state.database import State
from tapectl.state.disks import DiskRecord
from tapectl.state.tapes import Stamp

DISK_DRAINING = "DiskDraining"
DISK_DRAIN_CANCELLED = "DiskDrainCancelled"


@dataclass(frozen=True, slots=True)
class DrainProgress:
    """What is still on a disk; `unsealed` are the tapes with a segment there that is not sealed."""

    segments: int
    bytes: int
    unsealed: Sequence[str]

    @property
    def done(self) -> bool:
        return not self.segments and not self.unsealed


def drain_disk(
    state: State,
    text: str,
    *,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> DiskInfo:
    """Begin to drain a disk, named by its id, path or node; one that is being drained goes on.

    Raises DiskNotFoundError, DisksNeededError if no other disk of its role takes segments.
    """
    with state.read() as db:
        all_disks = disks.all_disks(db)
    disk = find_allocated(all_disks, text)
    require_another(disk, all_disks)
    if not disk.draining:
        _set(state, disk, Stamp(actor, now_ms()), draining=True)
    return show_disk(state, disk.id)


def cancel_drain(
    state: State,
    text: str,
    *,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> DiskInfo:
    """Take a disk into use again; what has left it stays where it is. Raises DiskNotFoundError."""
    with state.read() as db:
        disk = find_allocated(disks.all_disks(db), text)
    if disk.draining:
        _set(state, disk, Stamp(actor, now_ms()), draining=False)
    return show_disk(state, disk.id)


def drain_progress(state: State, disk_id: str) -> DrainProgress:
    """Return what is still on a disk. Raises DiskNotFoundError."""
    with state.read() as db:
        found = contents_of(db, find_allocated(disks.all_disks(db), disk_id))
    return DrainProgress(found.segments, found.bytes, barcodes_of(found.unsealed))


def require_another(disk: DiskRecord, all_disks: Sequence[DiskRecord]) -> None:
    """Raise DisksNeededError unless another disk of the role is there and takes segments."""
    for other in all_disks:
        same_role = other.role is disk.role and other.id != disk.id
        if same_role and not other.draining and is_present(other):
            return
    command = "add-cache" if disk.role is disks.DiskRole.CACHE_STORAGE else "add-buffer"
    raise DisksNeededError(
        f"no other {disk.role} disk is there: nothing could be written without {disk.id}",
        hint=f"add one first, `tapectl disk {command} DIRECTORY`",
    )


def _set(state: State, disk: DiskRecord, by: Stamp, *, draining: bool) -> None:
    event = events.NewEvent(
        at_ms=by.at_ms,
        actor=by.actor,
        subject_kind="disk",
        subject_id=disk.id,
        type=DISK_DRAINING if draining else DISK_DRAIN_CANCELLED,
        detail={"role": disk.role, "path": str(disk.path)},
    )
    with state.write() as db:
        disks.set_draining(db, disk.id, by.at_ms if draining else None)
        events.append(db, event)
