"""Recovery points: puts a manifest of a tape, after the objects it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tapectl.gateway.transfer.bucket_layout import manifest_key, page_key
from tapectl.gateway.transfer.context import TransferContext
from tapectl.gateway.transfer.ownership import FencedError
from tapectl.medium.manifest import (
    PAGE_ROWS,
    ManifestHead,
    ManifestRow,
    decode_manifest,
    encode_manifest,
    encode_page,
)
from tapectl.state import tapes
from tapectl.state.tape_status import TapeStatus
from tapectl.state.transfer_queries import uploaded_count, uploaded_rows
from tapectl.store.interface import PreconditionFailedError

# Each number that is taken stands for a crash between a manifest and its entry in the state.
_TAKEN_NUMBERS_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPoint:
    """What a manifest says beyond what the state has: `added` segments are in the store since."""

    added: Sequence[ManifestRow] = ()
    status: TapeStatus | None = None
    archived_through: int | None = None


def put_manifest(context: TransferContext, barcode: str, point: RecoveryPoint) -> int:
    """Put the next manifest of a tape and return its number, which is not in the state yet.

    A crash after it costs nothing: its number is taken, and the next one says the same and more.
    Raises FencedError if another gateway has put manifests.
    """
    with context.state.read() as db:
        tape = tapes.get(db, barcode)
        count = uploaded_count(db, barcode)
        first_page = count // PAGE_ROWS
        known = uploaded_rows(
            db, barcode, first=first_page * PAGE_ROWS, limit=count - first_page * PAGE_ROWS
        )
    rows = [ManifestRow(record.summary, record.object_bytes or 0) for record in known]
    rows += point.added
    pages = (count + len(point.added)) // PAGE_ROWS
    for page in range(first_page, pages):
        start = (page - first_page) * PAGE_ROWS
        context.store.put(page_key(barcode, page), encode_page(page, rows[start:][:PAGE_ROWS]))
    tail = rows[(pages - first_page) * PAGE_ROWS :]
    through = point.archived_through
    for number in range(tape.manifest_number + 1, tape.manifest_number + _TAKEN_NUMBERS_MAX):
        head = ManifestHead(
            number=number,
            created_ms=context.now_ms(),
            gateway_id=context.gateway.id,
            epoch=tape.store_epoch,
            barcode=barcode,
            tape_uuid=tape.tape_uuid,
            size_bytes=tape.size_bytes,
            used_bytes=tape.used_bytes,
            status=(point.status or tape.status).value,
            pool=tape.pool_id,
            worm=tape.worm,
            archived_through=tape.archived_through_sequence if through is None else through,
        )
        try:
            context.store.put_if_absent(
                manifest_key(barcode, number), encode_manifest(head, pages, tail)
            )
        except PreconditionFailedError:
            _require_ours(context, head)
        else:
            return number
    raise FencedError(f"tape {barcode} has manifests this gateway knows nothing of")


def _require_ours(context: TransferContext, wanted: ManifestHead) -> None:
    found = decode_manifest(context.store.get(manifest_key(wanted.barcode, wanted.number))).head
    if (found.gateway_id, found.epoch) != (wanted.gateway_id, wanted.epoch):
        raise FencedError(f"tape {wanted.barcode} has manifests of gateway {found.gateway_id}")
