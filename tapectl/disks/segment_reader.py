"""Reads one segment: from its copies on the disks, and where they fail from the store."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from tapectl.disks.interface import SegmentFetcher
from tapectl.disks.tape_files import SEALED
from tapectl.medium.chain import ChainEntry
from tapectl.medium.errors import MediumFormatError
from tapectl.medium.frame import BLOCK_BYTES_MAX, FRAME_HEADER_BYTES, FrameKind, is_block
from tapectl.medium.run_index import RunIndex
from tapectl.medium.segment import (
    SEGMENT_FOOTER_BYTES,
    SEGMENT_HEADER_BYTES,
    SegmentFooter,
    SegmentHeader,
    frame_at,
    scan,
)
from tapectl.scsi.cartridge import CartridgeBusyError, CartridgeReadError

_log = logging.getLogger(__name__)

# What is asked of the store at least, and at most while it is read in order.
_FETCH_BYTES = 1 << 20
_FETCH_BYTES_MAX = 16 << 20


class FetchedCopy:
    """The copy of a segment that comes from the store, range by range, into a sparse local file."""

    def __init__(
        self, fetcher: SegmentFetcher, *, barcode: str, sequence: int, file_bytes: int
    ) -> None:
        self._fetcher = fetcher
        self._barcode = barcode
        self._sequence = sequence
        self._file_bytes = file_bytes
        self._fd = -1
        self._start = self._end = 0  # the range that is known to be there
        self._step_bytes = _FETCH_BYTES
        self._discarded = False
        self._whole = False
        # What is read next was waited for.
        self.waited = False

    def ensure(self, offset: int, size_bytes: int) -> int:
        """Return a descriptor of a file that holds the range.

        Raises CartridgeBusyError until it does, CartridgeReadError if it never will.
        """
        if self._start <= offset and offset + size_bytes <= self._end:
            return self._fd
        in_order = self._start <= offset <= self._end and self._end > 0
        step_bytes = min(2 * self._step_bytes, _FETCH_BYTES_MAX) if in_order else _FETCH_BYTES
        end = min(max(offset + size_bytes, offset + step_bytes), self._file_bytes)
        # Under the same name it may be another file than before: one given up is begun anew.
        try:
            self._open(self._fetcher.ensure(self._barcode, self._sequence, offset, end - offset))
        except CartridgeBusyError:
            self.waited = True
            raise
        self._start, self._end, self._step_bytes = offset, end, step_bytes
        return self._fd

    def discard_local(self) -> None:
        """All copies on the disks are damaged; told once."""
        if not self._discarded:
            self._discarded = True
            self._fetcher.discard(self._barcode, self._sequence)

    def count(self, size_bytes: int) -> None:
        """A block was read: the cache lacked it if it was waited for, or comes of a segment that
        is still on its way."""
        if self.waited or not self._whole:
            self._fetcher.count_missed(size_bytes)
        self.waited = False

    def _open(self, path: Path) -> None:
        try:
            fd = os.open(path, os.O_RDONLY)
        except FileNotFoundError as exc:
            # It was finished and given its final name, or evicted, since its name was told.
            raise CartridgeBusyError(f"segment {self._sequence} has moved", 0.0) from exc
        except OSError as exc:
            if not self._discarded:
                # A disk refuses the copy that is there: the store may have it.
                self.discard_local()
                raise CartridgeBusyError(f"segment {self._sequence}: {exc}", 0.0) from exc
            raise CartridgeReadError(f"fetched segment {self._sequence}: {exc}") from exc
        self.close()
        self._fd = fd
        self._whole = path.suffix == SEALED

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._start = self._end = 0


class SegmentReader:
    """A segment with its index. It owns the descriptors `fds` and closes them; `paths` are the
    names of the copies, under which others may have taken their place.

    One that is still written shares `index` with its writer, and so knows each new block.
    """

    def __init__(
        self,
        sequence: int,
        index: RunIndex,
        fds: Sequence[int],
        fetched: FetchedCopy | None,
        paths: Sequence[Path] = (),
    ) -> None:
        self.index = index
        self._sequence = sequence
        self._fds = tuple(fds)
        self._fetched = fetched
        self._paths = paths
        # Called for each block of which a copy was damaged and another was not.
        self.recovered: Callable[[], None] = lambda: None
        self._header = bytearray(FRAME_HEADER_BYTES)
        self._header_view = memoryview(self._header)

    def read_block(
        self,
        number: int,
        offset: int,
        payload: memoryview,
        kind: int = FrameKind.BLOCK.value,
    ) -> None:
        """Fill `payload`, as long as the block, with block `number`, whose frame is at `offset`.

        Raises CartridgeBusyError, CartridgeReadError; the buffer is undefined then.
        """
        damaged = False
        for fd in self._fds:
            if self._read(fd, number, offset, payload, kind):
                if damaged:
                    self.recovered()
                return
            damaged = True
            _log.error("segment %d: block %d is damaged in one copy", self._sequence, number)
        if damaged and self._reopen():
            for fd in self._fds:
                if self._read(fd, number, offset, payload, kind):
                    self.recovered()
                    return
        if self._fetched is not None:
            if damaged:
                self._fetched.discard_local()
            fd = self._fetched.ensure(offset, FRAME_HEADER_BYTES + len(payload))
            if self._read(fd, number, offset, payload, kind):
                self._fetched.count(len(payload))
                if damaged:
                    self.recovered()
                return
        raise CartridgeReadError(f"block {number} of segment {self._sequence} is damaged")

    def _read(self, fd: int, number: int, offset: int, payload: memoryview, kind: int) -> bool:
        try:
            got = os.preadv(fd, (self._header, payload), offset)
        except OSError as exc:
            _log.error("segment %d: %s", self._sequence, exc)
            return False
        return got == FRAME_HEADER_BYTES + len(payload) and is_block(
            self._header_view, number, self._sequence, payload, kind
        )

    def _reopen(self) -> bool:
        """Open the copies by their names; whether one has been made anew since."""
        fds = _open_copies(self._paths)
        if {_file_of(fd) for fd in fds} <= {_file_of(fd) for fd in self._fds}:
            for fd in fds:
                os.close(fd)
            return False
        for fd in self._fds:
            os.close(fd)
        self._fds = tuple(fds)
        return True

    def fall_back_on(self, fetched: FetchedCopy | None, paths: Sequence[Path]) -> None:
        """Ask for what is damaged in all copies from now on; its copies will have these names."""
        self._fetched = fetched
        self._paths = paths

    def close(self) -> None:
        """Close the files. Idempotent."""
        fds, self._fds = self._fds, ()
        for fd in fds:
            os.close(fd)
        if self._fetched is not None:
            self._fetched.close()


def open_segment(
    entry: ChainEntry, paths: Sequence[Path], fetched: FetchedCopy | None
) -> SegmentReader:
    """Open a sealed segment, whose local copies, if any, are at `paths`.

    The index comes from the first undamaged end of a copy, then from the store, then from the
    frames. Raises CartridgeBusyError, CartridgeReadError.
    """
    fds = _open_copies(paths)
    try:
        index = _first_index(fds, entry)
        if index is None and fetched is not None:
            if fds:
                fetched.discard_local()
            index = _fetched_index(fetched, entry, fds)
        for fd in fds:
            if index is None:
                index = _scanned_index(fd, entry)
        if index is None:
            raise CartridgeReadError(f"no copy of segment {entry.sequence} can be read")
    except BaseException:
        for fd in fds:
            os.close(fd)
        # What has been fetched of it may be open too, where the rest is still on its way.
        if fetched is not None:
            fetched.close()
        raise
    return SegmentReader(entry.sequence, index, fds, fetched, paths)


def _open_copies(paths: Sequence[Path]) -> list[int]:
    """Open the copies that are there; two names of one file count once."""
    fds: list[int] = []
    inodes = set()
    for path in paths:
        try:
            fd = os.open(path, os.O_RDONLY)
        except OSError:
            # Evicted, uploaded and let go, or on a disk that died: the next copy is asked.
            continue
        file = _file_of(fd)
        if file in inodes:
            os.close(fd)
            continue
        inodes.add(file)
        fds.append(fd)
    return fds


def _file_of(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _first_index(fds: Sequence[int], entry: ChainEntry) -> RunIndex | None:
    for fd in fds:

        def read(offset: int, size_bytes: int, fd: int = fd) -> bytes:
            return os.pread(fd, size_bytes, offset)

        try:
            return _read_index(read, entry)
        except (OSError, MediumFormatError) as exc:
            _log.error("index of segment %d in one copy: %s", entry.sequence, exc)
    return None


def _fetched_index(
    fetched: FetchedCopy, entry: ChainEntry, local: Sequence[int]
) -> RunIndex | None:
    def read(offset: int, size_bytes: int) -> bytes:
        return os.pread(fetched.ensure(offset, size_bytes), size_bytes, offset)

    try:
        return _read_index(read, entry)
    except CartridgeReadError:
        if not local:
            raise
    except (OSError, MediumFormatError) as exc:
        _log.error("index of segment %d from the store: %s", entry.sequence, exc)
    return None


def _read_index(read: Callable[[int, int], bytes], entry: ChainEntry) -> RunIndex:
    data = read(entry.file_bytes - SEGMENT_FOOTER_BYTES, SEGMENT_FOOTER_BYTES)
    footer = SegmentFooter.decode(data)
    summary = footer.summary
    found = (summary.sequence, summary.first_object, summary.file_bytes)
    if found != (entry.sequence, entry.first_object, entry.file_bytes):
        raise MediumFormatError(f"another segment: {summary.sequence}")
    return footer.decode_index(read(footer.index_offset, footer.index_bytes))


def _scanned_index(fd: int, entry: ChainEntry) -> RunIndex | None:
    """Rebuild the index from the frames, if they hold all objects that count."""
    buffer = memoryview(bytearray(FRAME_HEADER_BYTES + BLOCK_BYTES_MAX))
    try:
        header = SegmentHeader.decode(os.pread(fd, SEGMENT_HEADER_BYTES, 0))
        index = scan(
            header,
            lambda offset, number: frame_at(
                buffer[: read_frame(fd, buffer, offset)], number, entry.sequence
            ),
        ).index
    except (OSError, MediumFormatError):
        return None
    return index if index.object_count >= entry.object_count else None


def read_frame(fd: int, buffer: memoryview, offset: int) -> int:
    """Read the frame at `offset` into `buffer`; return how many bytes of it there are.

    `buffer` has room for the longest frame. Raises OSError.
    """
    got = os.preadv(fd, (buffer[:FRAME_HEADER_BYTES],), offset)
    if got < FRAME_HEADER_BYTES:
        return got
    length = min(int.from_bytes(buffer[16:20], "big"), BLOCK_BYTES_MAX)
    if length == 0:
        return got
    end = FRAME_HEADER_BYTES + length
    return got + os.preadv(fd, (buffer[FRAME_HEADER_BYTES:end],), offset + got)
