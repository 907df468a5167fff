"""Where every object and filemark of a loaded tape is: its chain, and the segment still written."""

from __future__ import annotations

from typing import NamedTuple

from tapectl.disks.reader_cache import ReaderCache
from tapectl.disks.segment_reader import SegmentReader
from tapectl.disks.segment_writer import SegmentWriter
from tapectl.medium.chain import Chain, ChainEntry
from tapectl.medium.run_index import RunIndex
from tapectl.medium.summary import Totals
from tapectl.scsi.cartridge import CartridgeReadError, CartridgeWriteError


class SegmentSpan(NamedTuple):
    """A segment open for reading and the objects of it that count, first and after the last."""

    reader: SegmentReader
    first_object: int
    end_object: int


class TapeMap:
    """No lookup walks blocks or segments; one that opens a segment may raise CartridgeBusyError
    or CartridgeReadError."""

    def __init__(self, chain: Chain, readers: ReaderCache) -> None:
        self.writer: SegmentWriter | None = None
        self._writer_reader: SegmentReader | None = None
        self._chain = chain
        self._readers = readers

    @property
    def end_object(self) -> int:
        return self._chain.end_object if self.writer is None else self.writer.end_object

    @property
    def last_sequence(self) -> int:
        """The number of the closed segment that holds the last object of all that are closed; 0 if
        there is none."""
        return self._chain.entry(len(self._chain) - 1).sequence if len(self._chain) else 0

    @property
    def filemark_count(self) -> int:
        written = 0 if self.writer is None else self.writer.index.filemark_count
        return self._chain.filemark_count + written

    @property
    def data_bytes(self) -> int:
        written = 0 if self.writer is None else self.writer.index.data_bytes
        return self._chain.data_bytes + written

    def begin(self, writer: SegmentWriter, before: Totals) -> None:
        """Take up a segment that holds something: it voids what is at and after its start."""
        voided = self._chain.truncate(
            writer.header.first_object,
            file_number=before.file_number,
            data_bytes=before.data_bytes,
        )
        self._readers.forget(voided)
        self.writer = writer
        sequence = writer.header.sequence
        reader = SegmentReader(sequence, writer.index, writer.files.fds, None)
        self._writer_reader = self._readers.watched(reader)

    def finish(self) -> SegmentWriter:
        """Put the open segment in the chain as it stands and return it, to be sealed.

        Its reader is pinned until then. Raises CartridgeWriteError, nothing changed, while it
        has frames that do not reach its files.
        """
        writer, reader = self.writer, self._writer_reader
        assert writer is not None, "the caller asked for the open segment"
        assert reader is not None, "a reader comes with the writer"
        writer.files.flush()
        self.writer = self._writer_reader = None
        summary = writer.summary()
        self._chain.append(summary)
        folders = tuple(name.parent for name in writer.files.names)
        self._readers.pin(summary, reader, folders)
        return writer

    def close(self) -> None:
        """Close the files of a segment that could not be finished. Idempotent."""
        writer, self.writer = self.writer, None
        reader, self._writer_reader = self._writer_reader, None
        if writer is not None:
            writer.files.stop_following()
        if reader is not None:
            reader.close()

    def span_at(self, position: int) -> SegmentSpan:
        """Return the segment that holds the object at a position before end of data."""
        writer = self.writer
        if writer is not None and position >= writer.header.first_object:
            assert self._writer_reader is not None, "a reader comes with the writer"
            try:
                writer.files.flush()
            except CartridgeWriteError as exc:
                raise CartridgeReadError(str(exc)) from exc
            return SegmentSpan(self._writer_reader, writer.header.first_object, writer.end_object)
        entry = self._chain.find_object(position)
        return SegmentSpan(self._readers.get(entry), entry.first_object, entry.end_object)

    def totals_at(self, position: int) -> Totals:
        """Return the filemarks and bytes of user data before a position, exactly."""
        found = self._totals_without_index(position)
        if found is not None:
            return found
        entry = self._chain.find_object(position)
        return _totals(entry, self._readers.get(entry).index, position)

    def file_number_at(self, position: int) -> int:
        """Return the filemarks before a position."""
        if self.writer is None or position < self.writer.header.first_object:
            entry = self._entry_at(position)
            if entry is not None and not entry.filemark_count:
                return entry.filemarks_before
        return self.totals_at(position).file_number

    def data_bytes_near(self, position: int) -> int:
        """Return the bytes of user data before a position, estimated within a closed segment."""
        found = self._totals_without_index(position)
        if found is not None:
            return found.data_bytes
        entry = self._chain.find_object(position)
        reader = self._readers.opened(entry.sequence)
        if reader is not None:
            return _totals(entry, reader.index, position).data_bytes
        passed = position - entry.first_object
        return entry.data_bytes_before + entry.data_bytes * passed // entry.object_count

    def filemark_object(self, number: int) -> int:
        """Return the object number of a filemark, counted from 0 and below `filemark_count`."""
        writer = self.writer
        if writer is not None and number >= self._chain.filemark_count:
            in_segment = writer.index.filemark(number - self._chain.filemark_count)
            return writer.header.first_object + in_segment
        entry = self._chain.find_filemark(number)
        index = self._readers.get(entry).index
        return entry.first_object + index.filemark(number - entry.filemarks_before)

    def file_start(self, number: int) -> int:
        """Return where a file begins: after the filemark before it, the first at the beginning."""
        return self.filemark_object(number - 1) + 1 if number else 0

    def _totals_without_index(self, position: int) -> Totals | None:
        """Return the totals where no closed segment need be looked into, else None."""
        if position == self.end_object:
            return Totals(self.filemark_count, self.data_bytes)
        writer = self.writer
        if writer is not None and position >= writer.header.first_object:
            ordinal = position - writer.header.first_object
            return Totals(
                self._chain.filemark_count + writer.index.filemarks_before(ordinal),
                self._chain.data_bytes + writer.index.data_bytes_before(ordinal),
            )
        entry = self._chain.find_object(position)
        if position == entry.first_object:
            return Totals(entry.filemarks_before, entry.data_bytes_before)
        return None

    def _entry_at(self, position: int) -> ChainEntry | None:
        return self._chain.find_object(position) if position < self._chain.end_object else None


def _totals(entry: ChainEntry, index: RunIndex, position: int) -> Totals:
    ordinal = position - entry.first_object
    return Totals(
        entry.filemarks_before + index.filemarks_before(ordinal),
        entry.data_bytes_before + index.data_bytes_before(ordinal),
    )
