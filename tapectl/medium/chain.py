"""The chain of a tape: which segments still count, for which objects, and what stands before each.

A segment that holds an object, or that erases, voids everything earlier segments of its
partition hold at and after its first object; any other voids nothing. So the chain is a
fold over the segments in order of sequence. It is kept in flat arrays: a tape has a quarter
of a million segments, and no lookup takes more than a bisection.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tapectl.medium.errors import ChainGapError
from tapectl.medium.summary import SegmentSummary, Totals


class ChainEntry(NamedTuple):
    """A segment that counts.

    `object_count`, `filemark_count` and `data_bytes` are those that still do; the `_before` fields
    count what the partition holds before `first_object`.
    """

    sequence: int
    first_object: int
    object_count: int
    filemark_count: int
    data_bytes: int
    filemarks_before: int
    data_bytes_before: int
    file_bytes: int

    @property
    def end_object(self) -> int:
        return self.first_object + self.object_count


# Filemarks and data bytes among the first objects of a segment that is voided in part.
PartialCounts = Callable[[SegmentSummary, int], tuple[int, int]]


class Chain:
    """The segments of one partition that count, by ascending object number, without gaps."""

    __slots__ = (
        "_data_before",
        "_file_bytes",
        "_filemarks_before",
        "_firsts",
        "_sequences",
        "data_bytes",
        "end_object",
        "filemark_count",
    )

    def __init__(self) -> None:
        self._sequences = array("Q")
        self._firsts = array("Q")
        self._filemarks_before = array("Q")
        self._data_before = array("Q")
        self._file_bytes = array("Q")
        self.end_object = 0
        self.filemark_count = 0
        self.data_bytes = 0

    def __len__(self) -> int:
        return len(self._sequences)

    @classmethod
    def fold(
        cls, summaries: Iterable[SegmentSummary], counts: PartialCounts, *, partition: int = 0
    ) -> Chain:
        """Fold the segments of a tape, by ascending sequence, into what still counts.

        `counts(summary, objects)` is asked only for segments voided in part, where the one that
        voids the rest does not say what stands before it, and may raise.
        Raises ChainGapError if objects in the middle are in no segment.
        """
        fold = ChainFold()
        for summary in summaries:
            if summary.partition == partition:
                fold.add(summary)
        return fold.finish(counts)

    def append(self, summary: SegmentSummary) -> None:
        """Add a segment that starts at the end of data; one without objects changes nothing."""
        if summary.first_object != self.end_object:
            raise ChainGapError(summary.sequence, summary.first_object, self.end_object)
        if not summary.object_count:
            return
        self._sequences.append(summary.sequence)
        self._firsts.append(summary.first_object)
        self._filemarks_before.append(self.filemark_count)
        self._data_before.append(self.data_bytes)
        self._file_bytes.append(summary.file_bytes)
        self.end_object += summary.object_count
        self.filemark_count += summary.filemark_count
        self.data_bytes += summary.data_bytes

    def truncate(self, position: int, *, file_number: int, data_bytes: int) -> list[int]:
        """Void all objects at and after `position`, given what stands before it.

        Return the sequence numbers of the segments of which nothing is left, latest first.
        """
        voided = []
        while self._firsts and self._firsts[-1] >= position:
            voided.append(self._sequences[-1])
            for column in (
                self._sequences,
                self._firsts,
                self._filemarks_before,
                self._data_before,
                self._file_bytes,
            ):
                column.pop()
        self.end_object = position
        self.filemark_count = file_number
        self.data_bytes = data_bytes
        return voided

    def entry(self, at: int) -> ChainEntry:
        """Return an entry by its place in the chain, from 0."""
        last = at + 1 == len(self._sequences)
        end = self.end_object if last else self._firsts[at + 1]
        filemarks = self.filemark_count if last else self._filemarks_before[at + 1]
        data_bytes = self.data_bytes if last else self._data_before[at + 1]
        return ChainEntry(
            sequence=self._sequences[at],
            first_object=self._firsts[at],
            object_count=end - self._firsts[at],
            filemark_count=filemarks - self._filemarks_before[at],
            data_bytes=data_bytes - self._data_before[at],
            filemarks_before=self._filemarks_before[at],
            data_bytes_before=self._data_before[at],
            file_bytes=self._file_bytes[at],
        )

    def find_object(self, number: int) -> ChainEntry:
        """Return the entry that holds an object; raise IndexError at and after end of data."""
        if not 0 <= number < self.end_object:
            raise IndexError(number)
        return self.entry(bisect_right(self._firsts, number) - 1)

    def find_filemark(self, number: int) -> ChainEntry:
        """Return the entry that holds a filemark, from 0; raise IndexError if there is none."""
        if not 0 <= number < self.filemark_count:
            raise IndexError(number)
        return self.entry(bisect_right(self._filemarks_before, number) - 1)


class ChainFold:
    """Takes the segments of one partition one at a time, by ascending sequence, and keeps of each
    that still counts a few numbers: a tape of a million segments need not be in memory."""

    __slots__ = ("_columns", "_cuts", "_firsts", "_kept")

    def __init__(self) -> None:
        self._firsts = array("Q")
        # How many objects of each still count.
        self._kept = array("Q")
        # Sequence, objects, filemarks, bytes of user data, bytes of the file, partition.
        self._columns = tuple(array("Q") for _ in range(6))
        # What stands before the first void object of a segment that is void in part, as the segment
        # says that begins there; by sequence, and few.
        self._cuts: dict[int, Totals] = {}

    def add(self, summary: SegmentSummary) -> None:
        """Take the next segment; raise ChainGapError if objects before it are in no segment."""
        if not voids(summary):
            return
        firsts, kept = self._firsts, self._kept
        first = summary.first_object
        end = firsts[-1] + kept[-1] if firsts else 0
        if first > end:
            raise ChainGapError(summary.sequence, first, end)
        while firsts and firsts[-1] >= first:
            for column in (firsts, kept, *self._columns):
                column.pop()
        if firsts and first < firsts[-1] + kept[-1]:
            kept[-1] = first - firsts[-1]
            cut = self._columns[0][-1]
            self._cuts.pop(cut, None)
            if summary.before is not None:
                self._cuts[cut] = summary.before
        if summary.object_count:
            firsts.append(first)
            kept.append(summary.object_count)
            for column, value in zip(
                self._columns,
                (
                    summary.sequence,
                    summary.object_count,
                    summary.filemark_count,
                    summary.data_bytes,
                    summary.file_bytes,
                    summary.partition,
                ),
                strict=True,
            ):
                column.append(value)

    @property
    def sequences(self) -> Sequence[int]:
        """The sequence numbers of the segments that still count, ascending."""
        return self._columns[0]

    def finish(self, counts: PartialCounts) -> Chain:
        """Return the chain; see Chain.fold."""
        chain = Chain()
        for first, kept, row in zip(
            self._firsts, self._kept, zip(*self._columns, strict=True), strict=True
        ):
            sequence, objects, filemarks, data_bytes, file_bytes, partition = row
            summary = SegmentSummary(
                sequence, first, objects, filemarks, data_bytes, file_bytes, partition
            )
            chain.append(summary)
            if kept < objects:
                before = self._cuts.get(sequence)
                if before is None:
                    filemarks, data_bytes = counts(summary, kept)
                    entry = chain.entry(len(chain) - 1)
                    before = Totals(
                        entry.filemarks_before + filemarks, entry.data_bytes_before + data_bytes
                    )
                chain.truncate(
                    first + kept, file_number=before.file_number, data_bytes=before.data_bytes
                )
        return chain


def voids(summary: SegmentSummary) -> bool:
    """Whether a segment makes void what earlier ones hold at and after its first object."""
    return summary.object_count > 0 or summary.erases
