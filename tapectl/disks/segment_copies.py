"""A sealed segment's copies as files: is one sound, and making another.

A copy is never changed in place here: a new one is whole and on stable storage before it gets
the name, so that whoever has the old one open goes on with that.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import uuid
from pathlib import Path

from tapectl.disks.disk_directory import give_to_owner_of, sync_folder
from tapectl.disks.following_copy import copy_range
from tapectl.disks.segment_reader import read_frame
from tapectl.disks.tape_files import COPYING
from tapectl.medium.errors import MediumFormatError
from tapectl.medium.frame import BLOCK_BYTES_MAX, FRAME_HEADER_BYTES
from tapectl.medium.segment import (
    SEGMENT_FOOTER_BYTES,
    SEGMENT_HEADER_BYTES,
    SegmentFooter,
    SegmentHeader,
    frame_at,
    scan,
)
from tapectl.medium.summary import SegmentSummary

_serials = itertools.count()


def fault_of_copy(
    path: Path, tape_uuid: uuid.UUID, summary: SegmentSummary, *, whole: bool
) -> str | None:
    """Return what is wrong with a sealed copy, None if nothing is.

    Looks at size, header, footer and index; with `whole` at every frame. Raises FileNotFoundError.
    """
    try:
        fd = os.open(path, os.O_RDONLY)
        try:
            return _fault(fd, tape_uuid, summary, whole=whole)
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise
    except OSError as exc:
        return f"cannot be read ({exc.strerror})"
    except MediumFormatError as exc:
        return str(exc)


def _fault(fd: int, tape_uuid: uuid.UUID, summary: SegmentSummary, *, whole: bool) -> str | None:
    found_bytes = os.fstat(fd).st_size
    if found_bytes != summary.file_bytes:
        return f"has {found_bytes} bytes, not {summary.file_bytes}"
    header = SegmentHeader.decode(os.pread(fd, SEGMENT_HEADER_BYTES, 0))
    if (header.tape_uuid, header.sequence) != (tape_uuid, summary.sequence):
        return "is of another tape or place"
    footer = SegmentFooter.decode(
        os.pread(fd, SEGMENT_FOOTER_BYTES, found_bytes - SEGMENT_FOOTER_BYTES)
    )
    if footer.summary != summary:
        return "is another segment than the state has"
    footer.decode_index(os.pread(fd, footer.index_bytes, footer.index_offset))
    if whole:
        buffer = memoryview(bytearray(FRAME_HEADER_BYTES + BLOCK_BYTES_MAX))
        scanned = scan(
            header,
            lambda offset, number: frame_at(
                buffer[: read_frame(fd, buffer, offset)], number, summary.sequence
            ),
        )
        if scanned.summary != summary:
            return f"is damaged at object {summary.first_object + scanned.index.object_count}"
    return None


def make_copy(source: Path, target: Path, tape_uuid: uuid.UUID, summary: SegmentSummary) -> None:
    """Make `target` a sound copy of a sound one, replacing what is there; a second name of it
    where both are on one file system, unless a copy of its own exists to be replaced.

    Raises OSError; MediumFormatError if the copy that was made is not sound. Nothing changed then.
    """
    if not target.parent.exists():
        target.parent.mkdir(mode=0o700, exist_ok=True)
        give_to_owner_of(target.parent.parent, target.parent)
    draft = target.with_name(f"{target.stem}.{os.getpid()}-{next(_serials)}{COPYING}")
    try:
        if os.stat(source).st_dev == os.stat(target.parent).st_dev:
            os.link(source, draft)
        else:
            _write_copy(source, draft, summary.file_bytes)
        give_to_owner_of(target.parent.parent, draft)
        fault = fault_of_copy(draft, tape_uuid, summary, whole=True)
        if fault is not None:
            raise MediumFormatError(f"copy of {source}: it {fault}")
        draft.replace(target)
        sync_folder(target.parent)
        sync_folder(target.parent.parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()


def _write_copy(source: Path, draft: Path, size_bytes: int) -> None:
    with open(source, "rb", buffering=0) as read, open(draft, "xb", buffering=0) as write:
        os.fchmod(write.fileno(), 0o600)
        os.posix_fallocate(write.fileno(), 0, size_bytes)
        copy_range(read.fileno(), write.fileno(), 0, size_bytes)
        os.fsync(write.fileno())
