"""A tape as it was at a recovery point, read from the store alone: no gateway, no disks, no state.

Nothing is written, not in the store either, and the gateway that has the tape goes on with it.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import timezone
from functools import partial
from pathlib import Path

from tapectl.gateway.barcodes import check_barcode
from tapectl.gateway.elements import ElementError
from tapectl.gateway.keyring import Keyring
from tapectl.gateway.read_ahead import ahead
from tapectl.gateway.recovery_points import (
    WhichPoint,
    find_owner,
    find_point,
    last_readable,
    not_in_store,
    point_numbers,
    read_page,
    require_kept,
)
from tapectl.gateway.stored_places import StoredPlaces
from tapectl.gateway.stored_runs import Part, StoredRuns
from tapectl.gateway.tape_keys import unwrap_data_key
from tapectl.gateway.transfer.bucket_marker import require_known
from tapectl.gateway.unreadable_tape import TapeUnreadableError, encrypted_object
from tapectl.medium.chain import Chain, ChainEntry, ChainFold
from tapectl.medium.errors import MediumFormatError
from tapectl.medium.frame import FRAME_HEADER_BYTES, FrameKind
from tapectl.medium.frame_stream import FrameStream
from tapectl.medium.images import Object
from tapectl.medium.manifest import Manifest, ManifestHead, ManifestRow
from tapectl.medium.segment import SEGMENT_HEADER_BYTES
from tapectl.medium.summary import SegmentSummary
from tapectl.scsi.cartridge import Mark
from tapectl.state.errors import TapeStatusError
from tapectl.state.tape_status import TapeStatus
from tapectl.store.interface import (
    ObjectArchivedError,
    ObjectNotFoundError,
    ObjectStore,
    StoreDataError,
)
from tapectl.units import format_size

_THREADS = 16
_PAGES_AHEAD = 8
_KEY_HINT = "give a copy that `tapectl key export` has made: --key-file FILE"


class StoredTape:
    """A tape at its beginning. Partition 0 is what there is of it."""

    def __init__(self, head: ManifestHead, chain: Chain, runs: StoredRuns) -> None:
        """Use `open_stored_tape`."""
        self._barcode = head.barcode
        self._tape_uuid = uuid.UUID(head.tape_uuid)
        self._chain = chain
        self._runs = runs
        self._start, self._end = 0, chain.end_object
        # Where in its segment the frame of the object at `_start` is, unless it is the first there.
        self._start_offset = 0

    @property
    def used_bytes(self) -> int:
        """Bytes of user data on it."""
        return self._chain.data_bytes

    def go_to_file(self, number: int) -> None:
        """Stand at the beginning of a file, counted from 0; what comes after it is not read.

        Raises ElementError if there is none, TapeStatusError if the way to it is archived,
        TapeUnreadableError, StoreError.
        """
        chain = self._chain
        missing = ElementError(f"tape {self._barcode} has no file {number}")
        if number > chain.filemark_count:
            raise missing
        start, offset = 0, 0
        if number:
            entry = chain.find_filemark(number - 1)
            self._require_restored([entry])
            with self._readable(f"the way to file {number}"):
                index = self._runs.index(entry)
                ordinal = index.filemark(number - 1 - entry.filemarks_before) + 1
                start, offset = entry.first_object + ordinal, index.offset_of(ordinal)
            if start >= chain.end_object:
                raise missing
        self._start, self._start_offset = start, offset
        has_end = number < chain.filemark_count
        self._end = chain.find_filemark(number).end_object if has_end else chain.end_object

    def read(self) -> Iterator[Object]:
        """Return the objects from here on.

        Raises TapeStatusError before the first if any of them are archived and not restored; on the
        way TapeUnreadableError, StoreError.
        """
        self._require_restored(self._entries())
        return self._objects()

    def _objects(self) -> Iterator[Object]:
        number = self._start
        frames = self._frames()
        while True:
            with self._readable(f"object {number}"):
                found = next(frames, None)
            if found is None:
                return
            kind, payload = found
            if kind is FrameKind.ENCRYPTED_BLOCK:
                raise encrypted_object(self._barcode, number)
            yield Mark.FILEMARK if kind is FrameKind.FILEMARK else payload
            number += 1

    def _frames(self) -> Iterator[tuple[FrameKind, bytes]]:
        for part, pieces in self._runs.pieces(self._parts()):
            entry = part.entry
            stream = FrameStream(pieces, entry.sequence)
            if part.first_object == entry.first_object:
                stream.read_header(self._tape_uuid)
            yield from stream.objects(part.first_object, entry.end_object - part.first_object)

    def _parts(self) -> Iterator[Part]:
        for entry in self._entries():
            end = SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES * entry.object_count + entry.data_bytes
            if entry.first_object < self._start:
                yield Part(entry, self._start, self._start_offset, end)
            else:
                yield Part(entry, entry.first_object, 0, end)

    def _entries(self) -> Iterator[ChainEntry]:
        position = self._start
        while position < self._end:
            entry = self._chain.find_object(position)
            yield entry
            position = entry.end_object

    def _require_restored(self, entries: Iterable[ChainEntry]) -> None:
        """Raise TapeStatusError if any of the data is archived and cannot be read."""
        with self._readable("an archived object"):
            found = self._runs.unreadable(entries)
        if found is not None:
            parts = f"{format_size(found.archived_bytes)} of {format_size(found.all_bytes)}"
            raise _archived(self._barcode, f"{parts} to be read are", coming=found.coming)

    @contextlib.contextmanager
    def _readable(self, what: str) -> Iterator[None]:
        try:
            yield
        except (ObjectNotFoundError, ObjectArchivedError) as exc:
            raise TapeUnreadableError(
                f"{what} of tape {self._barcode} cannot be read: {exc}",
                hint="its gateway may have archived, overwritten or deleted it just now: try again",
            ) from exc
        except MediumFormatError as exc:
            raise TapeUnreadableError(
                f"{what} of tape {self._barcode} cannot be read: {exc}",
                hint="its gateway can say what else is damaged: `tapectl tape verify`",
            ) from exc


@contextlib.contextmanager
def open_stored_tape(
    store: ObjectStore, barcode: str, which: WhichPoint, *, zone: timezone, keys: Path | Keyring
) -> Iterator[StoredTape]:
    """Yield a tape at one of its recovery points; `keys` are as for `unwrap_data_key`.

    Waits for the store. Raises BarcodeError, TapeNotFoundError, RecoveryPointNotFoundError,
    TapeStatusError (a cleaning cartridge), TapeKeyError, TapeUnreadableError, StoreError.
    """
    check_barcode(barcode)
    try:
        require_known(store)
    except ObjectNotFoundError:
        raise not_in_store(barcode) from None
    point = find_point(store, find_owner(store, barcode).ownership, which, zone)
    last = last_readable(store, barcode, point_numbers(store, barcode)) or point
    require_kept(point, last.head.oldest_point)
    head = point.head
    if head.cleaning:
        raise TapeStatusError(
            f"tape {barcode} is a cleaning cartridge and cannot be read", status=head.status
        )
    data_key = unwrap_data_key(keys, head, hint=_KEY_HINT)
    pool = ThreadPoolExecutor(_THREADS)
    try:
        places = StoredPlaces(last.head)
        runs = StoredRuns(store, places, uuid.UUID(head.tape_uuid), data_key, pool)
        yield StoredTape(head, _load_chain(store, point, places, runs, pool), runs)
    finally:
        pool.shutdown(cancel_futures=True)


def _load_chain(
    store: ObjectStore,
    point: Manifest,
    places: StoredPlaces,
    runs: StoredRuns,
    pool: Executor,
) -> Chain:
    """Return what counts at a point, and tell `places` where it is."""
    volume, barcode = point.head.volume, point.head.barcode

    def counts(summary: SegmentSummary, objects: int) -> tuple[int, int]:
        index = runs.index(summary)
        return index.filemarks_before(objects), index.data_bytes_before(objects)

    fold = ChainFold()
    try:
        for row in _rows(store, point, pool):
            places.add(row)
            summary = row.summary
            if summary.partition == 0 and volume.counts(summary.sequence):
                fold.add(summary)
        return fold.finish(counts)
    except ObjectArchivedError as exc:
        raise _archived(barcode, "its log cannot be read without what is") from exc
    except MediumFormatError as exc:
        raise StoreDataError(f"tape {barcode}: {exc}") from exc


def _rows(store: ObjectStore, point: Manifest, pool: Executor) -> Iterator[ManifestRow]:
    """Yield the rows of a log; of its pages a few are in memory."""
    numbers = range(len(point.page_epochs))
    pages = (partial(read_page, store, point, number) for number in numbers)
    for rows in ahead(pool, pages, depth=_PAGES_AHEAD):
        yield from rows
    yield from point.rows


def _archived(barcode: str, what: str, *, coming: bool = False) -> TapeStatusError:
    hint = (
        f"have its gateway retrieve it (`tapectl tape retrieve {barcode}`), or restore the objects"
        f" below tapes/{barcode}/archive/ at the store"
    )
    return TapeStatusError(
        f"tape {barcode}: {what} archived, and {'not there yet' if coming else 'not restored'}",
        status=TapeStatus.ARCHIVED,
        hint="they are being restored: try again later" if coming else hint,
    )
