"""Starts the segments of one tape, each with the next sequence number."""

from __future__ import annotations

import time

from tapectl.disks.interface import SegmentJournal
from tapectl.disks.segment_files import SegmentFiles
from tapectl.disks.segment_writer import SegmentWriter
from tapectl.disks.staging import Staging
from tapectl.disks.tape_files import TapeDescription
from tapectl.disks.tape_map import Totals
from tapectl.medium.segment import SegmentHeader
from tapectl.scsi.cartridge import CartridgeWriteError


class NewSegments:
    """`sequence` is the number of the next one, `segment_bytes` how long one is at least."""

    def __init__(
        self, tape: TapeDescription, journal: SegmentJournal, segment_bytes: int, sequence: int
    ) -> None:
        self.sequence = sequence
        self._tape = tape
        self._journal = journal
        self._segment_bytes = segment_bytes
        self._staging: Staging | None = None

    def begin(
        self, partition: int, position: int, before: Totals, follows: int, frames_bytes: int
    ) -> SegmentWriter:
        """Return an empty segment at a position, with room for frames of so many bytes.

        `follows` is the segment that ends there, 0 if none does.

        Raises CartridgeBusyError, CartridgeWriteError; nothing is left behind then.
        """
        barcode = self._tape.barcode
        size_bytes = max(self._segment_bytes, SegmentWriter.allocation_bytes(frames_bytes))
        placement = self._journal.place(barcode, size_bytes)
        if self._staging is None:
            self._staging = Staging.make(self._journal.staging_path(self._tape.uuid))
        files = SegmentFiles.create(
            placement,
            barcode=barcode,
            sequence=self.sequence,
            size_bytes=size_bytes,
            staging=self._staging,
        )
        header = SegmentHeader(
            tape_uuid=self._tape.uuid,
            barcode=barcode,
            sequence=self.sequence,
            first_object=position,
            file_number=before.file_number,
            data_bytes_before=before.data_bytes,
            created_ms=time.time_ns() // 1_000_000,
            partition=partition,
            follows=follows,
        )
        try:
            writer = SegmentWriter(header, files, placement, size_bytes)
        except CartridgeWriteError:
            files.discard()
            raise
        self.sequence += 1
        return writer

    def remove_staging(self) -> None:
        """Leave nothing for the next load to look at, if all is in the segments' files."""
        if self._staging is not None:
            self._staging.remove_if_empty()
