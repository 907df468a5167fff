"""Finds out what a tape that is loaded holds: one chain of segments for each partition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tapectl.disks.interface import SegmentJournal
from tapectl.disks.reader_cache import ReaderCache
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


def load_chains(
    barcode: str, volume: VolumeRecord, journal: SegmentJournal, readers: ReaderCache
) -> LoadedChains:
    """Fold the sealed segments of a tape into chains, and tell `readers` where they are.

    Raises CartridgeReadError if they do not fit together, CartridgeBusyError.
    """
    next_sequence = 1
    folds = [ChainFold() for _ in volume.partition_bytes or (0,)]

    def counts(summary: SegmentSummary, objects: int) -> tuple[int, int]:
        whole = Chain()
        whole.truncate(summary.first_object, file_number=0, data_bytes=0)
        whole.append(summary)
        index = readers.get(whole.entry(0)).index
        return index.filemarks_before(objects), index.data_bytes_before(objects)

    try:
        # One at a time: a full tape has a quarter of a million.
        for segment in journal.segments(barcode):
            readers.add(segment)
            summary = segment.summary
            next_sequence = summary.sequence + 1
            if volume.counts(summary.sequence) and summary.partition < len(folds):
                folds[summary.partition].add(summary)
        return LoadedChains([fold.finish(counts) for fold in folds], next_sequence)
    except ChainGapError as exc:
        raise CartridgeReadError(f"tape {barcode}: {exc}") from exc
