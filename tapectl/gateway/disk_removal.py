"""Giving a disk up: one that has been drained, or one that is lost with what it held."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tapectl.disks import disk_directory
from tapectl.disks.segment_copies import fault_of_copy
from tapectl.disks.tape_files import SEALED, segment_name, tape_folder
from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.clock import now_ms as clock_now_ms
from tapectl.gateway.disk_contents import (
    DiskContents,
    barcodes_of,
    contents_of,
    unsealed_on,
    unsealed_without_role,
)
from tapectl.gateway.disk_draining import require_another
from tapectl.gateway.disk_list import find_allocated
from tapectl.gateway.journal import is_present
from tapectl.state import disks, events, segments, tapes
from tapectl.state.database import State
from tapectl.state.disks import DiskRecord
from tapectl.state.segments import SegmentRecord
from tapectl.state.tapes import Stamp


class DiskNotDrainedError(TapectlError):
    """The disk holds something that would be lost, or have one copy less."""

    exit_code = ExitCode.DISK_NOT_DRAINED
    code = "disk_not_drained"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalPlan:
    """What removing a disk does to tapes, of which it lists the barcodes.

    `single_copy`: segments that wait for their upload stay with one copy. `lost`: there is no other
    copy of some, and the disk's own cannot be read. `only_here`: there is no other copy, and the
    disk's own is whole.
    """

    disk: DiskRecord
    contents: DiskContents
    single_copy: Sequence[str] = ()
    lost: Sequence[str] = ()
    only_here: Sequence[str] = ()

    @property
    def drained(self) -> bool:
        return self.disk.draining and self.contents.empty


def plan_removal(state: State, text: str) -> RemovalPlan:
    """Return what removing a disk, named by its id, path or node, would do.

    Looks at both ends of each copy that counts. Raises DiskNotFoundError.
    """
    with state.read() as db:
        all_disks = disks.all_disks(db)
        disk = find_allocated(all_disks, text)
        contents = contents_of(db, disk)
        waiting = segments.waiting_on_disk(db, disk.id)
        uuids = {one.barcode: _uuid(db, one.barcode) for one in waiting}
        others = [one for one in all_disks if one.id != disk.id and is_present(one)]
        elsewhere = frozenset().union(*(unsealed_on(db, other) for other in others))
        without = unsealed_without_role(db, disk, others) if not is_present(disk) else frozenset()
    found: dict[str, set[str]] = {"single_copy": set(), "lost": set(), "only_here": set()}
    for record in waiting:
        if any(_is_whole(other, record, uuids[record.barcode]) for other in others):
            found["single_copy"].add(record.barcode)
        elif _is_whole(disk, record, uuids[record.barcode]):
            found["only_here"].add(record.barcode)
        else:
            found["lost"].add(record.barcode)
    found["only_here"].update(barcodes_of(contents.unsealed - elsewhere))
    found["single_copy"].update(barcodes_of(contents.unsealed & elsewhere | without))
    return RemovalPlan(
        disk=disk,
        contents=contents,
        **{name: tuple(sorted(barcodes)) for name, barcodes in found.items()},
    )


def check_removal(state: State, plan: RemovalPlan, *, force: bool) -> None:
    """Raise what forbids a removal: DiskNotDrainedError, DisksNeededError."""
    disk = plan.disk
    if plan.only_here:
        raise DiskNotDrainedError(
            f"{disk.id} has the only copy of segments of {', '.join(plan.only_here)}",
            hint=f"run `tapectl disk drain {disk.id} --wait`: it can be read",
        )
    if force:
        return
    if not plan.drained:
        held = f"{plan.contents.segments} segments" if plan.contents.segments else "an open segment"
        raise DiskNotDrainedError(
            f"{disk.id} is in use" if plan.contents.empty else f"{disk.id} still holds {held}",
            hint=f"run `tapectl disk drain {disk.id} --wait` first; if it is lost, --force",
        )
    with state.read() as db:
        require_another(disk, disks.all_disks(db))


def remove_disk(
    state: State,
    plan: RemovalPlan,
    *,
    force: bool = False,
    actor: str = "cli",
    now_ms: Callable[[], int] = clock_now_ms,
) -> None:
    """Forget a disk. Nothing that is on another disk or in the store is lost by it.

    A directory that held nothing any more is left as it was before it was a disk; any other is
    left as it is. Raises DiskNotDrainedError, DisksNeededError.
    """
    check_removal(state, plan, force=force)
    disk = plan.disk
    by = Stamp(actor, now_ms())
    event = events.NewEvent(
        at_ms=by.at_ms,
        actor=by.actor,
        subject_kind="disk",
        subject_id=disk.id,
        type=events.DISK_REMOVED,
        detail={
            "role": disk.role,
            "path": str(disk.path),
            "forced": not plan.drained,
            "single_copy": list(plan.single_copy),
            "lost": list(plan.lost),
        },
    )
    try:
        with state.write() as db:
            if not plan.drained:
                segments.forget_disk(db, disk.id)
            disks.delete(db, disk.id)
            events.append(db, event)
    except sqlite3.IntegrityError as exc:
        raise DiskNotDrainedError(
            f"{disk.id} was written to meanwhile", hint="run the command again"
        ) from exc
    if plan.drained and is_present(disk):
        with contextlib.suppress(OSError):
            for folder in disk.path.glob("tapes/*"):
                folder.rmdir()
        with contextlib.suppress(OSError):
            disk_directory.remove_marker(disk.path)


def _is_whole(disk: DiskRecord, record: SegmentRecord, tape_uuid: uuid.UUID) -> bool:
    name = segment_name(record.sequence, SEALED)
    path = tape_folder(disk.path, record.barcode) / name
    try:
        return fault_of_copy(path, tape_uuid, record.summary, whole=False) is None
    except FileNotFoundError:
        return False


def _uuid(db: sqlite3.Connection, barcode: str) -> uuid.UUID:
    return uuid.UUID(tapes.get(db, barcode).tape_uuid)
