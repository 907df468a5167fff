"""The tapes as the state has them: chains, statuses that do not move, elements."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from tapectl.gateway.check.findings import Code, Finding, of_gateway, of_tape
from tapectl.gateway.check.view import CheckView
from tapectl.gateway.elements import ElementMap
from tapectl.gateway.keyring import TapeKeyError
from tapectl.gateway.tape_keys import require_key
from tapectl.medium.chain import Chain
from tapectl.medium.errors import ChainGapError
from tapectl.medium.summary import SegmentSummary
from tapectl.medium.volume import VolumeRecord
from tapectl.scsi.library import ElementType
from tapectl.state import segments, volumes
from tapectl.state.tape_status import LOADABLE, TapeStatus
from tapectl.state.tapes import TapeRecord
from tapectl.units import format_size

_HOUR_MS = 3_600_000
# Segments of a tape at once.
_ROWS = 2048
# How long each step takes at most while something works on it. A Bulk retrieval from Deep Archive
# takes 48 hours, and a full tape a day to copy.
_LONG_MS = {
    TapeStatus.CREATING: _HOUR_MS,
    TapeStatus.DELETING: 24 * _HOUR_MS,
    TapeStatus.IN_TRANSIT_TO_VTS: 24 * _HOUR_MS,
    TapeStatus.ARCHIVING: 24 * _HOUR_MS,
    TapeStatus.RETRIEVING: 60 * _HOUR_MS,
}


def tape_findings(view: CheckView) -> Iterator[Finding]:
    """Yield what is wrong with tapes, and whether uploads wait for nobody."""
    elements = ElementMap.of(view.gateway)
    for tape in view.tapes.values():
        if tape.status is not TapeStatus.DELETED:
            yield from _status(view, tape)
            yield from _element(elements, tape)
            if tape.status is not TapeStatus.DELETING:
                yield from _chain(view, tape)
    yield from _keys(view)
    yield from _backlog(view)


def _status(view: CheckView, tape: TapeRecord) -> Iterator[Finding]:
    if tape.status is TapeStatus.IRRECOVERABLE:
        reason = tape.status_detail or "no reason is known"
        yield of_tape(Code.TAPE_IRRECOVERABLE, tape.barcode, f"irrecoverable: {reason}")
        return
    if tape.status_detail is not None:
        message = f"{tape.status} and waits: {tape.status_detail}"
        yield of_tape(Code.TAPE_WAITS, tape.barcode, message)
    since_ms = max(tape.status_at_ms, tape.hold_until_ms or 0)
    long_ms = _LONG_MS.get(tape.status)
    if view.serving.served and long_ms is not None and view.now_ms - since_ms > long_ms:
        hours = (view.now_ms - since_ms) // _HOUR_MS
        yield of_tape(Code.TAPE_STUCK, tape.barcode, f"{tape.status} for {hours} hours")


def misplaced_tapes(view: CheckView) -> Iterator[TapeRecord]:
    """Yield the tapes in an element that is none of theirs, or in none where they need one."""
    elements = ElementMap.of(view.gateway)
    for tape in view.tapes.values():
        if tape.status is not TapeStatus.DELETED and any(_element(elements, tape)):
            yield tape


def _element(elements: ElementMap, tape: TapeRecord) -> Iterator[Finding]:
    address = tape.element_address
    if address is None:
        if tape.status in LOADABLE:
            message = f"{tape.status} and in no slot of the library"
            yield of_tape(Code.TAPE_ELEMENT, tape.barcode, message)
        return
    element_type = elements.type_of(address)
    if element_type is None:
        message = f"in element {address}, which the library does not have"
        yield of_tape(Code.TAPE_ELEMENT, tape.barcode, message)
    elif element_type is ElementType.DATA_TRANSFER and tape.status not in LOADABLE:
        message = f"in {elements.name(address)}, and {tape.status}"
        yield of_tape(Code.TAPE_ELEMENT, tape.barcode, message)


def _chain(view: CheckView, tape: TapeRecord) -> Iterator[Finding]:
    """Fold the chain as a load does; what is in no row yet would close no gap before it."""
    gaps: list[ChainGapError] = []
    with view.state.read() as db:
        row = volumes.get(db, tape.barcode)
        volume = VolumeRecord.from_document(row.document) if row else VolumeRecord()
        for number in range(len(volume.partition_bytes) or 1):
            try:
                Chain.fold(_counting(db, tape, volume), _nothing, partition=number)
            except ChainGapError as exc:
                gaps.append(exc)
    for gap in gaps:
        yield of_tape(Code.TAPE_GAP, tape.barcode, str(gap))


def _counting(
    db: sqlite3.Connection, tape: TapeRecord, volume: VolumeRecord
) -> Iterator[SegmentSummary]:
    """Yield the segments that no undo has taken away, a few of a long tape at a time."""
    after = -1
    while records := segments.of_tape_after(db, tape.barcode, after, limit=_ROWS):
        after = records[-1].sequence
        yield from (one.summary for one in records if volume.counts(one.sequence))


def _nothing(_summary: SegmentSummary, _objects: int) -> tuple[int, int]:
    """Counts of a segment voided in part, which the gaps do not depend on."""
    return 0, 0


def _keys(view: CheckView) -> Iterator[Finding]:
    """Every encrypted tape needs its key: what no uploaded byte can be read without."""
    encrypted = [
        tape
        for tape in view.tapes.values()
        if tape.data_key is not None and tape.status is not TapeStatus.DELETED
    ]
    for tape in encrypted:
        try:
            require_key(view.state.path, tape)
        except TapeKeyError as exc:
            yield of_tape(Code.TAPE_KEY_MISSING, tape.barcode, exc.message)


def _backlog(view: CheckView) -> Iterator[Finding]:
    with view.state.read() as db:
        waiting = segments.waiting_bytes_by_tape(db)
    if waiting and not view.drives_run:
        amount = format_size(sum(waiting.values()))
        message = f"{amount} of {len(waiting)} tapes wait for an upload, and nothing serves"
        yield of_gateway(Code.UPLOAD_BACKLOG, view.gateway.id, message, sorted(waiting))
