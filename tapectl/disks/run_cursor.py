"""The run of equal objects at a tape's position: within it, to read on is mere counting."""

from __future__ import annotations

from tapectl.disks.segment_reader import SegmentReader
from tapectl.disks.tape_map import SegmentSpan
from tapectl.medium.frame import FRAME_HEADER_BYTES, FrameKind


class RunCursor:
    """Where the next object of a run is.

    `left` counts the run's objects from the position on, 0 while no run is known. Each is of
    `kind` and has a payload of `length` bytes, 0 for filemarks.
    """

    __slots__ = ("_offset", "_reader", "_step_bytes", "kind", "left", "length")

    _reader: SegmentReader

    def __init__(self) -> None:
        self.kind = FrameKind.BLOCK
        self.left = self.length = 0
        self._offset = self._step_bytes = 0

    def enter(self, span: SegmentSpan, position: int) -> None:
        """Find the run that the object at a position is in, which is within the span."""
        ordinal = position - span.first_object
        run = span.reader.index.run_at(ordinal)
        self._reader = span.reader
        self.kind = run.kind
        self.length = run.length
        self._step_bytes = FRAME_HEADER_BYTES + run.length
        self._offset = run.offset + (ordinal - run.first) * self._step_bytes
        self.left = min(span.first_object + run.first + run.objects, span.end_object) - position

    def leave(self) -> None:
        """Forget the run: the position is elsewhere, or the segment is."""
        self.left = 0

    def read(self, position: int, payload: memoryview) -> None:
        """Fill `payload`, `length` bytes, with the object at the position, and go to the next.

        Raises what SegmentReader.read_block does, and has gone nowhere then.
        """
        self._reader.read_block(position, self._offset, payload, self.kind)
        self.skip()

    def skip(self) -> None:
        """Go to the next object."""
        self.left -= 1
        self._offset += self._step_bytes
