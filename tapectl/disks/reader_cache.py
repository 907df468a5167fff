"""The segments of a loaded tape that are open for reading: a few, the latest used ones."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from tapectl.disks.interface import SegmentFetcher, StoredSegment
from tapectl.disks.segment_reader import FetchedCopy, SegmentReader, open_segment
from tapectl.disks.tape_files import SEALED, segment_name
from tapectl.disks.void_segments import VoidSegments
from tapectl.medium.chain import ChainEntry
from tapectl.medium.summary import SegmentSummary
from tapectl.scsi.cartridge import CartridgeBusyError

# Each holds up to two descriptors and an index; reading in order needs one at a time.
_READERS_MAX = 8

# The folders of the copies, in the order they are asked.
_Folders = tuple[Path, ...]


class _FoldersOf:
    """The folders of each segment. Tapes have many segments in few folders: one tuple for each
    pair, and two numbers a segment."""

    def __init__(self) -> None:
        self._sequences = array("Q")  # ascending
        self._numbers = array("H")
        self._known: dict[_Folders, int] = {}
        self._folders: list[_Folders] = []

    def get(self, sequence: int) -> _Folders:
        at = bisect_left(self._sequences, sequence)
        found = at < len(self._sequences) and self._sequences[at] == sequence
        return self._folders[self._numbers[at]] if found else ()

    def add(self, sequence: int, folders: _Folders) -> None:
        """Add a segment, later than all that are there."""
        number = self._known.setdefault(folders, len(self._known))
        if number == len(self._folders):
            self._folders.append(folders)
        self._sequences.append(sequence)
        self._numbers.append(number)


class ReaderCache:
    """Opens segments by their entry in the chain. Segments being sealed are pinned. What is read
    is added to `reads`."""

    def __init__(
        self,
        barcode: str,
        fetcher: SegmentFetcher | None,
        void: VoidSegments,
        reads: set[int],
    ) -> None:
        self._barcode = barcode
        self._void = void
        self._reads = reads
        self._fetcher = fetcher
        self._folders = _FoldersOf()
        self._readers: OrderedDict[int, SegmentReader] = OrderedDict()
        self._pinned: dict[int, SegmentReader] = {}
        # Blocks of which a copy was damaged and another was read.
        self.recovered_blocks = 0
        # The segment that could not be opened yet when it was last tried.
        self._awaited: int | None = None

    def add(self, segment: StoredSegment) -> None:
        """Take note of where a sealed segment is, in order of sequence."""
        paths = (segment.cache_path, segment.buffer_path)
        folders = tuple(path.parent for path in paths if path is not None)
        if folders:
            self._folders.add(segment.summary.sequence, folders)

    def pin(self, summary: SegmentSummary, reader: SegmentReader, folders: _Folders) -> None:
        """Keep the reader of a segment whose files cannot be opened by name yet.

        It will be in the store, perhaps before it is opened by name.
        """
        self._folders.add(summary.sequence, folders)
        self._pinned[summary.sequence] = reader
        fetched = self._fetched(summary.sequence, summary.file_bytes)
        reader.fall_back_on(fetched, self._paths(summary.sequence))

    def unpin(self, sequence: int) -> None:
        """Let the reader of a segment that is sealed now go like any other."""
        self._keep(sequence, self._pinned.pop(sequence))

    def get(self, entry: ChainEntry) -> SegmentReader:
        """Return the reader of a segment; raise CartridgeBusyError, CartridgeReadError."""
        sequence = entry.sequence
        reader = self.opened(sequence)
        if reader is None:
            fetched = self._fetched(sequence, entry.file_bytes)
            if fetched is not None:
                fetched.waited = sequence == self._awaited
            try:
                reader = self.watched(open_segment(entry, self._paths(sequence), fetched))
            except CartridgeBusyError:
                self._awaited = sequence
                raise
            self._awaited = None
            self._keep(sequence, reader)
        self._reads.add(sequence)
        return reader

    def opened(self, sequence: int) -> SegmentReader | None:
        """Return the reader of a segment if it is open already."""
        reader = self._pinned.get(sequence) or self._readers.get(sequence)
        if sequence in self._readers:
            self._readers.move_to_end(sequence)
        return reader

    def forget(self, sequences: Sequence[int]) -> None:
        """Let go of segments that no reader will ask for again."""
        # Those that are being sealed have to be in memory until they are.
        void = [sequence for sequence in sequences if sequence not in self._pinned]
        for sequence in void:
            reader = self._readers.pop(sequence, None)
            if reader is not None:
                reader.close()
        self._void.add(void, self._paths)

    def close_sealed(self) -> None:
        """Close the files of what is sealed, to be opened again when it is read."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def close(self) -> None:
        """Close all files. Idempotent."""
        for reader in (*self._pinned.values(), *self._readers.values()):
            reader.close()
        self._pinned.clear()
        self._readers.clear()
        self._void.close()

    def watched(self, reader: SegmentReader) -> SegmentReader:
        """Return a reader whose recovered blocks are counted here."""
        reader.recovered = self._count_recovered
        return reader

    def _paths(self, sequence: int) -> Sequence[Path]:
        name = segment_name(sequence, SEALED)
        return [folder / name for folder in self._folders.get(sequence)]

    def _fetched(self, sequence: int, file_bytes: int) -> FetchedCopy | None:
        if self._fetcher is None:
            return None
        return FetchedCopy(
            self._fetcher, barcode=self._barcode, sequence=sequence, file_bytes=file_bytes
        )

    def _count_recovered(self) -> None:
        self.recovered_blocks += 1

    def _keep(self, sequence: int, reader: SegmentReader) -> None:
        self._readers[sequence] = reader
        while len(self._readers) > _READERS_MAX:
            self._readers.popitem(last=False)[1].close()
