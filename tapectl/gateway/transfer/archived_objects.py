"""The objects of an archived tape, in the order of its segments: what a retrieval asks for, and
what is left below `archive/` when it has been archived."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from tapectl.gateway.transfer.bucket_layout import archive_key
from tapectl.gateway.transfer.stored_segment import copied_key
from tapectl.state import archive_objects
from tapectl.state.tapes import TapeRecord
from tapectl.state.transfer_queries import stored_after


@dataclass(frozen=True, slots=True)
class ArchivedObject:
    """An object below `archive/`, and the last segment in it."""

    key: str
    last_sequence: int


def archived_after(
    db: sqlite3.Connection, tape: TapeRecord, sequence: int, *, limit: int
) -> Sequence[ArchivedObject]:
    """Return up to `limit` archived objects of a tape by ascending sequence, those after one whose
    last segment is `sequence`."""
    barcode, through = tape.barcode, tape.archived_through_sequence
    if through is None or sequence >= through:
        return []
    first_composed = archive_objects.first_sequence(db, barcode)
    copied_through = through if first_composed is None else first_composed - 1
    found = [
        ArchivedObject(copied_key(record), record.sequence)
        for record in stored_after(db, barcode, sequence, limit=limit)
        if record.sequence <= copied_through
    ]
    if len(found) < limit:
        found += [
            ArchivedObject(archive_key(barcode, one), one.last_sequence)
            for one in archive_objects.of_tape_after(
                db, barcode, sequence, limit=limit - len(found)
            )
        ]
    return found
