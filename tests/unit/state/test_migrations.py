"""Migrations: whole or not at all, once, and every column explained."""

from __future__ import annotations

import re
import sqlite3
import threading
from pathlib import Path

import pytest

from tapectl.state.migrations import MIGRATIONS, migrate
from tests.support.closing import closed_at_end


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=10)


@pytest.fixture
def db(tmp_path: Path) -> sqlite3.Connection:
    return closed_at_end(connect(tmp_path / "db"))


def version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def tables(db: sqlite3.Connection) -> set[str]:
    return {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


STEPS = (
    "CREATE TABLE one (a INTEGER) STRICT;",
    "CREATE TABLE two (a INTEGER) STRICT;\nINSERT INTO one VALUES (1);\n",
)


def test_every_step_runs_once(db: sqlite3.Connection) -> None:
    assert migrate(db, STEPS) == 2
    assert migrate(db, STEPS) == 2
    assert db.execute("SELECT count(*) FROM one").fetchone() == (1,)


def test_a_step_that_fails_half_way_leaves_the_version_before_it(db: sqlite3.Connection) -> None:
    broken = (*STEPS, "CREATE TABLE three (a INTEGER);\nINSERT INTO nothing VALUES (1);")
    with pytest.raises(sqlite3.OperationalError):
        migrate(db, broken)
    assert version(db) == 2
    assert tables(db) == {"one", "two"}
    assert not db.in_transaction
    # Repaired, the next run goes on from there.
    assert migrate(db, (*STEPS, "CREATE TABLE three (a INTEGER);")) == 3


def test_every_statement_of_the_real_schema_may_fail(tmp_path: Path) -> None:
    statements = MIGRATIONS[0].split(";\n")
    for cut in range(1, len(statements)):
        db = connect(tmp_path / f"db{cut}")
        half = ";\n".join(statements[:cut]) + ";\nSELECT * FROM nothing;\n"
        with pytest.raises(sqlite3.OperationalError):
            migrate(db, (half,))
        assert version(db) == 0
        assert tables(db) == set()
        db.close()


def test_an_unfinished_statement_is_no_migration(db: sqlite3.Connection) -> None:
    with pytest.raises(ValueError, match="unfinished"):
        migrate(db, ("CREATE TABLE one (a INTEGER",))
    assert version(db) == 0
    assert not db.in_transaction


def test_two_processes_that_come_at_once_run_each_step_once(tmp_path: Path) -> None:
    path = tmp_path / "db"
    seed = closed_at_end(connect(path))
    seed.execute("PRAGMA journal_mode = WAL")
    failures: list[BaseException] = []

    def run() -> None:
        try:
            db = connect(path)
            migrate(db, STEPS)
            db.close()
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert seed.execute("SELECT count(*) FROM one").fetchone() == (1,)


def test_every_table_is_strict_and_explained(db: sqlite3.Connection) -> None:
    migrate(db)
    for name, sql in db.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ):
        assert re.search(r"STRICT(, WITHOUT ROWID)?$", sql), name
        assert "--" in sql.splitlines()[1], f"{name} does not say what it is"


def test_a_migrated_database_is_sound(db: sqlite3.Connection) -> None:
    migrate(db)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.parametrize(
    ("changer_type", "import_export", "there"),
    [
        ("STK-L700", 490, 12),
        ("STK-L700", 491, 20002),
        ("IBM-03584L32-0402", 256, 771),
        ("IBM-03584L32-0402", 257, 20002),
        ("AWS-Gateway-VTL", 10, 20002),
    ],
)
def test_import_export_slots_move_to_their_real_addresses(
    db: sqlite3.Connection, changer_type: str, import_export: int, there: int
) -> None:
    step = next(n for n, sql in enumerate(MIGRATIONS) if "'STK-L700'" in sql)
    migrate(db, MIGRATIONS[:step])
    db.execute(
        "INSERT INTO gateway VALUES (1, 'sgw-00000001', 'gw', 'GMT', NULL, 'file:///x', NULL, NULL,"
        " ?, 'd', 1, 10, ?, 'iqn', '00000000', 0)",
        (changer_type, import_export),
    )
    db.execute(
        "INSERT INTO tape (barcode, tape_uuid, size_bytes, status, pool_id, element_address,"
        " source_element, created_at_ms, status_at_ms)"
        " VALUES ('TAPE01', 'u', 1, 'AVAILABLE', 'GLACIER', 20002, 20002, 0, 0)"
    )
    migrate(db)
    assert db.execute("SELECT element_address, source_element FROM tape").fetchone() == (
        there,
        there,
    )


def test_tapes_of_older_gateways_are_of_the_only_drives_there_were(db: sqlite3.Connection) -> None:
    migrate(db, MIGRATIONS[:1])
    db.execute(
        "INSERT INTO tape (barcode, tape_uuid, size_bytes, status, pool_id, created_at_ms,"
        " status_at_ms) VALUES ('VTL001', 'u', 1, 'AVAILABLE', 'GLACIER', 0, 0)"
    )
    migrate(db)
    assert db.execute("SELECT generation, cleaning FROM tape").fetchall() == [(5, 0)]
