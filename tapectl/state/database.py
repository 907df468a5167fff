"""Opens the state file and hands out transactions; knows no table.

Several processes use one file at once: the supervisor, its workers, the
transfer process and any number of commands. WAL lets readers and one writer
work side by side, and every write begins with BEGIN IMMEDIATE, so that it
waits for its turn at the beginning and can never fail for a lock later on.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from tapectl.state import migrations
from tapectl.state.errors import (
    NotActivatedError,
    StateAccessError,
    StateBusyError,
    StateCorruptError,
    StateNewerError,
)

BUSY_TIMEOUT_S = 30.0
"""How long SQLite itself waits for a lock. Our transactions take milliseconds."""

BUSY_LIMIT_S = 120.0
"""How long we go on asking: only a process stopped in mid-transaction holds a lock this long."""

BUSY_PAUSE_S = 0.05
"""Between attempts: SQLite reports some locks (recovery, last close) without waiting itself."""

_PRIMARY_CODE = 0xFF  # extended result codes carry the primary one in their low byte
_CORRUPT_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_ACCESS_CODES = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_AUTH,
    }
)
_BUSY_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class _ThreadConnection:
    """Closes a connection when the thread that it belongs to ends.

    A sqlite3.Connection is part of a reference cycle: left alone, those of short threads (a login
    each) wait for the garbage collector by the dozen, with their descriptors.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def __del__(self) -> None:
        # Another thread may let go of it only when that has let go of the whole state.
        with contextlib.suppress(sqlite3.ProgrammingError):
            self.db.close()


class State:
    """The state file, open. Any thread may use it; each gets a connection of its own.

    Repositories take the connection that `read` and `write` yield. No network
    and no disk may be waited for inside of them.
    """

    def __init__(self, path: Path) -> None:
        """Use `open` or `create`."""
        self.path = path
        self._local = threading.local()

    @classmethod
    def open(cls, path: Path | str, *, create: bool = False) -> Self:
        """Open the state file and bring its schema up to date.

        With `create` a missing file is made, without a gateway in it. Raises NotActivatedError,
        StateNewerError, StateCorruptError, StateAccessError, StateBusyError.
        """
        path = Path(path).absolute()
        if create and not path.exists():
            with contextlib.suppress(FileExistsError):
                return cls.create(path)
        _check_access(path)
        state = cls(path)
        with state._errors():
            db = state._connection()
            state._require_ours(db)
            state._use_wal(db)
            version = migrations.migrate(db)
        if version > len(migrations.MIGRATIONS):
            state.close()
            raise StateNewerError(path, version=version, known=len(migrations.MIGRATIONS))
        return state

    @classmethod
    def create(
        cls, path: Path | str, populate: Callable[[sqlite3.Connection], None] | None = None
    ) -> Self:
        """Make a state file, mode 0600, and open it; it appears whole or not at all.

        `populate` fills it, in one transaction, before anyone can see it. Raises FileExistsError
        if there is one (of several that create at once one wins), StateAccessError.
        """
        path = Path(path).absolute()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # mkstemp makes it 0600; SQLite gives -wal and -shm the mode of the file.
            descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        except OSError as exc:
            raise StateAccessError(path, exc.strerror or str(exc)) from exc
        os.close(descriptor)
        temporary = Path(name)
        try:
            draft = cls(temporary)
            with draft._errors():
                db = draft._connection()
                draft._use_wal(db)
                migrations.migrate(db)
            if populate is not None:
                with draft.write() as transaction:
                    populate(transaction)
            draft.close()  # the last connection moves the WAL into the file
            os.link(temporary, path)
        finally:
            for leftover in (name, f"{name}-wal", f"{name}-shm"):
                Path(leftover).unlink(missing_ok=True)
        fsync_directory(path.parent)
        return cls(path)

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that sees one snapshot of the state; inside another transaction of
        the thread, yield that one."""
        db = self._connection()
        if db.in_transaction:
            yield db
            return
        with self._errors():
            self._begin(db, "BEGIN")
            try:
                yield db
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that alone may write; commit at the end, roll back on any exception.

        Waits for other writers. Raises StateBusyError when one of them never ends.
        """
        db = self._connection()
        if db.in_transaction:
            raise RuntimeError("a write inside another transaction of the same thread")
        with self._errors():
            self._begin(db, "BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                # SQLite ends the transaction by itself on some errors (disk full).
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def move_aside(self, path: Path) -> None:
        """Copy the file to `path` and remove it, with its log; nothing else may use it any more.

        Cut off anywhere, the state is here or there, whole. Raises StateError, OSError.
        """
        with self._errors():
            db = self._connection()
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            with contextlib.closing(sqlite3.connect(path)) as copy:
                copy.execute("PRAGMA synchronous = FULL")
                db.backup(copy)
            fsync_directory(path.parent)
            # SQLite would take a log that is left over for one of the next state of this name.
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.close()
        for name in (f"{self.path}-wal", f"{self.path}-shm", self.path):
            Path(name).unlink(missing_ok=True)
        fsync_directory(path.parent)

    def close(self) -> None:
        """Close the connection of this thread; those of others close when their threads end."""
        kept: _ThreadConnection | None = getattr(self._local, "kept", None)
        if kept is not None:
            self._local.kept = None
            kept.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _connection(self) -> sqlite3.Connection:
        kept: _ThreadConnection | None = getattr(self._local, "kept", None)
        if kept is None:
            with self._errors():
                kept = _ThreadConnection(self._connect())
            self._local.kept = kept
        return kept.db

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode=rw",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
        )
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA foreign_keys = ON")
        # FULL, not NORMAL: local copies of segments are deleted because the state says that they
        # are in the store, so a commit must not be undone by a power cut. A commit comes once a
        # sealed segment (64 MiB) or a move; an fsync each is nothing.
        db.execute("PRAGMA synchronous = FULL")
        # What is deleted is overwritten: rows may be secrets.
        db.execute("PRAGMA secure_delete = ON")
        return db

    def _use_wal(self, db: sqlite3.Connection) -> None:
        """Keep a write-ahead log; the file remembers it. It writes to any file that is empty, so
        not before we know whose it is."""
        self._retry(lambda: db.execute("PRAGMA journal_mode = WAL").fetchone())

    def _require_ours(self, db: sqlite3.Connection) -> None:
        found: list[int] = []
        self._retry(lambda: found.append(db.execute("PRAGMA application_id").fetchone()[0]))
        if found[-1] != migrations.APPLICATION_ID:
            raise StateCorruptError(self.path, "no state file of tapectl")

    def _begin(self, db: sqlite3.Connection, statement: str) -> None:
        def begin() -> None:
            db.execute(statement)
            try:
                # BEGIN alone takes no lock; the first SELECT fixes the snapshot.
                db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
            except BaseException:
                db.execute("ROLLBACK")
                raise

        self._retry(begin)

    def _retry(self, action: Callable[[], object]) -> None:
        """Run what may find the file locked until it does not."""
        started_s = time.monotonic()
        while True:
            try:
                action()
            except sqlite3.OperationalError as exc:
                waited_s = time.monotonic() - started_s
                if _code(exc) not in _BUSY_CODES:
                    raise
                if waited_s > BUSY_LIMIT_S:
                    raise StateBusyError(self.path, waited_s) from exc
                time.sleep(BUSY_PAUSE_S)
            else:
                return

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what SQLite says about the file into errors a user can act on."""
        try:
            yield
        except sqlite3.DatabaseError as exc:
            code = _code(exc)
            if code in _CORRUPT_CODES:
                raise StateCorruptError(self.path, str(exc)) from exc
            if code in _ACCESS_CODES:
                raise StateAccessError(self.path, str(exc)) from exc
            if code in _BUSY_CODES:
                raise StateBusyError(self.path, BUSY_TIMEOUT_S) from exc
            raise


def _code(exc: sqlite3.Error) -> int:
    """Return the primary result code; 0 for errors the sqlite3 module makes by itself."""
    return getattr(exc, "sqlite_errorcode", 0) & _PRIMARY_CODE


def _check_access(path: Path) -> None:
    """Raise what is wrong with the path itself: SQLite says only that it cannot open it."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise NotActivatedError(path) from None
    except OSError as exc:
        raise StateAccessError(path, exc.strerror or str(exc)) from exc
    if not path.is_file():
        raise StateAccessError(path, "no regular file")
    if not os.access(path, os.R_OK | os.W_OK):
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
        raise StateAccessError(path, "read-only file system" if read_only else "permission denied")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise StateAccessError(path, "its directory cannot be written")


def give_to_owner(descriptor: int, state_path: Path) -> None:
    """Give a file beside the state to the state's owner: root may have made it, for others."""
    owner = state_path.stat()
    if os.geteuid() == 0 and (owner.st_uid, owner.st_gid) != (0, 0):
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def fsync_directory(path: Path) -> None:
    """Return when the entries of a directory are on stable storage; raise OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
