"""An object store in one SQLite file, for any number of processes, whose largest objects are not
there: of these it knows the size and what they are made of, and a function makes their bytes.

Everything else is as `store.memory` has it: small objects are kept, archived ones are restored.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tapectl.store.interface import (
    PLAIN,
    ObjectArchivedError,
    ObjectInfo,
    ObjectNotFoundError,
    PreconditionFailedError,
    PutOptions,
    RestoreState,
    Retention,
    RetrievalTier,
    Source,
    StorageClass,
    StoreRefusedError,
    wrong_size,
)
from tapectl.store.keys import check_key
from tapectl.store.simulated_archive import ArchiveRecord

_SCHEMA = """
CREATE TABLE IF NOT EXISTS object (
    key TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL, etag TEXT NOT NULL, class TEXT NOT NULL,
    ready_ms INTEGER, expires_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS body (key TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS piece (
    key TEXT NOT NULL, start INTEGER NOT NULL, source TEXT NOT NULL, size_bytes INTEGER NOT NULL,
    PRIMARY KEY (key, start)
) STRICT, WITHOUT ROWID;
"""
_PAGE = 1000

Make = Callable[[str, int, int], bytes]
"""The bytes of an object that is not there: key, offset, length."""


class SparseStore:
    """See store.interface.ObjectStore. Archived objects take `retrieval_delay_s` to restore."""

    def __init__(
        self, path: Path, make: Make, *, now_ms: Callable[[], int], retrieval_delay_s: float = 0.0
    ) -> None:
        self._path = path
        self._make = make
        self._now_ms = now_ms
        self._delay_ms = round(retrieval_delay_s * 1000)
        self._local = threading.local()
        self._db.executescript(_SCHEMA)

    def add_sparse(self, sizes: Iterable[tuple[str, int]]) -> None:
        """Say that there are objects, by key and size, whose bytes can be made."""
        with self._writing() as db:
            db.executemany(
                "INSERT INTO object VALUES (?, ?, ?, 'STANDARD', NULL, NULL)",
                ((key, size_bytes, f"{size_bytes:x}") for key, size_bytes in sizes),
            )

    def check(self) -> None:
        """A file can always be used."""

    def put(
        self,
        key: str,
        body: bytes | bytearray | memoryview | BinaryIO,
        *,
        options: PutOptions = PLAIN,
    ) -> ObjectInfo:
        content = bytes(body) if isinstance(body, bytes | bytearray | memoryview) else body.read()
        with self._writing() as db:
            return self._enter(db, key, content, options)

    def put_if_absent(self, key: str, body: bytes, *, options: PutOptions = PLAIN) -> ObjectInfo:
        with self._writing() as db:
            if self._row(db, key) is not None:
                raise PreconditionFailedError(f"object exists: {key}")
            return self._enter(db, key, body, options)

    def put_if_match(
        self, key: str, body: bytes, *, etag: str, options: PutOptions = PLAIN
    ) -> ObjectInfo:
        with self._writing() as db:
            row = self._row(db, key)
            if row is None or row["etag"] != etag:
                raise PreconditionFailedError(f"object is not the one expected: {key}")
            return self._enter(db, key, body, options)

    def get(self, key: str, *, offset: int = 0, size_bytes: int | None = None) -> bytes:
        row = self._found(key)
        if not _archive(row).readable(self._now_ms()):
            raise ObjectArchivedError(f"object is archived: {key}")
        end = row["size_bytes"]
        if size_bytes is not None:
            end = min(end, offset + size_bytes)
        kept = self._db.execute("SELECT content FROM body WHERE key = ?", (key,)).fetchone()
        if kept is not None:
            return bytes(kept[0][offset:end])
        return b"".join(self._made(key, offset, end))

    def _made(self, key: str, offset: int, end: int) -> Iterator[bytes]:
        """Yield the bytes of an object that is not there, from `offset` to `end`."""
        while offset < end:
            piece = self._db.execute(
                "SELECT start, source, size_bytes FROM piece WHERE key = ? AND start <= ?"
                " ORDER BY start DESC LIMIT 1",
                (key, offset),
            ).fetchone()
            start, source, length = piece or (0, key, end)
            stop = min(end, start + length)
            yield self._make(source, offset - start, stop - offset)
            offset = stop

    def head(self, key: str) -> ObjectInfo:
        return self._info(self._found(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        after = prefix
        while True:
            rows = self._db.execute(
                "SELECT * FROM object WHERE key >= ? AND key < ? ORDER BY key LIMIT ?",
                (after, prefix + "\x7f", _PAGE),
            ).fetchall()
            for row in rows:
                yield self._info(row)
            if len(rows) < _PAGE:
                return
            after = rows[-1]["key"] + "\x00"

    def delete(self, key: str, *, bypass_governance: bool = False) -> None:
        del bypass_governance  # nothing is locked
        with self._writing() as db:
            db.execute("DELETE FROM object WHERE key = ?", (check_key(key),))
            db.execute("DELETE FROM body WHERE key = ?", (key,))
            db.execute("DELETE FROM piece WHERE key = ?", (key,))

    def copy(self, source: str, destination: str, *, options: PutOptions = PLAIN) -> ObjectInfo:
        return self.compose(
            [Source(source, self.head(source).size_bytes)], destination, options=options
        )

    def unfinished_puts(self, prefix: str) -> Iterator[str]:  # noqa: ARG002 -- there are none
        yield from ()

    def abandon_put(self, key: str) -> None:
        """There is nothing to let go of."""

    def compose(
        self, sources: Sequence[Source], destination: str, *, options: PutOptions = PLAIN
    ) -> ObjectInfo:
        with self._writing() as db:
            start = 0
            pieces = []
            for source in sources:
                row = self._found(source.key)
                if not _archive(row).readable(self._now_ms()):
                    raise ObjectArchivedError(f"object is archived: {source.key}")
                if row["size_bytes"] != source.size_bytes:
                    raise wrong_size(source, row["size_bytes"])
                pieces.append((destination, start, source.key, source.size_bytes))
                start += source.size_bytes
            db.executemany("INSERT OR REPLACE INTO piece VALUES (?, ?, ?, ?)", pieces)
            db.execute(
                "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, NULL, NULL)",
                (check_key(destination), start, f"{start:x}", options.storage_class.value),
            )
        return self.head(destination)

    def check_locks(self) -> None:
        raise StoreRefusedError("nothing can be locked here")

    def lock(
        self, key: str, retention: Retention | None, *, bypass_governance: bool = False
    ) -> None:
        del retention, bypass_governance
        raise StoreRefusedError(f"nothing can be locked here: {key}")

    def restore(self, key: str, *, tier: RetrievalTier, days: int) -> RestoreState:
        del tier  # every tier takes the same simulated time
        with self._writing() as db:
            archive = _archive(self._found(key)).with_restore(self._now_ms(), self._delay_ms, days)
            db.execute(
                "UPDATE object SET ready_ms = ?, expires_ms = ? WHERE key = ?",
                (archive.ready_ms, archive.expires_ms, key),
            )
        return archive.state(self._now_ms())

    @property
    def _db(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = sqlite3.connect(self._path, isolation_level=None, timeout=60.0)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = OFF")
            self._local.db = db
        return db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def _enter(
        self, db: sqlite3.Connection, key: str, content: bytes, options: PutOptions
    ) -> ObjectInfo:
        etag = hashlib.blake2b(content, digest_size=16).hexdigest()
        values = (check_key(key), len(content), etag, options.storage_class.value)
        db.execute("INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, NULL, NULL)", values)
        db.execute("INSERT OR REPLACE INTO body VALUES (?, ?)", (key, content))
        return self.head(key)

    def _row(self, db: sqlite3.Connection, key: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = db.execute(
            "SELECT * FROM object WHERE key = ?", (check_key(key),)
        ).fetchone()
        return row

    def _found(self, key: str) -> sqlite3.Row:
        row = self._row(self._db, key)
        if row is None:
            raise ObjectNotFoundError(f"no such object: {key}")
        return row

    def _info(self, row: sqlite3.Row) -> ObjectInfo:
        now_ms, archive = self._now_ms(), _archive(row)
        return ObjectInfo(
            key=row["key"],
            size_bytes=row["size_bytes"],
            etag=row["etag"],
            storage_class=archive.storage_class,
            restore_state=archive.state(now_ms),
            restored_until_ms=archive.restored_until_ms(now_ms),
        )


def _archive(row: sqlite3.Row) -> ArchiveRecord:
    return ArchiveRecord(StorageClass(row["class"]), row["ready_ms"], row["expires_ms"])
