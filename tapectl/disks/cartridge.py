"""A cartridge whose objects are in segments on local disks and, when cold, in the store."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from tapectl.disks.interface import SegmentFetcher, SegmentJournal
from tapectl.disks.new_segments import NewSegments
from tapectl.disks.reader_cache import ReaderCache
from tapectl.disks.recovery import recover
from tapectl.disks.run_cursor import RunCursor
from tapectl.disks.sealing import Sealer, SealQueue
from tapectl.disks.segment_writer import SegmentWriter
from tapectl.disks.tape_files import TapeDescription
from tapectl.disks.tape_loading import LoadProgress, load_chains
from tapectl.disks.tape_map import TapeMap
from tapectl.disks.void_segments import VoidSegments
from tapectl.medium.chain import Chain
from tapectl.medium.frame import FRAME_HEADER_BYTES, FrameKind
from tapectl.medium.sequences import SequenceSet
from tapectl.medium.summary import Totals
from tapectl.medium.volume import VolumeRecord
from tapectl.scsi.cartridge import (
    AttributeKey,
    CartridgeFullError,
    CartridgeWriteError,
    EncryptedBlock,
    Mark,
    PartitionUse,
    StoredAttribute,
)


class SegmentedCartridge:
    """`tapectl.scsi.cartridge.Cartridge` over segments. One thread at a time.

    A write at end of data goes on with the open segment; one anywhere else seals it as it is and
    starts a new one there. No segment is ever written again, and at most one is open.
    """

    def __init__(
        self,
        tape: TapeDescription,
        volume: VolumeRecord,
        maps: Sequence[TapeMap],
        *,
        journal: SegmentJournal,
        new_segments: NewSegments,
        seals: SealQueue,
        readers: ReaderCache,
    ) -> None:
        """Use `open`."""
        self._tape = tape
        self._volume = volume
        self._maps = maps
        self._journal = journal
        self._new_segments = new_segments
        self._seals = seals
        self._readers = readers
        self._run = RunCursor()
        self._position = 0
        self._file_number: int | None = 0  # None: not known until somebody asks
        self.select_partition(0)

    @classmethod
    def open(
        cls,
        tape: TapeDescription,
        *,
        journal: SegmentJournal,
        fetcher: SegmentFetcher | None,
        segment_bytes: int,
        sealer: Sealer,
        progress: LoadProgress,
    ) -> SegmentedCartridge:
        """Load a tape at its beginning, having recovered what a killed process left of it.

        `segment_bytes` is the size at which a segment is sealed. `sealer` runs a job, in another
        thread if it likes. Whoever tries again after CartridgeBusyError gives the same `progress`
        again. Raises CartridgeBusyError, CartridgeReadError, CartridgeWriteError.
        """
        known = SequenceSet(journal.sequences(tape.barcode))
        recover(tape, journal, known)
        volume = journal.volume(tape.barcode)
        void = VoidSegments(tape.barcode, journal, sealer)
        readers = ReaderCache(tape.barcode, fetcher, void, journal.reads(tape.barcode))
        try:
            loaded = load_chains(tape, volume, journal, readers, progress)
        except BaseException:
            readers.close()
            raise
        next_sequence = max(loaded.next_sequence, (known.last or 0) + 1)
        return cls(
            tape,
            volume,
            [TapeMap(chain, readers) for chain in loaded.chains],
            journal=journal,
            new_segments=NewSegments(tape, journal, void, segment_bytes, next_sequence),
            seals=SealQueue(tape.barcode, journal, readers, sealer),
            readers=readers,
        )

    @property
    def barcode(self) -> str:
        return self._tape.barcode

    @property
    def write_protected(self) -> bool:
        return self._tape.write_protected

    @property
    def worm(self) -> bool:
        return self._tape.worm

    @property
    def created_ms(self) -> int:
        return self._tape.created_ms

    @property
    def recovered_reads(self) -> int:
        return self._readers.recovered_blocks

    @property
    def generation(self) -> int:
        return self._tape.generation

    @property
    def cleaning(self) -> bool:
        return self._tape.cleaning

    @property
    def volume_bytes(self) -> int:
        return self._tape.capacity_bytes

    @property
    def partition(self) -> int:
        return self._partition

    @property
    def partitions(self) -> Sequence[PartitionUse]:
        return [
            PartitionUse(self._partition_bytes(number), objects.data_bytes)
            for number, objects in enumerate(self._maps)
        ]

    @property
    def volume_used_bytes(self) -> int:
        """Bytes of user data in all partitions."""
        return sum(objects.data_bytes for objects in self._maps)

    def _partition_bytes(self, number: int) -> int:
        sizes = self._volume.partition_bytes
        return sizes[number] if sizes else self._tape.capacity_bytes

    def select_partition(self, number: int) -> None:
        """See Cartridge."""
        self._partition = number
        self._map = self._maps[number]
        self._capacity_bytes = self._partition_bytes(number)
        self._end = self._map.end_object
        self._used_bytes = self._map.data_bytes
        self._move(0, 0)

    def format(self, partition_bytes: Sequence[int]) -> None:
        """See Cartridge. The segments stay as they are; the record says that they are void."""
        self._require_writable()
        self._seals.require_room()
        self._seal_open_segment()
        through = self._new_segments.sequence - 1
        self._record(self._volume.formatted(partition_bytes, through))
        self._maps = [TapeMap(Chain(), self._readers) for _ in partition_bytes]
        self.select_partition(0)

    def attribute(self, partition: int, identifier: int) -> StoredAttribute | None:
        """See Cartridge."""
        return self._volume.attributes.get((partition, identifier))

    def attribute_identifiers(self, partition: int) -> Sequence[int]:
        """See Cartridge."""
        return sorted(key[1] for key in self._volume.attributes if key[0] == partition)

    def set_attributes(self, changes: Mapping[AttributeKey, StoredAttribute | None]) -> None:
        """See Cartridge."""
        changed = self._volume.with_attributes(changes)
        if changed != self._volume:
            self._record(changed)

    def _record(self, volume: VolumeRecord) -> None:
        self._journal.record_volume(self.barcode, volume)
        self._volume = volume

    @property
    def capacity_bytes(self) -> int:
        return self._capacity_bytes

    @property
    def used_bytes(self) -> int:
        return self._used_bytes

    @property
    def written_bytes_at_position(self) -> int:
        if self._position == self._end:
            return self._used_bytes
        return self._map.data_bytes_near(self._position)

    @property
    def position(self) -> int:
        return self._position

    @property
    def file_number(self) -> int:
        if self._file_number is None:
            self._file_number = self._map.file_number_at(self._position)
        return self._file_number

    @property
    def end_of_data(self) -> int:
        return self._end

    def write_blocks(self, data: memoryview, block_bytes: int, *, encrypted: bool = False) -> None:
        """See Cartridge. All blocks of a call are in one segment."""
        writer = self._map.writer
        if (
            writer is not None
            and self._position == self._end
            and len(data) == block_bytes
            and not encrypted
            and self._used_bytes + block_bytes <= self._capacity_bytes
            and writer.append_block(data)
        ):
            self._end += 1
            self._position = self._end
            self._used_bytes += block_bytes
            self._run.leave()
            return
        before = self._map.totals_at(self._position)
        count = len(data) // block_bytes
        room_blocks = max(0, self._capacity_bytes - before.data_bytes) // block_bytes
        fitting = min(count, room_blocks)
        if fitting:
            kind = FrameKind.ENCRYPTED_BLOCK if encrypted else FrameKind.BLOCK
            self._append(
                fitting * (FRAME_HEADER_BYTES + block_bytes),
                before,
                lambda writer: writer.append_blocks(
                    data[: fitting * block_bytes], block_bytes, kind
                ),
            )
        if fitting < count:
            raise CartridgeFullError(fitting)

    def write_behind(self) -> None:
        """See Cartridge."""
        writer = self._map.writer
        if writer is not None:
            writer.files.write_behind()

    def write_filemarks(self, count: int) -> None:
        """See Cartridge. Filemarks take nothing of the capacity."""
        if count:
            before = self._map.totals_at(self._position)
            self._append(
                count * FRAME_HEADER_BYTES, before, lambda writer: writer.append_filemarks(count)
            )

    def erase(self) -> None:
        """See Cartridge. At end of data there is nothing to erase."""
        if self._position == self._end:
            return
        before = self._map.totals_at(self._position)
        self._append(FRAME_HEADER_BYTES, before, SegmentWriter.append_end_of_data)
        self._seal_open_segment()

    def synchronize(self) -> None:
        """See Cartridge."""
        written = self._written_map()
        if written is not None and written.writer is not None:
            written.writer.files.synchronize()
        self._seals.wait()

    def seal_open_segment(self) -> bool:
        """Have the open segment sealed and so uploaded; return whether there was one.

        Raises CartridgeWriteError if an earlier seal failed, CartridgeBusyError.
        """
        if self._written_map() is None:
            self._seals.check()
            return False
        self._seals.require_room()
        self._seal_open_segment()
        return True

    def leave_disks(self, disks: Collection[Path]) -> None:
        """Let go of the files on disks that are to go: what is written there is sealed, what is
        read is opened anew, wherever it is then.

        Raises CartridgeWriteError if an earlier seal failed, CartridgeBusyError.
        """
        self._run.leave()
        try:
            # What has been sealed meanwhile is read like any other from now on.
            self._seals.check()
        finally:
            self._readers.close_sealed()
        written = self._written_map()
        if written is not None and written.writer is not None:
            placement = written.writer.placement
            if placement.cache_path in disks or placement.buffer_path in disks:
                self.seal_open_segment()

    def close(self) -> None:
        """Seal and release everything, whatever fails; then raise CartridgeWriteError if it did.

        Idempotent. What could not be sealed is recovered when the tape is loaded again.
        """
        try:
            try:
                self._seal_open_segment()
            finally:
                # Also then: another thread may be at work on the files that are closed below.
                self._seals.wait()
            self._new_segments.remove_staging()
        finally:
            for objects in self._maps:
                objects.close()
            self._readers.close()
            self._run.leave()

    def read_block(self, buffer: memoryview) -> int | Mark | EncryptedBlock:
        """See Cartridge."""
        run = self._run
        if not run.left:
            if self._position >= self._end:
                return Mark.END_OF_DATA
            run.enter(self._map.span_at(self._position), self._position)
        length = run.length
        if not length:
            run.skip()
            self._position += 1
            if self._file_number is not None:
                self._file_number += 1
            return Mark.FILEMARK
        if run.kind is not FrameKind.BLOCK:
            data = bytearray(length)
            run.read(self._position, memoryview(data))
            self._position += 1
            return EncryptedBlock(bytes(data))
        if len(buffer) < length:
            # The whole block must be seen to know that it is undamaged.
            whole = memoryview(bytearray(length))
            run.read(self._position, whole)
            buffer[:] = whole[: len(buffer)]
        else:
            run.read(self._position, buffer[:length])
        self._position += 1
        return length

    def space_blocks(self, count: int) -> tuple[int, Mark | None]:
        """See Cartridge."""
        if count < 0:
            return self._space_blocks_back(-count)
        target, stop = self._position + count, Mark.END_OF_DATA
        limit = self._end
        file_number = self.file_number
        if file_number < self._map.filemark_count and self._position < min(target, limit):
            limit, stop = self._map.filemark_object(file_number), Mark.FILEMARK
        if target <= limit:
            self._move(target, file_number)
            return count, None
        passed = limit - self._position
        if stop is Mark.FILEMARK:
            self._move(limit + 1, file_number + 1)
        else:
            self._move(limit, file_number)
        return passed, stop

    def _space_blocks_back(self, count: int) -> tuple[int, Mark | None]:
        file_number = self.file_number
        limit = self._map.file_start(file_number)
        if self._position - count >= limit:
            self._move(self._position - count, file_number)
            return count, None
        passed = self._position - limit
        if file_number:
            self._move(limit - 1, file_number - 1)
            return passed, Mark.FILEMARK
        self._move(0, 0)
        return passed, Mark.BEGINNING_OF_PARTITION

    def space_filemarks(self, count: int) -> tuple[int, Mark | None]:
        """See Cartridge."""
        file_number = self.file_number
        target = file_number + count
        if count == 0:
            return 0, None
        if target > self._map.filemark_count:
            self.space_end_of_data()
            return self._map.filemark_count - file_number, Mark.END_OF_DATA
        if target < 0:
            self._move(0, 0)
            return file_number, Mark.BEGINNING_OF_PARTITION
        at = self._map.file_start(target) if count > 0 else self._map.filemark_object(target)
        self._move(at, target)
        return abs(count), None

    def space_end_of_data(self) -> None:
        """See Cartridge."""
        self._move(self._end, self._map.filemark_count)

    def locate(self, position: int) -> Mark | None:
        """See Cartridge. Looks into no segment."""
        if position > self._end:
            self.space_end_of_data()
            return Mark.END_OF_DATA
        self._move(position, None if position else 0)
        return None

    def locate_file(self, file_number: int) -> Mark | None:
        """See Cartridge."""
        if file_number > self._map.filemark_count:
            self.space_end_of_data()
            return Mark.END_OF_DATA
        self._move(self._map.file_start(file_number), file_number)
        return None

    def _move(self, position: int, file_number: int | None) -> None:
        self._position = position
        self._file_number = file_number
        self._run.leave()

    def _append(
        self, frames_bytes: int, before: Totals, write: Callable[[SegmentWriter], None]
    ) -> None:
        """Have `write` write frames at the position, before which `before` stands, to a segment.

        When nothing of them could be written, the tape is as it was.
        """
        self._seals.check()
        self._require_writable()
        writer = self._map.writer
        if writer is None or self._position != self._end or not writer.has_room(frames_bytes):
            if self._written_map() is not None:
                # Before room is asked for: on full disks only uploading this one can make some.
                self._seals.require_room()
                self._seal_open_segment()
            follows = self._map.last_sequence if self._position == self._end else 0
            writer = self._new_segments.begin(
                self._partition, self._position, before, follows, frames_bytes
            )
        try:
            write(writer)
        finally:
            if writer.is_empty:
                writer.files.discard()
            else:
                if writer is not self._map.writer:
                    self._map.begin(writer, before)
                self._end = self._map.end_object
                self._used_bytes = self._map.data_bytes
                self._move(self._end, self._map.filemark_count)

    def protect(self) -> None:
        """Refuse every write from now on, until the tape is loaded again."""
        self._tape = dataclasses.replace(self._tape, write_protected=True)

    def _require_writable(self) -> None:
        if self._tape.write_protected:
            raise CartridgeWriteError(f"tape {self.barcode} is write-protected")

    def _written_map(self) -> TapeMap | None:
        """Return the map of the partition whose segment is open, if one is."""
        return next((objects for objects in self._maps if objects.writer is not None), None)

    def _seal_open_segment(self) -> None:
        """Have the open segment sealed, if there is one."""
        written = self._written_map()
        if written is not None:
            self._run.leave()
            self._seals.add(written.finish())
