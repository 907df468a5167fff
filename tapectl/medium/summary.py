"""What is known of one segment without opening it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Totals(NamedTuple):
    """Filemarks and bytes of user data that a partition holds before a position."""

    file_number: int
    data_bytes: int


@dataclass(frozen=True, slots=True)
class SegmentSummary:
    """One segment of a tape, as its header and index say.

    `first_object` is the logical object number of its first object; the segment
    voids everything that earlier segments of the partition hold at and after it.
    `object_count` counts blocks and filemarks, `filemark_count` the filemarks
    among them. `data_bytes` are bytes of user data, `file_bytes` the whole file
    with header, frames, index and footer. `erases` says that the segment ends
    in an END_OF_DATA frame though it may hold no object. `before` is what its
    partition holds before `first_object`, None where that was not kept: summaries
    with and without it are equal.
    """

    sequence: int
    first_object: int
    object_count: int
    filemark_count: int
    data_bytes: int
    file_bytes: int
    partition: int = 0
    erases: bool = False
    before: Totals | None = field(default=None, compare=False)

    @property
    def after(self) -> Totals | None:
        """What its partition holds before the object after it, None where `before` is."""
        if self.before is None:
            return None
        filemarks, data_bytes = self.before
        return Totals(filemarks + self.filemark_count, data_bytes + self.data_bytes)
