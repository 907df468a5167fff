"""How large the local disks should be: AWS's formula for the upload buffer. Pure.

"Determining the size of upload buffer to allocate", AWS Storage Gateway user guide: what comes in
faster than it goes out, for as long as it comes in; and a cache of 1.1 times the upload buffer.
"""

from __future__ import annotations

from dataclasses import dataclass

from tapectl.units import GIB, TIB

MIN_DISK_BYTES = 150 * GIB
MAX_UPLOAD_BUFFER_BYTES = 2 * TIB
MAX_CACHE_BYTES = 64 * TIB
CACHE_FACTOR = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is written, and how it leaves: rates in bytes a second, a compression ratio of 2 halves
    what is uploaded, and how long a backup writes."""

    write_bytes_per_s: float
    upload_bytes_per_s: float
    compression_ratio: float = 1.0
    duration_s: float


@dataclass(frozen=True, slots=True)
class DiskSizes:
    """What to allocate. `required_bytes` is what the formula gives, before AWS's limits."""

    required_bytes: int
    upload_buffer_bytes: int
    cache_bytes: int


def recommended_sizes(workload: Workload) -> DiskSizes:
    """Return the sizes of upload buffer and cache, within AWS's limits."""
    leaving = workload.upload_bytes_per_s * workload.compression_ratio
    required = max(0, round((workload.write_bytes_per_s - leaving) * workload.duration_s))
    upload_buffer = min(max(required, MIN_DISK_BYTES), MAX_UPLOAD_BUFFER_BYTES)
    cache = min(round(CACHE_FACTOR * max(required, MIN_DISK_BYTES)), MAX_CACHE_BYTES)
    return DiskSizes(required, upload_buffer, cache)
