"""The names in the store against the state: ownership, manifests, segments. Reads no data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from tapectl.gateway.check.copies import segment_list
from tapectl.gateway.check.findings import Code, Finding, of_gateway, of_tape
from tapectl.gateway.check.view import CheckView
from tapectl.gateway.transfer.bucket_layout import (
    manifest_key,
    ownership_key,
    segments_prefix,
    sequence_of,
    tape_prefix,
)
from tapectl.gateway.transfer.ownership import read_ownership
from tapectl.gateway.transfer.stored_segment import locate_all
from tapectl.state import segments, tapes
from tapectl.state.segments import SegmentRecord
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import TapeRecord
from tapectl.store.interface import (
    ObjectInfo,
    ObjectNotFoundError,
    ObjectStore,
    StoreDataError,
    StoreError,
)

# Nothing of these is in the store, or it is on its way out.
_NOT_THERE = frozenset({TapeStatus.CREATING, TapeStatus.DELETING, TapeStatus.DELETED})


def store_findings(view: CheckView, store: ObjectStore) -> Iterator[Finding]:
    """Yield what the store lacks, or has and nobody knows."""
    try:
        store.check()  # a new gateway has nothing there to be looked at
        for tape in view.tapes.values():
            if tape.status not in _NOT_THERE and tape.store_epoch:
                yield from _tape(view, store, tape)
    except StoreError as exc:
        yield of_gateway(Code.STORE_UNREACHABLE, view.gateway.id, exc.message)


def missing_objects(
    view: CheckView, tape: TapeRecord, found: Mapping[str, ObjectInfo]
) -> Iterator[SegmentRecord]:
    """Yield the uploaded segments whose object is not in the store, or is shorter than it was."""
    with view.state.read() as db:
        for record, place in locate_all(db, tape.barcode):
            info = found.get(place.key)
            if info is None or info.size_bytes < place.offset + place.size_bytes:
                yield record


def list_tape(store: ObjectStore, barcode: str) -> Mapping[str, ObjectInfo]:
    """Return all objects of a tape by key; raise StoreError."""
    found = {info.key: info for info in store.list(tape_prefix(barcode))}
    with contextlib.suppress(ObjectNotFoundError):
        found[ownership_key(barcode)] = store.head(ownership_key(barcode))
    return found


def _tape(view: CheckView, store: ObjectStore, tape: TapeRecord) -> Iterator[Finding]:
    if _is_moving(view, store, tape):
        return  # the next pass of the transfer engine sees to it
    found = list_tape(store, tape.barcode)
    # What has changed while the list was made is judged by what the state says now.
    missing = [record.sequence for record in missing_objects(view, tape, found)]
    if missing:
        found = list_tape(store, tape.barcode)
        missing = [record.sequence for record in missing_objects(view, tape, found)]
    if missing:
        message = f"{segment_list(missing)} not in the store, where the state has them"
        yield of_tape(Code.STORE_OBJECT_MISSING, tape.barcode, message)
    owner = found.get(ownership_key(tape.barcode))
    if owner is None:
        message = "no ownership object in the store"
        yield of_tape(Code.STORE_OWNERSHIP, tape.barcode, message)
    elif owner.etag != tape.store_etag and tape.status is not TapeStatus.IRRECOVERABLE:
        message = "the ownership object in the store is not the one this gateway put there"
        yield of_tape(Code.STORE_OWNERSHIP, tape.barcode, message)
    if tape.manifest_number and manifest_key(tape.barcode, tape.manifest_number) not in found:
        message = f"manifest {tape.manifest_number}, its latest, is not in the store"
        yield of_tape(Code.STORE_MANIFEST_MISSING, tape.barcode, message)
    unknown = _unknown(view, tape, found)
    if unknown:
        message = f"{segment_list(unknown)} in the store that the state does not know"
        yield of_tape(Code.STORE_OBJECT_UNKNOWN, tape.barcode, message)


def _is_moving(view: CheckView, store: ObjectStore, tape: TapeRecord) -> bool:
    """Whether another gateway has just retrieved a tape from the shelf of this one, or this one is
    just saying in the store that it is on the shelf, or is not any more."""
    with view.state.read() as db:
        now = tapes.find(db, tape.barcode) or tape
    if now.status not in (TapeStatus.ARCHIVED, TapeStatus.RETRIEVING):
        return False
    try:
        found = read_ownership(store, tape.barcode)
    except (ObjectNotFoundError, StoreDataError):
        return False
    if found.etag == now.store_etag or found.ownership.tape_uuid != tape.tape_uuid:
        return False
    return now.on_shelf is None or found.ownership.gateway_id != view.gateway.id


def _unknown(view: CheckView, tape: TapeRecord, found: Mapping[str, ObjectInfo]) -> list[int]:
    prefix = segments_prefix(tape.barcode)
    numbers = {sequence_of(key) for key in found if key.startswith(prefix)}
    with view.state.read() as db:
        known = frozenset(segments.sequences(db, tape.barcode))
    return sorted(numbers - known)
