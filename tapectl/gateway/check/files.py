"""The files on the disks that no row names: left by a crash, let go of, or nobody's."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tapectl.disks.tape_files import COPYING, OPEN, SEALED
from tapectl.gateway.check.copies import segment_list
from tapectl.gateway.check.findings import Code, Finding, of_tape
from tapectl.gateway.check.view import CheckView
from tapectl.gateway.transfer.local_files import FILLING
from tapectl.state import segments
from tapectl.state.segments import SegmentRecord
from tapectl.state.tape_status import TapeStatus

_TEMPORARY = (FILLING, COPYING)
_GONE = frozenset({TapeStatus.DELETING, TapeStatus.DELETED})


@dataclass(frozen=True, slots=True)
class StrayFile:
    """A file that no row names; `code` says what it is."""

    code: Code
    disk_id: str
    barcode: str
    path: Path


def stray_files(view: CheckView) -> Iterator[StrayFile]:
    """Yield the files of all disks that no row names, tape by tape."""
    for disk in view.disks.values():
        if not view.is_there(disk.id):
            continue
        for folder in sorted(_entries(disk.path / "tapes")):
            names = sorted(_entries(folder)) if os.path.isdir(folder) else [folder]
            rows = _rows(view, folder.name) if names else {}
            for path in names:
                code = _code(view, disk.id, folder.name, path, rows)
                # What was on its way is in the state by now, or has gone.
                if code is not None:
                    stray = StrayFile(code, disk.id, folder.name, path)
                    if is_still_stray(view, stray):
                        yield stray


def is_still_stray(view: CheckView, stray: StrayFile) -> bool:
    """Whether a file is there, and is what it was, by what the state says now."""
    rows = _rows(view, stray.barcode)
    code = _code(view, stray.disk_id, stray.barcode, stray.path, rows)
    return os.path.exists(stray.path) and code is stray.code


def _rows(view: CheckView, barcode: str) -> Mapping[int, SegmentRecord]:
    with view.state.read() as db:
        return {record.sequence: record for record in segments.of_tape(db, barcode)}


def _code(
    view: CheckView,
    disk_id: str,
    barcode: str,
    path: Path,
    rows: Mapping[int, SegmentRecord],
) -> Code | None:
    """Return what a file is, None for one that is in its place or on its way there."""
    tape = view.tapes.get(barcode)
    if tape is None:
        return Code.FOREIGN_FILE
    if path.suffix in _TEMPORARY:
        return None if view.drives_run else Code.ORPHAN_FILE
    if path.suffix not in (OPEN, SEALED) or not path.stem.isdigit():
        return Code.FOREIGN_FILE
    if tape.status in _GONE:
        return Code.ORPHAN_FILE if tape.status is TapeStatus.DELETED else None
    if barcode in view.loaded and (path.suffix == OPEN or int(path.stem) not in rows):
        return None
    record = rows.get(int(path.stem))
    if path.suffix == OPEN:
        # One that was sealed without this copy, whose disk was away or had failed.
        return Code.SEGMENT_UNSEALED if record is None else Code.ORPHAN_FILE
    if record is None:
        return Code.SEGMENT_UNRECORDED
    if disk_id in (record.cache_disk_id, record.buffer_disk_id):
        return None
    if record.uploaded_at_ms is not None:
        return Code.ORPHAN_FILE
    return Code.ORPHAN_FILE if _is_whole_without(view, record) else None


def _is_whole_without(view: CheckView, record: SegmentRecord) -> bool:
    """Whether a segment has both copies that its row names, so that a third is nobody's."""
    for disk_id in (record.cache_disk_id, record.buffer_disk_id):
        if disk_id is None or not view.is_there(disk_id):
            return False
    return True


def findings_of_files(strays: Iterable[StrayFile]) -> Iterator[Finding]:
    """Yield one finding for each tape and kind of file."""
    grouped: dict[tuple[str, Code], list[StrayFile]] = defaultdict(list)
    for stray in strays:
        grouped[stray.barcode, stray.code].append(stray)
    for (barcode, code), found in grouped.items():
        numbers = sorted({int(one.path.stem) for one in found if one.path.stem.isdigit()})
        match code:
            case Code.SEGMENT_UNSEALED:
                message = f"{segment_list(numbers)} not sealed yet"
            case Code.SEGMENT_UNRECORDED:
                message = f"{segment_list(numbers)} sealed and not in the state yet"
            case Code.ORPHAN_FILE:
                message = f"{_files(found)} that nothing needs any more"
            case _:
                message = f"{_files(found)} that is none of this gateway's"
        if code is Code.FOREIGN_FILE:
            yield Finding(
                code=code, subject_type="file", subject=str(found[0].path), message=message
            )
        else:
            yield of_tape(code, barcode, message)


def _files(found: Sequence[StrayFile]) -> str:
    if len(found) == 1:
        return f"a file ({found[0].path})"
    return f"{len(found)} files ({found[0].path}, ...)"


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []  # the disk is a finding of its own
