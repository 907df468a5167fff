"""The recovery points of a tape, read from the store: its manifests and the log they name."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import timezone

from tapectl.errors import ExitCode, TapectlError
from tapectl.gateway.points_in_time import show_time
from tapectl.gateway.transfer.bucket_layout import manifest_key, manifests_prefix, page_key
from tapectl.gateway.transfer.ownership import Ownership, OwnershipObject, read_ownership
from tapectl.medium.errors import MediumFormatError, UnknownFormatError
from tapectl.medium.manifest import (
    PAGE_ROWS,
    Manifest,
    ManifestHead,
    ManifestRow,
    decode_manifest,
    decode_page,
)
from tapectl.state.errors import TapeNotFoundError
from tapectl.state.tape_status import TapeStatus
from tapectl.store.interface import (
    ObjectNotFoundError,
    ObjectStore,
    StoreDataError,
    StoreRefusedError,
)

# Points that an error names beside the one that is not there.
_NEAR = 2
# Recovery points that may be damaged, one after the other, before they say nothing of the others.
DAMAGED_MAX = 20


class RecoveryPointNotFoundError(TapectlError):
    """The tape has no such recovery point."""

    exit_code = ExitCode.RECOVERY_POINT
    code = "recovery_point_not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class WhichPoint:
    """A recovery point that is asked for: by its number, or the last one not after a time; the
    latest if it is neither."""

    number: int | None = None
    at_ms: int | None = None


def read_point(store: ObjectStore, barcode: str, number: int) -> Manifest:
    """Return one recovery point; raise ObjectNotFoundError, StoreDataError, StoreRefusedError (a
    later program has written it), StoreError."""
    key = manifest_key(barcode, number)
    try:
        return decode_manifest(store.get(key))
    except UnknownFormatError as error:
        # Not one to do without: it says where the data is.
        raise StoreRefusedError(
            f"{key}: {error}", hint="use the tapectl that wrote it, or a later one"
        ) from error
    except MediumFormatError as error:
        raise StoreDataError(f"{key}: {error}") from error


def blank_point(ownership: Ownership) -> Manifest:
    """Return what a manifest would say of a tape that has none: nothing was written on it yet."""
    head = ManifestHead(
        number=0,
        created_ms=ownership.created_ms,
        gateway_id=ownership.gateway_id,
        epoch=ownership.epoch,
        barcode=ownership.barcode,
        tape_uuid=ownership.tape_uuid,
        size_bytes=ownership.size_bytes,
        used_bytes=0,
        status=TapeStatus.AVAILABLE.value,
        pool=ownership.pool,
        worm=ownership.worm,
        generation=ownership.generation,
        cleaning=ownership.cleaning,
        encryption=ownership.encryption,
        kms_key=ownership.kms_key,
        data_key=ownership.data_key,
    )
    return Manifest(head, (), ())


def read_rows(store: ObjectStore, manifest: Manifest) -> Sequence[ManifestRow]:
    """Return all rows of a recovery point's log; raise StoreDataError, StoreError."""
    rows: list[ManifestRow] = []
    for number in range(len(manifest.page_epochs)):
        rows += read_page(store, manifest, number)
    return [*rows, *manifest.rows]


def read_page(store: ObjectStore, manifest: Manifest, number: int) -> Sequence[ManifestRow]:
    """Return the rows of one page of a log, from 0; raise StoreDataError, StoreError."""
    key = page_key(manifest.head.barcode, manifest.page_epochs[number], number)
    try:
        rows = decode_page(store.get(key), number)
    except (MediumFormatError, ObjectNotFoundError) as error:
        raise StoreDataError(f"{key}: {error}") from error
    assert len(rows) == PAGE_ROWS, "decode_page checks it"
    return rows


def last_sequence(store: ObjectStore, manifest: Manifest) -> int:
    """Return the sequence number of the last segment in a log, 0 if it has none."""
    rows = manifest.rows
    if not rows and manifest.page_epochs:
        rows = read_page(store, manifest, len(manifest.page_epochs) - 1)
    return rows[-1].summary.sequence if rows else 0


def latest_number(store: ObjectStore, barcode: str, known: int = 0) -> int:
    """Return the number of the latest recovery point, 0 if there is none.

    `known` is one that there is, or was, and from which numbers are taken one by one. Raises
    StoreError.
    """
    if known == 0 and not _is_there(store, barcode, 1):
        return max(point_numbers(store, barcode), default=0)
    step, low = 1, max(known, 1)
    while _is_there(store, barcode, low + step):
        low, step = low + step, step * 2
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        if _is_there(store, barcode, middle):
            low = middle
        else:
            high = middle
    return low


def point_numbers(store: ObjectStore, barcode: str) -> Sequence[int]:
    """Return the numbers of all recovery points of a tape, ascending; raise StoreError."""
    prefix = manifests_prefix(barcode)
    names = (info.key.removeprefix(prefix) for info in store.list(prefix))
    return sorted(int(name.removesuffix(".json")) for name in names)


def restorable_numbers(store: ObjectStore, barcode: str) -> Sequence[int]:
    """Return the numbers of the recovery points whose data is still kept, ascending; raise
    StoreError."""
    numbers = point_numbers(store, barcode)
    last = last_readable(store, barcode, numbers)
    return numbers if last is None else [one for one in numbers if one >= last.head.oldest_point]


def last_readable(store: ObjectStore, barcode: str, numbers: Sequence[int]) -> Manifest | None:
    """Return the latest of some recovery points that is not damaged, None if there is none; it says
    where all data is. Raises StoreError."""
    for number in reversed(numbers[-DAMAGED_MAX:]):
        with contextlib.suppress(ObjectNotFoundError, StoreDataError):
            return read_point(store, barcode, number)
    return None


def require_kept(point: Manifest, oldest_point: int) -> None:
    """Raise RecoveryPointNotFoundError if what a point needs has been let go of meanwhile."""
    number = point.head.number
    if number < oldest_point:
        raise RecoveryPointNotFoundError(
            f"tape {point.head.barcode} cannot be brought back to recovery point {number} any more:"
            " what was overwritten since has been let go of",
            hint=f"the first that can be restored is {oldest_point}",
        )


def read_points(
    store: ObjectStore, barcode: str, numbers: Sequence[int], pool: Executor
) -> Sequence[ManifestHead]:
    """Return recovery points by number; those that have gone meanwhile, or are damaged, are left
    out. Raises StoreError."""

    def read(number: int) -> ManifestHead | None:
        try:
            return read_point(store, barcode, number).head
        except (ObjectNotFoundError, StoreDataError):
            return None

    return [head for head in pool.map(read, numbers) if head is not None]


def find_owner(store: ObjectStore, barcode: str) -> OwnershipObject:
    """Return whose a tape is; raise TapeNotFoundError, also if it is being deleted, StoreError."""
    try:
        found = read_ownership(store, barcode)
    except ObjectNotFoundError:
        raise not_in_store(barcode) from None
    if found.ownership.deleted_ms is not None:
        raise not_in_store(barcode)
    return found


def not_in_store(barcode: str) -> TapeNotFoundError:
    """Return the error of a tape that the store does not have."""
    return TapeNotFoundError(barcode, hint="`tapectl recovery list` has the tapes of a bucket")


def find_point(
    store: ObjectStore, ownership: Ownership, wanted: WhichPoint, zone: timezone
) -> Manifest:
    """Return the recovery point that is asked for, of those whose data is kept; the latest of a
    tape without any is the blank tape.

    Raises RecoveryPointNotFoundError, which names those near it, and StoreError.
    """
    point = _find_point(store, ownership, wanted, zone)
    if point.head.tape_uuid != ownership.tape_uuid:
        raise RecoveryPointNotFoundError(
            f"{ownership.barcode} was another tape at that point",
            hint=f"run `tapectl recovery list {ownership.barcode}`",
        )
    return point


def _find_point(
    store: ObjectStore, ownership: Ownership, wanted: WhichPoint, zone: timezone
) -> Manifest:
    barcode = ownership.barcode
    numbers = restorable_numbers(store, barcode)
    if not numbers and wanted == WhichPoint():
        return blank_point(ownership)
    if not numbers:
        raise RecoveryPointNotFoundError(
            f"tape {barcode} has no recovery point", hint="nothing of it has reached the store yet"
        )
    if wanted.number is not None:
        if wanted.number in numbers:
            return read_point(store, barcode, wanted.number)
        near = sorted(numbers, key=lambda number: abs(number - (wanted.number or 0)))[:_NEAR]
        raise _not_found(store, barcode, f"number {wanted.number}", sorted(near), zone)
    if wanted.at_ms is None:
        return read_point(store, barcode, numbers[-1])
    low, high = -1, len(numbers)
    while high - low > 1:
        middle = (low + high) // 2
        if read_point(store, barcode, numbers[middle]).head.created_ms <= wanted.at_ms:
            low = middle
        else:
            high = middle
    if low < 0:
        text = f"as early as {show_time(wanted.at_ms, zone)}"
        raise _not_found(store, barcode, text, numbers[:_NEAR], zone)
    return read_point(store, barcode, numbers[low])


def _not_found(
    store: ObjectStore, barcode: str, what: str, near: Sequence[int], zone: timezone
) -> RecoveryPointNotFoundError:
    times = [
        f"{number} of {show_time(read_point(store, barcode, number).head.created_ms, zone)}"
        for number in near
    ]
    return RecoveryPointNotFoundError(
        f"tape {barcode} has no recovery point {what}", hint=f"near it are {', '.join(times)}"
    )


def _is_there(store: ObjectStore, barcode: str, number: int) -> bool:
    try:
        store.head(manifest_key(barcode, number))
    except ObjectNotFoundError:
        return False
    return True
