"""The copies of one segment that was never sealed, while it is recovered.

All that can be read are sources, and so is what was still on its way to them; one of each role, on
a disk that takes writes, becomes a copy of the sealed segment. A copy that has to be made has a
name of its own until it is whole, so that nobody ever takes an unfinished one for what was left.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tapectl.disks.disk_directory import BUFFER_ROLE, CACHE_ROLE, DiskMarker
from tapectl.disks.interface import DiskPlace, SegmentJournal
from tapectl.disks.segment_files import DiskFailedError, SegmentFiles
from tapectl.disks.segment_reader import read_frame
from tapectl.disks.staging import NOTHING_STAGED, staged_frames, staged_header
from tapectl.disks.tape_files import COPYING, TapeDescription, segment_name, tape_folder
from tapectl.medium.errors import MediumFormatError
from tapectl.medium.frame import BLOCK_BYTES_MAX, FRAME_HEADER_BYTES, FrameKind, decode_frame
from tapectl.medium.segment import (
    SEGMENT_HEADER_BYTES,
    ScannedSegment,
    SegmentHeader,
    frame_at,
    scan,
)
from tapectl.scsi.cartridge import CartridgeReadError, CartridgeWriteError

_FRAME_BYTES_MAX = FRAME_HEADER_BYTES + BLOCK_BYTES_MAX
_Frame = tuple[FrameKind, int]


@dataclass(frozen=True, slots=True)
class SegmentName:
    """A name of a segment's file on a disk."""

    path: Path
    disk: Path
    marker: DiskMarker

    def remove(self) -> None:
        """Remove the name; on a disk that refuses, it stays and is met again."""
        with contextlib.suppress(OSError):
            self.path.unlink()


@dataclass(slots=True)
class _File:
    """A file and its names of the roles that it serves; without any it is only read. One that is
    `made` here says nothing of where the segment ends."""

    fd: int
    disk: Path
    names: dict[str, Path] = field(default_factory=dict)
    made: bool = False


class RecoveredCopies:
    """Use it as a context manager. What `failed` disks have is read and never written; `staging` is
    the file of frames that were on their way to the copies, None if there is no place for any."""

    def __init__(
        self, names: Sequence[SegmentName], failed: Collection[Path], staging: Path | None
    ) -> None:
        self._names = names
        self._failed = failed
        self._staging = staging
        self._staged = NOTHING_STAGED
        self._files: list[_File] = []
        self._disk_ids: dict[str, str] = {}
        self._buffer = memoryview(bytearray(_FRAME_BYTES_MAX))

    def __enter__(self) -> RecoveredCopies:
        try:
            # Where one file has two names, the one that may be written counts.
            for name in sorted(self._names, key=lambda one: one.disk in self._failed):
                self._open(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        files, self._files = self._files, []
        for file in files:
            os.close(file.fd)

    def header(self, tape: TapeDescription, sequence: int) -> SegmentHeader | None:
        """Return the header, whole in one copy at least; None if nothing was ever acknowledged.

        Raises CartridgeReadError if it cannot be known.
        """
        found: list[tuple[SegmentHeader, _File]] = []
        unreadable: OSError | None = None
        for file in self._files:
            try:
                header = SegmentHeader.decode(os.pread(file.fd, SEGMENT_HEADER_BYTES, 0))
            except MediumFormatError:
                continue
            except OSError as exc:
                unreadable = exc
                continue
            if header.tape_uuid != tape.uuid or header.sequence > sequence:
                raise CartridgeReadError(f"segment of another tape: {self._names[0].path}")
            if header.sequence < sequence:
                # What this file was before; the power went before it became another.
                continue
            found.append((header, file))
        if found:
            newest = max((header for header, _ in found), key=lambda one: one.created_ms)
            # A disk that was away may bring back an earlier attempt under the same number.
            stale = [file for header, file in found if header != newest]
            self._forget(stale)
            self._staged = staged_frames(self._staging, newest.encode())
            return newest
        if unreadable is not None or not self._files:
            raise CartridgeReadError(f"no copy can be read of {self._names[0].path}")
        with contextlib.suppress(MediumFormatError):
            # The second copy may be so far behind that it has nothing.
            header = SegmentHeader.decode(staged_header(self._staging))
            if (header.tape_uuid, header.sequence) == (tape.uuid, sequence):
                self._staged = staged_frames(self._staging, header.encode())
                return header
        for file in self._files:
            frame = decode_frame(os.pread(file.fd, FRAME_HEADER_BYTES, SEGMENT_HEADER_BYTES))
            if frame is not None and frame.sequence == sequence & 0xFFFFFFFF:
                raise CartridgeReadError(f"damaged header: {self._names[0].path}")
        return None

    def scan(self, header: SegmentHeader) -> ScannedSegment:
        """Return what all copies together hold. Raises CartridgeReadError if its end cannot be
        told from what cannot be read."""
        return scan(header, lambda offset, number: self._frame(header, offset, number)[1])

    def complete(self, barcode: str, sequence: int, journal: SegmentJournal) -> None:
        """Begin a copy for each role that lacks one, where it has a disk for it.

        Raises CartridgeBusyError while those are full, CartridgeWriteError if there would be no
        copy at all.
        """
        size_bytes = max(os.fstat(file.fd).st_size for file in self._files)
        for role in (CACHE_ROLE, BUFFER_ROLE):
            if role in self._disk_ids:
                continue
            place = journal.place_copy(role, size_bytes, avoid=self._failed)
            if place is not None:
                name = tape_folder(place.path, barcode) / segment_name(sequence, COPYING)
                self._begin_copy(role, place, name)
        if not self._disk_ids:
            raise CartridgeWriteError(f"no disk takes segment {sequence} of {barcode}")

    def write(self, header: SegmentHeader) -> None:
        """Put every frame that one copy has into all that stay.

        Also where it is right: if a flush of it has failed, the kernel takes its pages for clean,
        and the flush to come would succeed and prove nothing.
        """
        targets = [file for file in self._files if file.names]

        def read_and_write(offset: int, number: int) -> _Frame | None:
            data, frame = self._frame(header, offset, number)
            if frame is not None:
                for file in targets:
                    _write(file, data, offset)
            return frame

        encoded = memoryview(header.encode())
        for file in targets:
            _write(file, encoded, 0)
        scan(header, read_and_write)

    def seal(self, tail: bytes, file_bytes: int) -> None:
        """Make the copies sealed ones, durable under their final names; raise DiskFailedError."""
        targets = [file for file in self._files if file.names]
        files = SegmentFiles(
            [name for file in targets for name in file.names.values()],
            [file.fd for file in targets],
            [file.disk for file in targets],
            # Who tries again without the disk tells of it.
            lambda _disk, _reason: None,
        )
        files.seal(tail, file_bytes)

    def disk_id(self, role: str) -> str | None:
        """Return the disk that has the copy of a role."""
        return self._disk_ids.get(role)

    def remove_others(self) -> None:
        """Remove the names that are not those of the sealed segment."""
        kept = set(self._disk_ids.values())
        for name in self._names:
            if name.marker.disk_id not in kept:
                name.remove()

    def discard(self) -> None:
        """Remove all of it: nothing in it counts."""
        for name in self._names:
            name.remove()

    def _open(self, name: SegmentName) -> None:
        may_write = name.disk not in self._failed
        try:
            fd = os.open(name.path, os.O_RDWR if may_write else os.O_RDONLY)
        except OSError as exc:
            if may_write:
                raise DiskFailedError(f"{name.path}: {exc.strerror}", name.disk, exc) from exc
            return  # what cannot be read either is no copy
        file = self._same_file(fd)
        if file is None:
            file = _File(fd, name.disk)
            self._files.append(file)
        else:
            os.close(fd)
        role = name.marker.role
        if may_write and role not in self._disk_ids:
            file.names[role] = name.path
            self._disk_ids[role] = name.marker.disk_id

    def _same_file(self, fd: int) -> _File | None:
        """Return the file that is open already under another name."""
        status = os.fstat(fd)
        return next(
            (one for one in self._files if os.path.samestat(os.fstat(one.fd), status)), None
        )

    def _forget(self, files: Sequence[_File]) -> None:
        """Close files of which nothing counts, and remove their names."""
        for file in files:
            for role, path in file.names.items():
                del self._disk_ids[role]
                with contextlib.suppress(OSError):
                    path.unlink()
            self._files.remove(file)
            os.close(file.fd)

    def _frame(
        self, header: SegmentHeader, offset: int, number: int
    ) -> tuple[memoryview, _Frame | None]:
        """Return the frame at `offset` from the first copy that has it whole.

        The data is good until the next call.
        """
        unreadable: OSError | None = None
        read = 0
        for file in self._files:
            try:
                data = self._buffer[: read_frame(file.fd, self._buffer, offset)]
            except OSError as exc:
                unreadable = exc
                continue
            frame = frame_at(data, number, header.sequence)
            if frame is not None:
                return data[: FRAME_HEADER_BYTES + frame[1]], frame
            read += not file.made
        data = self._staged.at(offset)
        frame = frame_at(data, number, header.sequence)
        if frame is not None:
            return data[: FRAME_HEADER_BYTES + frame[1]], frame
        if unreadable is not None and not read:
            raise CartridgeReadError(
                f"object {number} of segment {header.sequence} cannot be read: {unreadable}"
            )
        return self._buffer[:0], None

    def _begin_copy(self, role: str, place: DiskPlace, name: Path) -> None:
        try:
            name.parent.mkdir(mode=0o700, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                name.unlink()
            kept = self._on_device_of(name.parent)
            if kept is not None:
                os.link(next(iter(kept.names.values())), name)
                kept.names[role] = name
            else:
                fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
                self._files.append(_File(fd, place.path, {role: name}, made=True))
        except OSError as exc:
            raise DiskFailedError(f"{name}: {exc.strerror}", place.path, exc) from exc
        self._disk_ids[role] = place.disk_id

    def _on_device_of(self, folder: Path) -> _File | None:
        """Return a file that stays and could have a second name in `folder`."""
        device = os.stat(folder).st_dev
        return next(
            (one for one in self._files if one.names and os.fstat(one.fd).st_dev == device), None
        )


def _write(file: _File, data: memoryview, offset: int) -> None:
    try:
        if os.pwrite(file.fd, data, offset) != len(data):
            raise OSError(errno.EIO, "short write")
    except OSError as exc:
        message = f"write to a copy on {file.disk}: {exc.strerror}"
        raise DiskFailedError(message, file.disk, exc) from exc
