"""Starts the segments of one tape, each with the next sequence number."""

from __future__ import annotations

import time
from pathlib import Path

from tapectl.disks.interface import Placement, SegmentJournal
from tapectl.disks.segment_files import DiskFailedError, SegmentFiles
from tapectl.disks.segment_writer import SegmentWriter
from tapectl.disks.staging import Staging
from tapectl.disks.tape_files import TapeDescription
from tapectl.disks.void_segments import VoidSegments
from tapectl.medium.segment import SegmentHeader
from tapectl.medium.summary import Totals
from tapectl.scsi.cartridge import CartridgeWriteError


class NewSegments:
    """`sequence` is the number of the next one, `segment_bytes` how long one is at least, `void`
    may have files to be written over."""

    def __init__(
        self,
        tape: TapeDescription,
        journal: SegmentJournal,
        void: VoidSegments,
        segment_bytes: int,
        sequence: int,
    ) -> None:
        self.sequence = sequence
        self._tape = tape
        self._journal = journal
        self._void = void
        self._segment_bytes = segment_bytes
        self._staging: Staging | None = None

    def begin(
        self, partition: int, position: int, before: Totals, follows: int, frames_bytes: int
    ) -> SegmentWriter:
        """Return an empty segment at a position, with room for frames of so many bytes.

        `follows` is the segment that ends there, 0 if none does. A disk that refuses is passed
        over where there is another one.

        Raises CartridgeBusyError, CartridgeWriteError; nothing is left behind then.
        """
        size_bytes = max(self._segment_bytes, SegmentWriter.allocation_bytes(frames_bytes))
        if self._staging is None:
            self._staging = Staging.make(self._journal.staging_path(self._tape.uuid))
        header = SegmentHeader(
            tape_uuid=self._tape.uuid,
            barcode=self._tape.barcode,
            sequence=self.sequence,
            first_object=position,
            file_number=before.file_number,
            data_bytes_before=before.data_bytes,
            created_ms=time.time_ns() // 1_000_000,
            partition=partition,
            follows=follows,
        )
        writer = self._on_good_disks(header, size_bytes)
        self.sequence += 1
        return writer

    def _on_good_disks(self, header: SegmentHeader, size_bytes: int) -> SegmentWriter:
        failure: DiskFailedError | None = None
        failed: list[Path] = []
        while True:
            try:
                placement = self._journal.place(header.barcode, size_bytes, avoid=failed)
            except CartridgeWriteError:
                # None is left: what the first one said is why.
                if failure is not None:
                    raise failure from None
                raise
            try:
                return self._on(placement, header, size_bytes)
            except DiskFailedError as exc:
                failure = failure or exc
                failed.append(exc.disk)

    def _on(self, placement: Placement, header: SegmentHeader, size_bytes: int) -> SegmentWriter:
        files = SegmentFiles.create(
            placement,
            barcode=header.barcode,
            sequence=header.sequence,
            size_bytes=size_bytes,
            on_failure=self._journal.note_failure,
            staging=self._staging,
            void=self._void,
        )
        try:
            return SegmentWriter(header, files, placement, size_bytes)
        except CartridgeWriteError:
            files.discard()
            raise

    def remove_staging(self) -> None:
        """Leave nothing for the next load to look at, if all is in the segments' files."""
        if self._staging is not None:
            self._staging.remove_if_empty()
