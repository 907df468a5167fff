"""Sealing behind the writer's back: finished segments become durable while the next is written."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

from tapectl.disks.interface import SegmentJournal
from tapectl.disks.reader_cache import ReaderCache
from tapectl.disks.segment_writer import SegmentWriter
from tapectl.scsi.cartridge import CartridgeBusyError, CartridgeWriteError

# Runs a job, now or in another thread, after those it was given before.
Sealer = Callable[[Callable[[], None]], None]

# What may be on its way to the disks, of one tape. A writer that is faster than they are waits
# then, before the page cache is full of what they owe and a filemark takes too long. Two segments
# may always be, so that one is written to the disks while the next is on its way there.
_PENDING_BYTES_MAX = min(512 << 20, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 32)
_PENDING_MIN, _PENDING_MAX = 2, 16
# How long whoever serves the drive may be kept from everything else for that.
_WAIT_S = 0.02
_RETRY_S = 0.001


class PendingSeal:
    """One segment being sealed; `error` is for whoever has seen `done`.

    `before` is the one before it, if that is not known to be sealed.
    """

    def __init__(
        self,
        writer: SegmentWriter,
        barcode: str,
        journal: SegmentJournal,
        before: PendingSeal | None,
    ) -> None:
        self.writer = writer
        self.size_bytes = writer.summary().file_bytes
        self._before = before
        self.done = threading.Event()
        self.error: Exception | None = None
        self._barcode = barcode
        self._journal = journal

    def run(self) -> None:
        """Seal it and enter it in the journal; called once, by the sealer's thread."""
        before, self._before = self._before, None
        try:
            if before is not None:
                # A segment in the journal must never stand on one that a power cut may still take.
                before.done.wait()
                if before.error is not None:
                    raise before.error
            summary = self.writer.seal()
            placement = self.writer.placement
            self._journal.record_sealed(
                self._barcode,
                summary,
                cache_disk_id=placement.cache_disk_id,
                buffer_disk_id=placement.buffer_disk_id,
            )
        except Exception as exc:
            # Whatever it is, the tape's thread has to hear of it: this one has nobody to tell.
            self.error = exc
        finally:
            self.done.set()


class SealQueue:
    """The segments of one tape that are being sealed, one after the other.

    A seal that failed stays failed until the tape is loaded again, when recovery does it anew:
    after a failed flush nobody knows what the disk has.
    """

    def __init__(
        self, barcode: str, journal: SegmentJournal, readers: ReaderCache, sealer: Sealer
    ) -> None:
        self._barcode = barcode
        self._journal = journal
        self._readers = readers
        self._sealer = sealer
        self._pending: deque[PendingSeal] = deque()
        self._last: PendingSeal | None = None
        self._failure: Exception | None = None

    def add(self, writer: SegmentWriter) -> None:
        """Have a segment sealed whose reader is pinned."""
        seal = PendingSeal(writer, self._barcode, self._journal, self._last)
        self._pending.append(seal)
        self._last = seal
        self._sealer(seal.run)

    def check(self) -> None:
        """Raise CartridgeWriteError if a seal has failed."""
        while self._pending and self._pending[0].done.is_set():
            self._settle(self._pending.popleft())
        if self._failure is not None:
            raise CartridgeWriteError(f"tape {self._barcode}: {self._failure}") from self._failure

    def require_room(self) -> None:
        """Return when not too many seals are under way, at once or a little later; as check.

        Raises CartridgeBusyError if it takes longer than whoever waits may be kept from others.
        """
        self.check()
        if not self._has_room():
            self._pending[0].done.wait(_WAIT_S)
            self.check()
            if not self._has_room():
                raise CartridgeBusyError("segments on their way to the disks", _RETRY_S)

    def _has_room(self) -> bool:
        count = len(self._pending)
        if count < _PENDING_MIN:
            return True
        owed_bytes = sum(seal.size_bytes for seal in self._pending)
        return count < _PENDING_MAX and owed_bytes < _PENDING_BYTES_MAX

    def wait(self) -> None:
        """Return when all is sealed; raise CartridgeWriteError if one could not be."""
        for seal in self._pending:
            seal.done.wait()
        self.check()

    def _settle(self, seal: PendingSeal) -> None:
        seal.writer.files.stop_following()
        if seal.error is None:
            if seal is self._last:
                self._last = None
            self._readers.unpin(seal.writer.header.sequence)
        else:
            self._failure = seal.error
