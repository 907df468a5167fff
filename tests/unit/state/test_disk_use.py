"""What sealed segments take of each disk, told without adding it up."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tapectl.medium.summary import SegmentSummary
from tapectl.state import disks, segments, tapes
from tapectl.state.database import State
from tapectl.state.disks import DiskRecord, DiskRole
from tapectl.state.migrations import MIGRATIONS, migrate
from tapectl.state.segments import SegmentRecord
from tapectl.state.tapes import Stamp, TapeRecord

CACHES, BUFFERS = ("disk-c0", "disk-c1"), ("disk-b0", "disk-b1")
BARCODES = ("VTL001", "VTL002")


def add_disk(db: sqlite3.Connection, disk_id: str, role: DiskRole) -> None:
    record = DiskRecord(
        id=disk_id,
        role=role,
        path=Path("/", disk_id),
        device_node=None,
        size_bytes=1 << 40,
        created_at_ms=1,
    )
    disks.insert(db, record)


def summed(db: sqlite3.Connection) -> Mapping[str, int]:
    """Add up what the rows say."""
    taken = Counter[str]()
    for cache, buffer, size in db.execute(
        "SELECT cache_disk_id, buffer_disk_id, file_bytes FROM segment"
    ):
        taken.update({disk: size for disk in (cache, buffer) if disk is not None})
    return taken


@pytest.fixture
def db(state: State) -> Iterator[sqlite3.Connection]:
    with state.write() as db:
        for disk_id in (*CACHES, *BUFFERS):
            role = DiskRole.CACHE_STORAGE if disk_id in CACHES else DiskRole.UPLOAD_BUFFER
            add_disk(db, disk_id, role)
        for barcode in BARCODES:
            record = TapeRecord(
                barcode=barcode,
                tape_uuid=barcode,
                size_bytes=1,
                pool_id="GLACIER",
                created_at_ms=1,
                status_at_ms=1,
            )
            tapes.insert(db, record, Stamp("test", 1))
        yield db


def test_it_is_the_sum_whatever_became_of_segments(db: sqlite3.Connection) -> None:
    choose = random.Random(7)
    for _ in range(400):
        barcode, sequence = choose.choice(BARCODES), choose.randrange(20)
        cache, buffer = choose.choice((*CACHES, None)), choose.choice((*BUFFERS, None))
        match choose.randrange(12):
            case 0:
                segments.clear_buffer_disk(db, barcode, sequence)
            case 1 if buffer is not None:
                segments.set_buffer_disk(db, barcode, sequence, buffer)
            case 2 | 3:
                segments.set_cache_disk(db, barcode, sequence, cache)
            case 4 if cache is not None and choose.random() < 0.2:
                segments.forget_disk(db, cache)
            case 5 if choose.random() < 0.2:
                segments.delete_waiting(db, barcode)
            case 6:
                segments.mark_uploaded(db, barcode, sequence, object_bytes=1, now_ms=1)
            case _:
                summary = SegmentSummary(sequence, 0, 10, 1, 900, choose.randrange(1, 1 << 26))
                record = SegmentRecord(
                    barcode=barcode,
                    summary=summary,
                    sealed_at_ms=1,
                    cache_disk_id=cache,
                    buffer_disk_id=buffer,
                )
                segments.insert(db, record)
        assert Counter(segments.bytes_by_disk(db)) == summed(db)
    assert all(segments.bytes_by_disk(db)[disk_id] for disk_id in (*CACHES, *BUFFERS))


def test_a_disk_that_goes_leaves_nothing(db: sqlite3.Connection) -> None:
    disks.delete(db, CACHES[0])
    assert set(segments.bytes_by_disk(db)) == {CACHES[1], *BUFFERS}


def test_what_an_older_version_has_written_counts() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    step = next(n for n, sql in enumerate(MIGRATIONS) if "CREATE TABLE disk_use" in sql)
    migrate(db, MIGRATIONS[:step])
    db.executemany(
        "INSERT INTO disk (id, role, path, size_bytes, created_at_ms) VALUES (?, ?, ?, 1, 1)",
        [("c", "CACHE_STORAGE", "/c"), ("b", "UPLOAD_BUFFER", "/b"), ("n", "UPLOAD_BUFFER", "/n")],
    )
    db.execute(
        "INSERT INTO tape (barcode, tape_uuid, size_bytes, status, pool_id, created_at_ms,"
        " status_at_ms) VALUES ('TAPE01', 'u', 1, 'AVAILABLE', 'GLACIER', 0, 0)"
    )
    db.executemany(
        "INSERT INTO segment (barcode, sequence, first_object, object_count, filemark_count,"
        " data_bytes, file_bytes, sealed_at_ms, cache_disk_id, buffer_disk_id, last_read_at_ms)"
        " VALUES ('TAPE01', ?, 0, 0, 0, 0, ?, 0, ?, ?, 0)",
        [(1, 100, "c", "b"), (2, 1000, "c", None), (3, 10_000, None, None)],
    )
    migrate(db)
    assert segments.bytes_by_disk(db) == {"c": 1100, "b": 100, "n": 0}
