"""The copies of sealed segments: the rows of the state against the files on the disks."""

from __future__ import annotations

import os
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tapectl.disks.segment_copies import fault_of_copy
from tapectl.disks.tape_files import SEALED, segment_name, tape_folder
from tapectl.gateway.check.findings import Code, Finding, of_tape
from tapectl.gateway.check.view import CheckView
from tapectl.state import segments
from tapectl.state.disks import DiskRole
from tapectl.state.segments import SegmentRecord

# Of many segments with the same fault so many are named.
_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class SegmentFault:
    """What is wrong with a segment, or with its copy in one role.

    `source` is a sound copy on a disk of any role, None if there is none.
    """

    code: Code
    record: SegmentRecord
    role: DiskRole | None
    detail: str
    source: Path | None = None


def faults_of_tape(view: CheckView, barcode: str) -> Iterator[SegmentFault]:
    """Yield what is wrong with the copies of a tape's sealed segments."""
    with view.state.read() as db:
        records = segments.of_tape_on_disks(db, barcode)
    for record in records:
        if not faults_of_segment(view, record):
            continue
        # An upload or an eviction may have come between the row and the files.
        with view.state.read() as db:
            again = segments.find(db, barcode, record.sequence)
        if again is not None:
            yield from faults_of_segment(view, again)


def faults_of_segment(view: CheckView, record: SegmentRecord) -> Sequence[SegmentFault]:
    """Return what is wrong with the copies of one segment."""
    uploaded = record.uploaded_at_ms is not None
    faults: list[SegmentFault] = []
    sound: list[Path] = []
    for role, disk_id in (
        (DiskRole.UPLOAD_BUFFER, record.buffer_disk_id),
        (DiskRole.CACHE_STORAGE, record.cache_disk_id),
    ):
        if disk_id is None:
            if not uploaded:
                faults.append(_fault(Code.SECOND_COPY_MISSING, record, role, f"none in {role}"))
        elif not view.is_there(disk_id):
            # The disk itself is a finding; the store has what was uploaded.
            if not uploaded:
                detail = f"its disk {disk_id} is gone"
                faults.append(_fault(Code.SECOND_COPY_MISSING, record, role, detail))
        else:
            path = copy_path(view, disk_id, record)
            wrong = copy_fault(view, path, record)
            if wrong is None:
                sound.append(path)
                if uploaded and role is DiskRole.UPLOAD_BUFFER:
                    faults.append(_fault(Code.BUFFER_COPY_KEPT, record, role, str(path)))
            else:
                code = Code.COPY_DAMAGED if os.path.exists(path) else Code.COPY_MISSING
                faults.append(_fault(code, record, role, f"{path} {wrong}"))
    if uploaded or not faults:
        return faults
    source = sound[0] if sound else _elsewhere(view, record)
    if source is None:
        return [_fault(Code.SEGMENT_LOST, record, None, _reasons(faults))]
    return [SegmentFault(fault.code, record, fault.role, fault.detail, source) for fault in faults]


def copy_path(view: CheckView, disk_id: str, record: SegmentRecord) -> Path:
    """Return where a disk has, or would have, its copy of a segment."""
    folder = tape_folder(view.disks[disk_id].path, record.barcode)
    return folder / segment_name(record.sequence, SEALED)


def copy_fault(view: CheckView, path: Path, record: SegmentRecord) -> str | None:
    """Return what is wrong with a copy, None if nothing is."""
    tape_uuid = uuid.UUID(view.tapes[record.barcode].tape_uuid)
    try:
        return fault_of_copy(path, tape_uuid, record.summary, whole=view.deep)
    except FileNotFoundError:
        return "is not there"


def _elsewhere(view: CheckView, record: SegmentRecord) -> Path | None:
    """Return a sound copy on a disk that the row does not name."""
    for disk_id in view.disks:
        if view.is_there(disk_id):
            path = copy_path(view, disk_id, record)
            if copy_fault(view, path, record) is None:
                return path
    return None


def _fault(code: Code, record: SegmentRecord, role: DiskRole | None, detail: str) -> SegmentFault:
    return SegmentFault(code, record, role, detail)


def _reasons(faults: Sequence[SegmentFault]) -> str:
    return "; ".join(fault.detail for fault in faults)


_SAID = {
    Code.SEGMENT_LOST: "lost before it was uploaded",
    Code.SECOND_COPY_MISSING: "with one copy only, and not uploaded",
    Code.COPY_MISSING: "with a copy that is not there",
    Code.COPY_DAMAGED: "with a damaged copy",
    Code.BUFFER_COPY_KEPT: "uploaded, and still in the upload buffer",
}


def findings_of_faults(faults: Iterable[SegmentFault]) -> Iterator[Finding]:
    """Yield one finding for each tape and kind of fault."""
    grouped: dict[tuple[str, Code], list[SegmentFault]] = defaultdict(list)
    for fault in faults:
        grouped[fault.record.barcode, fault.code].append(fault)
    for (barcode, code), found in grouped.items():
        numbers = sorted({fault.record.sequence for fault in found})
        text = f"{segment_list(numbers)} {_SAID[code]}: {found[0].detail}"
        yield of_tape(code, barcode, text)


def segment_list(numbers: Sequence[int]) -> str:
    """Return sequence numbers for people: the first few, and how many there are."""
    named = ", ".join(str(number) for number in numbers[:_NAMED_MAX])
    if len(numbers) == 1:
        return f"segment {named}"
    more = ", ..." if len(numbers) > _NAMED_MAX else ""
    return f"{len(numbers)} segments ({named}{more})"
