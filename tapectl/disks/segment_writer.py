"""The open segment of a loaded tape: frames go to its files, their places into its index."""

from __future__ import annotations

from collections.abc import Iterator

from tapectl.disks.interface import Placement
from tapectl.disks.segment_files import WRITE_BYTES_MAX, SegmentFiles
from tapectl.medium.frame import FRAME_HEADER_BYTES, FrameEncoder, FrameKind
from tapectl.medium.run_index import RUN_ENTRY_BYTES, RUNS_MAX, RunIndex
from tapectl.medium.segment import (
    SEGMENT_FOOTER_BYTES,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    encode_tail,
    summarize,
)
from tapectl.medium.summary import SegmentSummary

# Linux takes 1,024 buffers in one pwritev, and a block is two of them.
_BLOCKS_PER_WRITE = 512
_MARKS_PER_WRITE = 4096
_BLOCK = FrameKind.BLOCK
# A command adds at most one run; the room for index and footer is kept free for it.
_TAIL_RESERVE_BYTES = SEGMENT_FOOTER_BYTES + RUN_ENTRY_BYTES


class SegmentWriter:
    """Appends to one segment; one thread at a time."""

    def __init__(
        self, header: SegmentHeader, files: SegmentFiles, placement: Placement, size_bytes: int
    ) -> None:
        """Write the header. `size_bytes` are allocated in each file. Raises CartridgeWriteError."""
        self.header = header
        self.placement = placement
        self.files = files
        self.index = RunIndex(SEGMENT_HEADER_BYTES)
        self.erases = False
        self._size_bytes = size_bytes
        self._encoder = FrameEncoder(header.sequence)
        files.begin(header.encode())

    @staticmethod
    def allocation_bytes(frames_bytes: int) -> int:
        """Return how long a segment is that holds frames of so many bytes, written together."""
        return SEGMENT_HEADER_BYTES + frames_bytes + _TAIL_RESERVE_BYTES

    @property
    def end_object(self) -> int:
        return self.header.first_object + self.index.object_count

    @property
    def is_empty(self) -> bool:
        """Whether the segment voids nothing yet."""
        return not self.index.object_count and not self.erases

    def has_room(self, frames_bytes: int) -> bool:
        """Whether frames of so many bytes, of one command, can be written to this segment."""
        index = self.index
        used_bytes = index.end_offset + index.run_count * RUN_ENTRY_BYTES + _TAIL_RESERVE_BYTES
        return (
            used_bytes + frames_bytes <= self._size_bytes
            and index.run_count < RUNS_MAX
            and not self.files.failed
        )

    def append_block(self, payload: memoryview) -> bool:
        """Add one block; return False, nothing done, if the segment has no room.

        Raises CartridgeWriteError; the block does not count then.
        """
        size_bytes = FRAME_HEADER_BYTES + len(payload)
        if not self.has_room(size_bytes):
            return False
        index = self.index
        header = self._encoder.block(self.end_object, payload)
        self.files.append_frame(header, payload, index.end_offset)
        index.append(_BLOCK, len(payload))
        return True

    def append_blocks(
        self, data: memoryview, block_bytes: int, kind: FrameKind = FrameKind.BLOCK
    ) -> None:
        """Write equal blocks; the caller has asked `has_room`.

        Raises CartridgeWriteError; `index` says how many blocks count.
        """
        blocks_at_once = min(_BLOCKS_PER_WRITE, max(1, WRITE_BYTES_MAX // block_bytes))
        step = block_bytes * blocks_at_once
        for start in range(0, len(data), step):
            part = data[start : start + step]
            count = len(part) // block_bytes
            buffers = self._encoder.blocks(self.end_object, part, block_bytes, kind)
            size_bytes = count * (FRAME_HEADER_BYTES + block_bytes)
            self.files.append_frames(buffers, size_bytes, self.index.end_offset)
            self.index.append(kind, block_bytes, count)

    def append_filemarks(self, count: int) -> None:
        """Write filemarks; the caller has asked `has_room`. As append_blocks."""
        for part in _parts(count, _MARKS_PER_WRITE):
            frames = self._encoder.marks(FrameKind.FILEMARK, self.end_object, part)
            self.files.append((frames,), len(frames), self.index.end_offset)
            self.index.append(FrameKind.FILEMARK, 0, part)

    def append_end_of_data(self) -> None:
        """Write the frame that ends this segment and makes its first object end of data."""
        frame = self._encoder.marks(FrameKind.END_OF_DATA, self.end_object)
        self.files.append((frame,), len(frame), self.index.end_offset)
        self.erases = True

    def summary(self) -> SegmentSummary:
        """Return what the segment is if it is sealed as it stands."""
        return summarize(self.header, self.index, erases=self.erases)

    def seal(self) -> SegmentSummary:
        """Make it a sealed segment, durable under its final name; raise CartridgeWriteError."""
        summary = self.summary()
        self.files.seal(encode_tail(summary, self.index), summary.file_bytes)
        return summary


def _parts(count: int, most: int) -> Iterator[int]:
    while count > 0:
        yield min(count, most)
        count -= most
