"""The bytes of a tape's segments from the store: in order, some requests ahead of whoever reads."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from tapectl.gateway.read_ahead import ahead
from tapectl.gateway.stored_places import StoredPlaces
from tapectl.gateway.transfer.stored_segment import StoredSegment
from tapectl.medium.chain import ChainEntry
from tapectl.medium.errors import MediumFormatError
from tapectl.medium.run_index import RunIndex
from tapectl.medium.sealing import TapeSeal
from tapectl.medium.segment_object import StoredChunk, chunk_numbers
from tapectl.medium.summary import SegmentSummary
from tapectl.store.interface import ObjectStore, RestoreState, StoreError

# Requests at the same time, each for so many chunks of 1 MiB: up to 24 MiB ahead of the reader.
_RUNS_AHEAD, _RUN_CHUNKS = 6, 4
# Chunk tables: small, and each is needed before the chunks that it names.
_TABLES_AHEAD = 6
# Bytes may be damaged on their way: what is wrong is read once more.
_TRIES = 2
_READABLE = (RestoreState.READABLE, RestoreState.RESTORED)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Part:
    """What is read of a segment: its objects from number `first_object` on, which are bytes `start`
    to `end` of its file."""

    entry: ChainEntry
    first_object: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Bytes of user data that are archived and not restored, of all that were asked for; `coming`:
    all of them are being restored."""

    archived_bytes: int
    all_bytes: int
    coming: bool


# Reads chunks of a part that stand one after the other: the pieces of its bytes that they hold.
_ReadRun = Callable[[], tuple[Part, Sequence[memoryview]]]


class StoredRuns:
    """Reads segments of one tape; `data_key` is what their objects are encrypted with."""

    def __init__(
        self,
        store: ObjectStore,
        places: StoredPlaces,
        tape_uuid: uuid.UUID,
        data_key: bytes | None,
        pool: Executor,
    ) -> None:
        self._store = store
        self._places = places
        self._tape_uuid = tape_uuid
        self._data_key = data_key
        self._pool = pool

    def index(self, segment: SegmentSummary | ChainEntry) -> RunIndex:
        """Return the index of a segment; raise StoreError, MediumFormatError."""
        return _checked(self._segment(segment).read_index)

    def pieces(self, parts: Iterable[Part]) -> Iterator[tuple[Part, Iterator[memoryview]]]:
        """Yield parts with their bytes, piece by piece, each to be read before the next is asked
        for. Raises StoreError, MediumFormatError, in the turn of what cannot be read."""
        opened = ahead(
            self._pool, (partial(self._open, part) for part in parts), depth=_TABLES_AHEAD
        )
        runs = itertools.chain.from_iterable(opened)
        read = ahead(self._pool, runs, depth=_RUNS_AHEAD)
        for part, group in itertools.groupby(read, key=lambda one: one[0]):
            yield part, itertools.chain.from_iterable(pieces for _, pieces in group)

    def unreadable(self, entries: Iterable[ChainEntry]) -> Unreadable | None:
        """Return what of some segments cannot be read as it is archived, None if all can; raise
        StoreError, MediumFormatError."""
        held_bytes: dict[str, int] = {}
        all_bytes = 0
        for entry in entries:
            all_bytes += entry.data_bytes
            place, _ = self._places.get(entry.sequence)
            if place.archived:
                held_bytes[place.key] = held_bytes.get(place.key, 0) + entry.data_bytes
        states = [info.restore_state for info in self._pool.map(self._store.head, held_bytes)]
        found = [
            (held, state)
            for held, state in zip(held_bytes.values(), states, strict=True)
            if state not in _READABLE
        ]
        if not found:
            return None
        return Unreadable(
            archived_bytes=sum(held for held, _ in found),
            all_bytes=all_bytes,
            coming=all(state is RestoreState.IN_PROGRESS for _, state in found),
        )

    def _open(self, part: Part) -> Sequence[_ReadRun]:
        """Return what reads the runs of chunks that hold a part. Where the part cannot be opened,
        they say so: what stands before it has not been given out yet."""
        try:
            segment = self._segment(part.entry)
            table = _checked(segment.read_table)
        except (StoreError, MediumFormatError) as error:
            return [partial(_fail, error)]
        numbers = chunk_numbers(part.start, part.end - part.start, part.entry.file_bytes)
        return [
            partial(_read, part, segment, table[first : min(first + _RUN_CHUNKS, numbers.stop)])
            for first in range(numbers.start, numbers.stop, _RUN_CHUNKS)
        ]

    def _segment(self, segment: SegmentSummary | ChainEntry) -> StoredSegment:
        place, epoch = self._places.get(segment.sequence)
        seal = None
        if self._data_key is not None:
            seal = TapeSeal(self._data_key, self._tape_uuid, epoch)
        return StoredSegment(self._store, place, segment, seal)


def _read(
    part: Part, segment: StoredSegment, run: Sequence[StoredChunk]
) -> tuple[Part, Sequence[memoryview]]:
    def read() -> Sequence[memoryview]:
        return [
            memoryview(raw)[max(0, part.start - chunk.raw_offset) : part.end - chunk.raw_offset]
            for chunk, raw in segment.read_run(run)
        ]

    return part, _checked(read)


def _fail(error: Exception) -> tuple[Part, Sequence[memoryview]]:
    raise error


def _checked(read: Callable[[], Result]) -> Result:
    for _ in range(_TRIES - 1):
        try:
            return read()
        except MediumFormatError:
            continue
    return read()
