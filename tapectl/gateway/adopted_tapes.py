"""The rows of tapes in the state of a machine that becomes their gateway.

Two sources: the tape's last manifest, which is right about its data; and what the old machine
last said of its state, which knows the element, the times and statuses that need no manifest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields, replace

from tapectl.gateway.elements import ElementMap
from tapectl.gateway.takeover import TakenTape, with_head
from tapectl.scsi.library import ElementType
from tapectl.state.inventory import Row
from tapectl.state.pools import BUILT_IN
from tapectl.state.tape_status import LOADABLE, WRITE_PROTECTED, TapeStatus
from tapectl.state.tapes import OUT_OF_LIBRARY, Stamp, TapeRecord

_COLUMNS = frozenset(field.name for field in fields(TapeRecord))
_BOOLEANS = frozenset(field.name for field in fields(TapeRecord) if field.type == "bool")


def adopted_tape(taken: TakenTape, row: Row | None, by: Stamp) -> TapeRecord:
    """Return a tape that is ours; `row` is what the old machine last said of it, if it did."""
    head, ownership = taken.head, taken.owned.ownership
    before = tape_of_row(row) if row is not None and row["tape_uuid"] == head.tape_uuid else None
    # Our own manifest came after the last one of the old machine.
    newer = before is None or head.number - 1 > before.manifest_number
    status = TapeStatus(head.status) if newer or before is None else before.status
    if ownership.deleted_ms is not None:
        status = TapeStatus.DELETING
    elif head.status == TapeStatus.IRRECOVERABLE:
        status = TapeStatus.IRRECOVERABLE
    elif status is TapeStatus.CREATING:
        status = TapeStatus.AVAILABLE
    tape = before or TapeRecord(
        barcode=head.barcode,
        tape_uuid=head.tape_uuid,
        size_bytes=head.size_bytes,
        pool_id=head.pool,
        worm=head.worm,
        created_at_ms=ownership.created_ms,
        status_at_ms=by.at_ms,
        generation=head.generation,
        cleaning=head.cleaning,
    )
    if status is TapeStatus.IN_TRANSIT_TO_VTS and tape.previous_status is None:
        tape = replace(tape, previous_status=TapeStatus.AVAILABLE)
    if status in WRITE_PROTECTED or status is TapeStatus.AVAILABLE:
        tape = replace(tape, write_protected=status in WRITE_PROTECTED)
    if newer:
        tape = replace(with_head(tape, head), status_detail=None, progress=None)
    return replace(
        tape,
        status=status,
        used_bytes=head.used_bytes,
        manifest_number=head.number,
        archived_through_sequence=head.archived_through,
        store_epoch=ownership.epoch,
        store_etag=taken.owned.etag,
    )


def tape_of_row(row: Row) -> TapeRecord:
    """Return a tape as the old machine's state had it."""
    values: dict[str, object] = {name: row[name] for name in _COLUMNS if name in row}
    for name in _BOOLEANS & values.keys():
        values[name] = bool(values[name])
    values["status"] = TapeStatus(str(row["status"]))
    if values.get("previous_status") is not None:
        values["previous_status"] = TapeStatus(str(values["previous_status"]))
    return TapeRecord(**values)  # type: ignore[arg-type]  # the columns of a state like ours


def irrecoverable(tape: TapeRecord, reason: str) -> TapeRecord:
    """Return a tape whose log the store has lost."""
    return replace(tape, status=TapeStatus.IRRECOVERABLE, status_detail=reason)


def settle(
    tapes: Sequence[TapeRecord], elements: ElementMap, pool_ids: Collection[str]
) -> Iterator[TapeRecord]:
    """Yield the tapes, each in an element of its own where its status needs one.

    An element that the library does not have, or that two tapes claim, is exchanged for a free
    slot. A pool that nothing is known of becomes the first built-in one.
    """
    occupied: set[int] = set()
    placed: list[TapeRecord] = []
    homeless: list[TapeRecord] = []
    for tape in tapes:
        address = tape.element_address
        if (
            tape.status in OUT_OF_LIBRARY
            or address in occupied
            or (address is not None and elements.type_of(address) is None)
        ):
            address = None
        if address is None and tape.status in LOADABLE | {TapeStatus.CREATING}:
            homeless.append(tape)
            continue
        if address is not None:
            occupied.add(address)
        placed.append(replace(tape, element_address=address))
    for tape in homeless:
        free = elements.first_free(ElementType.STORAGE, occupied)
        free = free or elements.first_free(ElementType.IMPORT_EXPORT, occupied)
        occupied.update(free)
        placed.append(replace(tape, element_address=free[0] if free else None))
    for tape in placed:
        yield tape if tape.pool_id in pool_ids else replace(tape, pool_id=BUILT_IN[0])
