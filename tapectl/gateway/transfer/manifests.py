"""Recovery points: puts a manifest of a tape, after the objects it names."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tapectl.gateway.transfer.bucket_layout import manifest_key, page_key
from tapectl.gateway.transfer.context import TransferContext
from tapectl.gateway.transfer.object_options import record_options
from tapectl.gateway.transfer.ownership import FencedError
from tapectl.medium.manifest import (
    PAGE_ROWS,
    ArchiveObject,
    ManifestHead,
    ManifestRow,
    decode_manifest,
    encode_manifest,
    encode_page,
)
from tapectl.medium.volume import VolumeRecord
from tapectl.state import archive_objects, segments, tags, tapes, volumes
from tapectl.state.overwritten import decode_ranges
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeRecord
from tapectl.state.transfer_queries import epochs_of_rows, last_uploaded, uploaded_by_epoch
from tapectl.store.interface import PreconditionFailedError

# Each number that is taken stands for a crash between a manifest and its entry in the state.
_TAKEN_NUMBERS_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPoint:
    """What a manifest says beyond what the state has: `added` segments are in the store since, and
    `composed` holds the next ones that are archived."""

    added: Sequence[ManifestRow] = ()
    status: TapeStatus | None = None
    composed: ArchiveObject | None = None


@dataclass(frozen=True, slots=True)
class PutManifest:
    """The number of a manifest in the store, the version of the volume record it holds, and what
    it says of pool and tags."""

    number: int
    volume_version: int
    facts: tuple[str, str, int | None]


def note_manifest(db: sqlite3.Connection, barcode: str, put: PutManifest) -> None:
    """Enter what the store knows now; the number is entered with what it is for."""
    volumes.record_manifest(db, barcode, put.volume_version)
    tape = tapes.find(db, barcode)
    if tape is not None and tape.manifest_stale and _facts(tape) == put.facts:
        tapes.update(db, barcode, manifest_stale=0)


def put_manifest(context: TransferContext, barcode: str, point: RecoveryPoint) -> PutManifest:
    """Put the next manifest of a tape, which is not in the state yet, and return what it is.

    A crash after it costs nothing: its number is taken, and the next one says the same and more.
    Raises FencedError if another gateway has put manifests.
    """
    with context.state.read() as db:
        tape = tapes.get(db, barcode)
        row = volumes.get(db, barcode)
        volume = VolumeRecord.from_document(row.document) if row else VolumeRecord()
        used_bytes = _used_bytes(db, tape, volume, point)
        by_epoch = uploaded_by_epoch(db, barcode)
        count = sum(uploaded for _, uploaded in by_epoch)
        first_page = count // PAGE_ROWS
        known = last_uploaded(db, barcode, count=count - first_page * PAGE_ROWS)
        composed = archive_objects.of_tape(db, barcode)
    page_epochs = epochs_of_rows(by_epoch, range(PAGE_ROWS - 1, count, PAGE_ROWS))
    rows = [
        ManifestRow(record.summary, record.object_bytes or 0, record.store_epoch or 0)
        for record in known
    ]
    rows += point.added
    pages = (count + len(point.added)) // PAGE_ROWS
    options = record_options(tape)
    for page in range(first_page, pages):
        start = (page - first_page) * PAGE_ROWS
        key = page_key(barcode, tape.store_epoch, page)
        content = encode_page(page, rows[start:][:PAGE_ROWS])
        context.store.put(key, content, options=options)
        page_epochs.append(tape.store_epoch)
    tail = rows[(pages - first_page) * PAGE_ROWS :]
    if point.composed is not None:
        composed = [*composed, point.composed]
    for number in range(tape.manifest_number + 1, tape.manifest_number + _TAKEN_NUMBERS_MAX):
        head = replace(
            _head(context, tape, point),
            number=number,
            used_bytes=used_bytes,
            archive_objects=composed,
            volume=volume,
        )
        try:
            context.store.put_if_absent(
                manifest_key(barcode, number),
                encode_manifest(head, page_epochs, tail),
                options=options,
            )
        except PreconditionFailedError:
            _require_ours(context, head)
        else:
            return PutManifest(number, row.version if row else 0, _facts(tape))
    raise FencedError(f"tape {barcode} has manifests this gateway knows nothing of")


def _head(context: TransferContext, tape: TapeRecord, point: RecoveryPoint) -> ManifestHead:
    """Return what a manifest says of a tape as the state has it, but for what the segments that it
    names come to, and the volume record."""
    composed = point.composed
    return ManifestHead(
        number=0,
        created_ms=context.now_ms(),
        gateway_id=context.gateway.id,
        epoch=tape.store_epoch,
        barcode=tape.barcode,
        tape_uuid=tape.tape_uuid,
        size_bytes=tape.size_bytes,
        used_bytes=0,
        status=(point.status or tape.status).value,
        pool=tape.pool_id,
        worm=tape.worm,
        generation=tape.generation,
        cleaning=tape.cleaning,
        archived_through=(
            tape.archived_through_sequence if composed is None else composed.last_sequence
        ),
        tags=tags.decode(tape.tags),
        pool_entered_ms=tape.pool_entered_at_ms,
        retention_start_ms=tape.retention_start_at_ms,
        retention_mode=tape.retention_mode,
        retained_until_ms=tape.retained_until_ms,
        encryption=tape.encryption,
        kms_key=tape.kms_key,
        data_key=tape.data_key,
        expired=decode_ranges(tape.expired),
        oldest_point=tape.oldest_point,
    )


def _used_bytes(
    db: sqlite3.Connection, tape: TapeRecord, volume: VolumeRecord, point: RecoveryPoint
) -> int:
    """Return the user data that the segments of a point hold: on the tape may be more by now, in
    segments that are on their way or still written. Where the last one of them does not say what
    stands before it, return what is on the tape."""
    last = [row.summary for row in point.added[-1:]] or [
        record.summary for record in last_uploaded(db, tape.barcode, count=1)
    ]
    through = last[0].sequence if last else 0
    found = volume.used_bytes(
        lambda partition: segments.latest_first(
            db, tape.barcode, through=through, partition=partition
        )
    )
    return tape.used_bytes if found is None else found


def _facts(tape: TapeRecord) -> tuple[str, str, int | None]:
    """Return what commands may change of a tape at any time and manifests say."""
    return tape.pool_id, tape.tags, tape.retained_until_ms


def _require_ours(context: TransferContext, wanted: ManifestHead) -> None:
    found = decode_manifest(context.store.get(manifest_key(wanted.barcode, wanted.number))).head
    if (found.gateway_id, found.epoch) != (wanted.gateway_id, wanted.epoch):
        raise FencedError(f"tape {wanted.barcode} has manifests of gateway {found.gateway_id}")
