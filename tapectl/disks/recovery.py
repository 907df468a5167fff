"""What a process that was killed left of a tape: its unsealed segments become sealed ones.

Both copies of a segment are read frame by frame; each frame is taken from a copy that has it whole,
or from what the process had not brought to either yet, and put right in the others. What is nowhere
was never acknowledged, or was lost in a power cut before anyone synchronised it; then so is every
segment that goes on from there. All steps may be cut short and done again.
"""

from __future__ import annotations

import errno
import logging
import os
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tapectl.disks.disk_directory import BUFFER_ROLE, CACHE_ROLE, DiskMarker, read_marker
from tapectl.disks.interface import Placement, SegmentJournal
from tapectl.disks.segment_files import SegmentFiles
from tapectl.disks.segment_reader import read_frame
from tapectl.disks.staging import remove_staged, staged_frames
from tapectl.disks.tape_files import (
    OPEN,
    SEALED,
    TapeDescription,
    segment_name,
    tape_folder,
)
from tapectl.medium.errors import MediumFormatError
from tapectl.medium.frame import BLOCK_BYTES_MAX, FRAME_HEADER_BYTES, FrameKind, decode_frame
from tapectl.medium.segment import (
    SEGMENT_HEADER_BYTES,
    ScannedSegment,
    SegmentHeader,
    encode_tail,
    frame_at,
    scan,
)
from tapectl.scsi.cartridge import CartridgeReadError, CartridgeWriteError

_log = logging.getLogger(__name__)

_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Leftover:
    """A name of a segment file on a disk."""

    name: Path
    disk: Path
    marker: DiskMarker


def recover(tape: TapeDescription, journal: SegmentJournal, journalled: Container[int]) -> int:
    """Seal what was left open, enter in the journal what was sealed; return how many segments.

    `journalled` are the sequence numbers that the journal has.

    Raises CartridgeBusyError if a lost copy has no room yet, CartridgeReadError for a segment that
    cannot be known, CartridgeWriteError if a disk fails.
    """
    recovered = 0
    try:
        for sequence, leftovers in sorted(_find(tape.barcode, journal).items()):
            is_open = any(leftover.name.suffix == OPEN for leftover in leftovers)
            if is_open or sequence not in journalled:
                _recover_segment(tape, sequence, leftovers, journal)
                recovered += 1
        if not journal.lacks_disks():  # the segment that it belongs to may be on one
            remove_staged(journal.staging_path(tape.uuid))
    except OSError as exc:
        raise CartridgeWriteError(f"recovery of {tape.barcode}: {exc}") from exc
    return recovered


def _find(barcode: str, journal: SegmentJournal) -> Mapping[int, list[_Leftover]]:
    found: dict[int, list[_Leftover]] = defaultdict(list)
    for disk in journal.disk_paths():
        folder = tape_folder(disk, barcode)
        names = sorted(folder.iterdir()) if folder.is_dir() else []
        segments = [name for name in names if name.suffix in (OPEN, SEALED) and name.stem.isdigit()]
        marker = read_marker(disk) if segments else None
        if segments and marker is None:
            raise CartridgeReadError(f"no marker of a disk of ours: {disk}")
        for name in segments:
            assert marker is not None, "checked above"
            found[int(name.stem)].append(_Leftover(name, disk, marker))
    return found


def _recover_segment(
    tape: TapeDescription, sequence: int, leftovers: Sequence[_Leftover], journal: SegmentJournal
) -> None:
    files = _open_files(leftovers)
    try:
        header = _header(tape, sequence, files)
        scanned = None
        if header is not None:
            staged = staged_frames(journal.staging_path(tape.uuid), header.encode())
            scanned = _scan_and_heal(header, files.fds, staged)
        if scanned is None or not (scanned.index.object_count or scanned.erases):
            files.discard()
            return
        if not _has_predecessor(tape, scanned.header, journal):
            _log.warning(
                "%s: segment %d goes on from segment %d, of which the end was never synchronised"
                " and is lost: so is what came after it",
                tape.barcode,
                sequence,
                scanned.header.follows,
            )
            files.discard()
            return
        summary = scanned.summary
        tail = encode_tail(summary, scanned.index)
        frames_bytes = summary.file_bytes - len(tail)
        placement, made = _complete_copies(tape.barcode, files, leftovers, journal, frames_bytes)
        try:
            made.seal(tail, summary.file_bytes)
        finally:
            if made is not files:
                made.close()
        journal.record_sealed(tape.barcode, summary, placement)
    finally:
        files.close()


def _has_predecessor(tape: TapeDescription, header: SegmentHeader, journal: SegmentJournal) -> bool:
    """Whether the segment that this one goes on from is there, up to where this one begins.

    It is, after any death of a process. After a power cut the disks may hold the later one and less
    of the earlier one; then nobody was told that either is safe, and the later one would
    stand on nothing, or on older objects in the place of those that are lost.
    Raises CartridgeReadError if it may be on a disk that is not there.
    """
    if not header.follows:
        return True
    for segment in journal.segments(tape.barcode):
        summary = segment.summary
        if summary.sequence == header.follows:
            return summary.first_object + summary.object_count >= header.first_object
    if journal.lacks_disks():
        raise CartridgeReadError(f"segment {header.follows} of {tape.barcode}: a disk is missing")
    return False


def _open_files(leftovers: Sequence[_Leftover]) -> SegmentFiles:
    fds: list[int] = []
    inodes = set()
    for leftover in leftovers:
        fd = os.open(leftover.name, os.O_RDWR)
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) in inodes:
            os.close(fd)
            continue
        inodes.add((status.st_dev, status.st_ino))
        fds.append(fd)
    return SegmentFiles([leftover.name for leftover in leftovers], fds)


def _header(tape: TapeDescription, sequence: int, files: SegmentFiles) -> SegmentHeader | None:
    """Return the header, whole in one copy at least; None if nothing was ever acknowledged."""
    for fd in files.fds:
        try:
            header = SegmentHeader.decode(os.pread(fd, SEGMENT_HEADER_BYTES, 0))
        except (MediumFormatError, OSError):
            continue
        if (header.tape_uuid, header.sequence) != (tape.uuid, sequence):
            raise CartridgeReadError(f"segment of another tape: {files.names[0]}")
        return header
    for fd in files.fds:
        frame = os.pread(fd, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES)
        if decode_frame(frame) is not None:
            raise CartridgeReadError(f"damaged header: {files.names[0]}")
    return None


def _scan_and_heal(
    header: SegmentHeader, fds: Sequence[int], staged: tuple[int, memoryview]
) -> ScannedSegment:
    """Scan all copies together; afterwards each holds every frame that one of them held, or that
    was still on its way to them (`staged`: where in the file, what).

    Frames are written again where they are right, too: if a flush of theirs has failed, the kernel
    takes their pages for clean, and the flush to come would succeed and prove nothing.
    """
    buffers = [memoryview(bytearray(FRAME_HEADER_BYTES + BLOCK_BYTES_MAX)) for _ in fds]

    def read(offset: int, number: int) -> tuple[FrameKind, int] | None:
        whole: memoryview | None = None
        found: tuple[FrameKind, int] | None = None
        copies = [_read_copy(fd, buffer, offset) for fd, buffer in zip(fds, buffers, strict=True)]
        if offset >= staged[0]:
            copies.append(staged[1][offset - staged[0] :])
        for data in copies:
            frame = frame_at(data, number, header.sequence)
            if frame is not None:
                whole, found = data[: FRAME_HEADER_BYTES + frame[1]], frame
                break
        if whole is not None:
            for fd in fds:
                _write(fd, whole, offset)
        return found

    encoded = header.encode()
    for fd in fds:
        _write(fd, encoded, 0)
    return scan(header, read)


def _read_copy(fd: int, buffer: memoryview, offset: int) -> memoryview:
    """Return the frame at `offset` of one copy, empty if the disk cannot read it."""
    try:
        return buffer[: read_frame(fd, buffer, offset)]
    except OSError:
        return buffer[:0]


def _complete_copies(
    barcode: str,
    files: SegmentFiles,
    leftovers: Sequence[_Leftover],
    journal: SegmentJournal,
    frames_bytes: int,
) -> tuple[Placement, SegmentFiles]:
    """Return where the segment is and the files to seal; make the copy that a lost disk held."""
    by_role = {leftover.marker.role: leftover for leftover in reversed(leftovers)}
    cache, buffer = by_role.get(CACHE_ROLE), by_role.get(BUFFER_ROLE)
    if cache is not None and buffer is not None:
        placement = Placement(
            cache_disk_id=cache.marker.disk_id,
            cache_path=cache.disk,
            buffer_disk_id=buffer.marker.disk_id,
            buffer_path=buffer.disk,
            shared=os.path.samefile(cache.name, buffer.name),
        )
        return placement, files
    kept = leftovers[0]
    room = journal.place(barcode, os.fstat(files.fds[0]).st_size)
    new_disk = room.buffer_path if buffer is None else room.cache_path
    shared = os.stat(kept.disk).st_dev == os.stat(new_disk).st_dev
    name = tape_folder(new_disk, barcode) / segment_name(int(kept.name.stem), OPEN)
    name.parent.mkdir(mode=0o700, exist_ok=True)
    if shared:
        os.link(kept.name, name)
        made = SegmentFiles((*files.names, name), [os.dup(fd) for fd in files.fds])
    else:
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        made = SegmentFiles((*files.names, name), [*(os.dup(one) for one in files.fds), fd])
        _copy(files.fds[0], fd, frames_bytes)
    return (
        Placement(
            cache_disk_id=room.cache_disk_id if cache is None else cache.marker.disk_id,
            cache_path=room.cache_path if cache is None else cache.disk,
            buffer_disk_id=room.buffer_disk_id if buffer is None else buffer.marker.disk_id,
            buffer_path=room.buffer_path if buffer is None else buffer.disk,
            shared=shared,
        ),
        made,
    )


def _copy(source: int, target: int, size_bytes: int) -> None:
    for offset in range(0, size_bytes, _COPY_BYTES):
        _write(target, os.pread(source, min(_COPY_BYTES, size_bytes - offset), offset), offset)


def _write(fd: int, data: bytes | memoryview, offset: int) -> None:
    if os.pwrite(fd, data, offset) != len(data):
        raise OSError(errno.EIO, "short write")
