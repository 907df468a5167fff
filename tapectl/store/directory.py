"""An object store in a directory: every object a file, named by its key.

Beside the objects stands `.tapectl-store/` with temporary files, the lock of
conditional writes, and a small JSON file for every object of an archive class and for every one
under a retention. Glacier is simulated: such an object cannot be read until it has been restored.
So is Object Lock: this store deletes and overwrites nothing that is locked, but the file
system would; whoever may write the directory can. There are no object tags.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from tapectl.store.durable_files import (
    DurableFolders,
    joined_file,
    remove_abandoned,
    rename_durably,
    sync_folder,
    temporary_name,
    written_file,
)
from tapectl.store.interface import (
    PLAIN,
    BucketNotFoundError,
    ObjectArchivedError,
    ObjectInfo,
    ObjectNotFoundError,
    PreconditionFailedError,
    PutOptions,
    RestoreState,
    Retention,
    RetentionMode,
    RetrievalTier,
    Source,
    StorageClass,
    StoreDeniedError,
    StoreError,
    StoreRefusedError,
    wrong_size,
)
from tapectl.store.keys import check_key
from tapectl.store.retention_rules import require_deletable, require_lockable
from tapectl.store.simulated_archive import ArchiveRecord
from tapectl.store.traffic import Body, Traffic

_PRIVATE = ".tapectl-store"
# Objects that are written conditionally are small and are told apart by their content; of larger
# ones the inode and its time are enough, since a put always makes a new file.
_HASHED_BYTES = 64 * 1024
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})


class DirectoryStore:
    """See store.interface.ObjectStore. `root` must exist; `now_ms` is the time since 1970."""

    def __init__(
        self,
        root: Path,
        *,
        retrieval_delay_s: float = 0.0,
        now_ms: Callable[[], int],
        traffic: Traffic | None = None,
    ) -> None:
        self._root = root
        self._folders = DurableFolders(root)
        self._tidied = False
        self._delay_ms = round(retrieval_delay_s * 1000)
        self._now_ms = now_ms
        self._traffic = traffic or Traffic()
        self._temporary = root / _PRIVATE / "tmp"
        self._sidecars = root / _PRIVATE / "archived"
        self._retentions = root / _PRIVATE / "retained"

    def check(self) -> None:
        if not self._root.is_dir():
            if self._root.exists():
                raise BucketNotFoundError(
                    f"not a directory: {self._root}", hint="name the directory for the tapes"
                )
            raise BucketNotFoundError(
                f"no such directory: {self._root}", hint="create it, or mount what holds it"
            )
        if not os.access(self._root, os.R_OK | os.W_OK | os.X_OK):
            raise StoreDeniedError(
                f"directory cannot be written: {self._root}",
                hint="run as the user it belongs to, or see whether it is mounted read-only",
            )

    def put(
        self,
        key: str,
        body: bytes | bytearray | memoryview | BinaryIO,
        *,
        options: PutOptions = PLAIN,
    ) -> ObjectInfo:
        path = self._path(key)
        _require_possible(options)
        with self._errors(key), self._ready(path), self._uploaded(body) as temporary:
            self._require_deletable(key)
            return self._install(key, temporary, options.storage_class)

    def put_if_absent(self, key: str, body: bytes, *, options: PutOptions = PLAIN) -> ObjectInfo:
        path = self._path(key)
        _require_possible(options)
        with self._errors(key), self._ready(path), self._uploaded(body) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError:
                # Whoever put it may have died before it was durable, and is now counted on.
                sync_folder(path.parent)
                raise PreconditionFailedError(f"object exists: {key}") from None
            sync_folder(path.parent)
            return self._info(key, path)

    def put_if_match(
        self, key: str, body: bytes, *, etag: str, options: PutOptions = PLAIN
    ) -> ObjectInfo:
        path = self._path(key)
        _require_possible(options)
        with (
            self._errors(key),
            self._ready(path),
            self._uploaded(body) as temporary,
            self._locked(),
        ):
            if not path.is_file() or _etag(path) != etag:
                raise PreconditionFailedError(f"object is not the one expected: {key}")
            return self._install(key, temporary, StorageClass.STANDARD)

    def get(self, key: str, *, offset: int = 0, size_bytes: int | None = None) -> bytes:
        path = self._path(key)
        with self._errors(key), path.open("rb") as file:
            if not self._archive(key, path).readable(self._now_ms()):
                raise ObjectArchivedError(f"object is archived: {key}")
            file.seek(offset)
            content = file.read(size_bytes)
        self._traffic.down.take_pieces(len(content))
        return content

    def head(self, key: str) -> ObjectInfo:
        with self._errors(key):
            return self._info(key, self._path(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self.check()
        # Only the folder that the whole parts of the prefix name can hold matches.
        folder = prefix.rpartition("/")[0]
        for key in _walk(self._root / folder, f"{folder}/" if folder else ""):
            if key.startswith(prefix):
                try:
                    yield self.head(key)
                except ObjectNotFoundError:
                    continue  # deleted since the folder was read

    def delete(self, key: str, *, bypass_governance: bool = False) -> None:
        path = self._path(key)
        with self._errors(key), self._locked():
            self._require_deletable(key, bypass_governance=bypass_governance)
            # The retention first: without its object it would hold whatever is put there next.
            self._retention_file(key).unlink(missing_ok=True)
            if path.is_file():
                path.unlink()
                sync_folder(path.parent)
            self._sidecar(key).unlink(missing_ok=True)

    def copy(self, source: str, destination: str, *, options: PutOptions = PLAIN) -> ObjectInfo:
        path, target = self._path(source), self._path(destination)
        _require_possible(options)
        with self._errors(source), self._ready(target):
            self._require_deletable(destination)
            if not self._archive(source, path).readable(self._now_ms()):
                raise ObjectArchivedError(f"object is archived: {source}")
            temporary = temporary_name(self._temporary)
            try:
                # Objects are never changed in place, so two names of one file are two objects.
                os.link(path, temporary)
                return self._install(destination, temporary, options.storage_class)
            finally:
                # A rename between two names of one file does nothing and leaves both.
                temporary.unlink(missing_ok=True)

    def unfinished_puts(self, prefix: str) -> Iterator[str]:  # noqa: ARG002 -- temporary files have no key
        yield from ()

    def abandon_put(self, key: str) -> None:
        """There is nothing to let go of."""

    def compose(
        self, sources: Sequence[Source], destination: str, *, options: PutOptions = PLAIN
    ) -> ObjectInfo:
        paths = [self._path(source.key) for source in sources]
        target = self._path(destination)
        _require_possible(options)
        for source, path in zip(sources, paths, strict=True):
            with self._errors(source.key):
                if not self._archive(source.key, path).readable(self._now_ms()):
                    raise ObjectArchivedError(f"object is archived: {source.key}")
                if (found_bytes := path.stat().st_size) != source.size_bytes:
                    raise wrong_size(source, found_bytes)
        with (
            self._errors(destination),
            self._ready(target),
            joined_file(self._temporary, paths) as temporary,
        ):
            self._require_deletable(destination)
            return self._install(destination, temporary, options.storage_class)

    def check_locks(self) -> None:
        self.check()

    def lock(
        self, key: str, retention: Retention | None, *, bypass_governance: bool = False
    ) -> None:
        path = self._path(key)
        with self._errors(key), self._locked():
            self._info(key, path)
            held = self._retention(key)
            require_lockable(
                key, held, retention, self._now_ms(), bypass_governance=bypass_governance
            )
            file = self._retention_file(key)
            if retention is None:
                file.unlink(missing_ok=True)
                return
            self._folders.make(file.parent)
            document = {"mode": retention.mode.value, "until_ms": retention.until_ms}
            with written_file(self._temporary, json.dumps(document).encode()) as temporary:
                rename_durably(temporary, file)

    def restore(self, key: str, *, tier: RetrievalTier, days: int) -> RestoreState:
        del tier  # every tier takes the same simulated time
        path = self._path(key)
        with self._errors(key), self._locked():
            before = self._archive(key, path)
            after = before.with_restore(self._now_ms(), self._delay_ms, days)
            if after != before:
                self._write_sidecar(key, path, after)
            return after.state(self._now_ms())

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _sidecar(self, key: str) -> Path:
        return self._sidecars / f"{key}.json"

    def _retention_file(self, key: str) -> Path:
        return self._retentions / f"{key}.json"

    def _retention(self, key: str) -> Retention | None:
        try:
            document = json.loads(self._retention_file(key).read_bytes())
        except FileNotFoundError:
            return None
        return Retention(RetentionMode(document["mode"]), int(document["until_ms"]))

    def _require_deletable(self, key: str, *, bypass_governance: bool = False) -> None:
        require_deletable(
            key, self._retention(key), self._now_ms(), bypass_governance=bypass_governance
        )

    def _uploaded(self, body: Body) -> AbstractContextManager[Path]:
        return written_file(self._temporary, self._traffic.up.wrap(body))

    def _install(self, key: str, temporary: Path, storage_class: StorageClass) -> ObjectInfo:
        """Give a finished file its name. The sidecar goes first: it names the file it is for,
        so that it means nothing to an older object of the key if the rename never happens."""
        path = self._root / key
        if storage_class is StorageClass.STANDARD:
            self._sidecar(key).unlink(missing_ok=True)
        else:
            self._write_sidecar(key, temporary, ArchiveRecord(storage_class))
        rename_durably(temporary, path)
        return self._info(key, path)

    def _write_sidecar(self, key: str, path: Path, archive: ArchiveRecord) -> None:
        sidecar = self._sidecar(key)
        self._folders.make(sidecar.parent)
        document = {
            "file": _identity(path.stat()),
            "storage_class": archive.storage_class.value,
            "ready_ms": archive.ready_ms,
            "expires_ms": archive.expires_ms,
        }
        with written_file(self._temporary, json.dumps(document).encode()) as temporary:
            rename_durably(temporary, sidecar)

    def _archive(self, key: str, path: Path) -> ArchiveRecord:
        identity = _identity(path.stat())
        try:
            document = json.loads(self._sidecar(key).read_bytes())
        except FileNotFoundError:
            return ArchiveRecord()
        if document["file"] != identity:
            return ArchiveRecord()
        return ArchiveRecord(
            StorageClass(document["storage_class"]), document["ready_ms"], document["expires_ms"]
        )

    def _info(self, key: str, path: Path) -> ObjectInfo:
        if not path.is_file():
            self.check()  # without its root the store can say nothing of an object
            raise ObjectNotFoundError(f"no such object: {key}")
        now_ms, archive = self._now_ms(), self._archive(key, path)
        return ObjectInfo(
            key=key,
            size_bytes=path.stat().st_size,
            etag=_etag(path),
            storage_class=archive.storage_class,
            restore_state=archive.state(now_ms),
            restored_until_ms=archive.restored_until_ms(now_ms),
            retention=self._retention(key),
        )

    @contextmanager
    def _ready(self, path: Path) -> Iterator[None]:
        """Make the folders that a write needs; a root that is not there is not made."""
        self.check()
        self._folders.make(path.parent)
        self._folders.make(self._temporary)
        if not self._tidied:
            self._tidied = True
            remove_abandoned(self._temporary)
        yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.check()
        self._folders.make(self._temporary)
        with (self._root / _PRIVATE / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Turn what the operating system says into what ObjectStore promises."""
        try:
            yield
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            if error.errno in _ABSENT:
                self.check()
                raise ObjectNotFoundError(f"no such object: {key}") from error
            if error.errno in _DENIED:
                raise StoreDeniedError(f"{reason}: {self._root / key}") from error
            if error.errno == errno.ENAMETOOLONG:
                raise StoreRefusedError(f"{reason}: {key}") from error
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            hint = "make room on the file system of the store" if full else None
            raise StoreError(f"store: {reason}: {self._root / key}", hint=hint) from error


def _require_possible(options: PutOptions) -> None:
    if options.encryption is not None:
        raise StoreRefusedError(
            "a directory store does not encrypt",
            hint="put the directory on an encrypted file system",
        )


def _identity(status: os.stat_result) -> list[int]:
    return [status.st_ino, status.st_mtime_ns, status.st_size]


def _etag(path: Path) -> str:
    status = path.stat()
    if status.st_size <= _HASHED_BYTES:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return "-".join(f"{part:x}" for part in _identity(status))


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    """Yield the keys below `folder`, in the order of Amazon: `a-b` stands before `a/c`.

    What is told is durable, also where the put died, or failed, before its name was flushed:
    somebody may delete another copy on the strength of it.
    """
    try:
        sync_folder(folder)
        with os.scandir(folder) as entries:
            names = sorted(
                f"{entry.name}/" if entry.is_dir() else entry.name
                for entry in entries
                if not entry.name.startswith(".")
            )
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StoreError(f"{error.strerror}: {folder}") from error
    for name in names:
        if name.endswith("/"):
            yield from _walk(folder / name, prefix + name)
        else:
            yield prefix + name
