"""How one object is made of many by S3's multipart copies: which bytes are which part. Pure.

Every part but the last must have 5 MiB or more, none more than 5 GiB. What is smaller is collected
with its neighbours into a part of 5 MiB, which has to be read and sent; all the rest is copied on
the server's side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tapectl.store.interface import COMPOSED_BYTES_MAX, COMPOSED_SOURCES_MAX, Source
from tapectl.units import GIB, MIB

# Amazon S3's limits, which other servers have taken over.
PART_BYTES_MIN = 5 * MIB
PART_BYTES_MAX = 5 * GIB


@dataclass(frozen=True, slots=True)
class SourceRange:
    """A part of an object, in bytes."""

    key: str
    offset: int
    size_bytes: int


Part = tuple[SourceRange, ...]
"""One range is copied by the server; several are read, and sent as one part."""


def plan_parts(sources: Sequence[Source]) -> Sequence[Part]:
    """Return the parts that make one object of the sources; none if there are no bytes at all.

    Raises ValueError beyond COMPOSED_SOURCES_MAX and COMPOSED_BYTES_MAX, which keep the parts below
    the 10,000 that S3 takes.
    """
    size_bytes = sum(source.size_bytes for source in sources)
    if not 0 < len(sources) <= COMPOSED_SOURCES_MAX or size_bytes > COMPOSED_BYTES_MAX:
        raise ValueError(f"{len(sources)} sources of {size_bytes} bytes")
    parts: list[Part] = []
    collected: list[SourceRange] = []
    collected_bytes = 0
    for source in sources:
        taken = 0
        if collected:
            taken = min(PART_BYTES_MIN - collected_bytes, source.size_bytes)
            collected.append(SourceRange(source.key, 0, taken))
            collected_bytes += taken
            if collected_bytes < PART_BYTES_MIN:
                continue
            parts.append(tuple(collected))
            collected, collected_bytes = [], 0
        rest = SourceRange(source.key, taken, source.size_bytes - taken)
        if rest.size_bytes >= PART_BYTES_MIN:
            parts.extend((one,) for one in _split(rest))
        elif rest.size_bytes:
            collected, collected_bytes = [rest], rest.size_bytes
    if collected:
        parts.append(tuple(collected))
    return parts


def _split(whole: SourceRange) -> Iterator[SourceRange]:
    """Yield ranges of about the same size, none larger than a part may be."""
    count = -(-whole.size_bytes // PART_BYTES_MAX)
    step = -(-whole.size_bytes // count)
    for start in range(0, whole.size_bytes, step):
        size_bytes = min(step, whole.size_bytes - start)
        yield SourceRange(whole.key, whole.offset + start, size_bytes)
