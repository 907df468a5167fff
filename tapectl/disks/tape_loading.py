"""Finds out what a tape that is loaded holds: one chain of segments for each partition."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from tapectl.disks.interface import SegmentJournal
from tapectl.disks.reader_cache import ReaderCache
from tapectl.disks.tape_files import TapeDescription
from tapectl.medium.chain import Chain, ChainFold
from tapectl.medium.errors import ChainGapError
from tapectl.medium.summary import SegmentSummary
from tapectl.medium.volume import VolumeRecord
from tapectl.scsi.cartridge import CartridgeReadError


@dataclass(frozen=True, slots=True)
class LoadedChains:
    """The chain of each partition, and the number of the next segment."""

    chains: Sequence[Chain]
    next_sequence: int


class LoadProgress:
    """What the attempts to load a tape have found out, each of which may end where it has to wait.

    Whoever tries again keeps it: no attempt reads what an earlier one has, so a load comes to its
    end however few of the segments that it looks into find room in the cache at a time.
    """

    def __init__(self) -> None:
        self._tape_uuid: uuid.UUID | None = None
        # Filemarks and data bytes by sequence, and by how many objects of the segment count.
        self._totals: dict[tuple[int, int], tuple[int, int]] = {}

    def of_tape(self, tape_uuid: uuid.UUID) -> dict[tuple[int, int], tuple[int, int]]:
        """Return what is known of a tape, to be added to; what was of another is forgotten."""
        if tape_uuid != self._tape_uuid:
            self._tape_uuid, self._totals = tape_uuid, {}
        return self._totals


def load_chains(
    tape: TapeDescription,
    volume: VolumeRecord,
    journal: SegmentJournal,
    readers: ReaderCache,
    progress: LoadProgress,
) -> LoadedChains:
    """Fold the sealed segments of a tape into chains, and tell `readers` where they are.

    Raises CartridgeReadError if they do not fit together, CartridgeBusyError.
    """
    next_sequence = 1
    folds = [ChainFold() for _ in volume.partition_bytes or (0,)]
    known = progress.of_tape(tape.uuid)

    def counts(summary: SegmentSummary, objects: int) -> tuple[int, int]:
        key = summary.sequence, objects
        if key not in known:
            whole = Chain()
            whole.truncate(summary.first_object, file_number=0, data_bytes=0)
            whole.append(summary)
            index = readers.get(whole.entry(0)).index
            known[key] = index.filemarks_before(objects), index.data_bytes_before(objects)
        return known[key]

    try:
        # One at a time: a full tape has a quarter of a million.
        for segment in journal.segments(tape.barcode):
            readers.add(segment)
            summary = segment.summary
            next_sequence = summary.sequence + 1
            if volume.counts(summary.sequence) and summary.partition < len(folds):
                folds[summary.partition].add(summary)
        return LoadedChains([fold.finish(counts) for fold in folds], next_sequence)
    except ChainGapError as exc:
        raise CartridgeReadError(f"tape {tape.barcode}: {exc}") from exc
