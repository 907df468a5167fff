"""Performance Characteristics: 37h of IBM's drives, as far as LTFS reads it."""

from __future__ import annotations

from collections.abc import Sequence

from tapectl.scsi.log_pages import LogPage, counter

# Values of this mount, advanced counters, of the group Capacity.
_MOUNT_CAPACITY = 0x64

PERFORMANCE_PAGES: Sequence[LogPage] = (
    # Media efficiency: not known, for nothing here wears.
    LogPage(0x37, (counter(0x0001, 0, 1),)),
    # Capacity lost to rewrites while writing, in 65536ths of a per cent: none.
    LogPage(0x37, (counter(0x7113, 0, 4),), subpage=_MOUNT_CAPACITY),
)
