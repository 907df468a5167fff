"""An object store in a dictionary, for tests and trials; it is gone with its process."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from tapectl.store.interface import (
    PLAIN,
    Encryption,
    ObjectArchivedError,
    ObjectInfo,
    ObjectNotFoundError,
    PreconditionFailedError,
    PutOptions,
    RestoreState,
    Retention,
    RetrievalTier,
    Source,
    wrong_size,
)
from tapectl.store.keys import check_key
from tapectl.store.retention_rules import require_deletable, require_lockable
from tapectl.store.simulated_archive import ArchiveRecord


@dataclass(frozen=True, slots=True)
class _StoredObject:
    content: bytes
    etag: str
    archive: ArchiveRecord = field(default_factory=ArchiveRecord)
    encryption: Encryption | None = None
    retention: Retention | None = None


class MemoryStore:
    """See store.interface.ObjectStore; archived objects take `retrieval_delay_s` to restore."""

    def __init__(
        self, *, retrieval_delay_s: float = 0.0, now_ms: Callable[[], int] = lambda: 0
    ) -> None:
        self._delay_ms = round(retrieval_delay_s * 1000)
        self._now_ms = now_ms
        self._objects: dict[str, _StoredObject] = {}
        self._lock = threading.Lock()

    def check(self) -> None:
        """A dictionary can always be used."""

    def put(
        self,
        key: str,
        body: bytes | bytearray | memoryview | BinaryIO,
        *,
        options: PutOptions = PLAIN,
    ) -> ObjectInfo:
        content = bytes(body) if isinstance(body, bytes | bytearray | memoryview) else body.read()
        with self._lock:
            self._require_deletable(check_key(key))
            return self._enter(key, content, options)

    def put_if_absent(self, key: str, body: bytes, *, options: PutOptions = PLAIN) -> ObjectInfo:
        with self._lock:
            if check_key(key) in self._objects:
                raise PreconditionFailedError(f"object exists: {key}")
            return self._enter(key, body, options)

    def put_if_match(
        self, key: str, body: bytes, *, etag: str, options: PutOptions = PLAIN
    ) -> ObjectInfo:
        with self._lock:
            stored = self._objects.get(check_key(key))
            if stored is None or stored.etag != etag:
                raise PreconditionFailedError(f"object is not the one expected: {key}")
            return self._enter(key, body, options, stored.retention)

    def get(self, key: str, *, offset: int = 0, size_bytes: int | None = None) -> bytes:
        stored = self._find(key)
        if not stored.archive.readable(self._now_ms()):
            raise ObjectArchivedError(f"object is archived: {key}")
        end = None if size_bytes is None else offset + size_bytes
        return stored.content[offset:end]

    def head(self, key: str) -> ObjectInfo:
        return self._info(key, self._find(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        with self._lock:
            found = sorted(item for item in self._objects.items() if item[0].startswith(prefix))
        for key, stored in found:
            yield self._info(key, stored)

    def delete(self, key: str, *, bypass_governance: bool = False) -> None:
        with self._lock:
            self._require_deletable(check_key(key), bypass_governance=bypass_governance)
            self._objects.pop(key, None)

    def copy(self, source: str, destination: str, *, options: PutOptions = PLAIN) -> ObjectInfo:
        content = self.get(source)
        with self._lock:
            self._require_deletable(check_key(destination))
            return self._enter(destination, content, options)

    def unfinished_puts(self, prefix: str) -> Iterator[str]:  # noqa: ARG002 -- there are none
        yield from ()

    def abandon_put(self, key: str) -> None:
        """There is nothing to let go of."""

    def compose(
        self, sources: Sequence[Source], destination: str, *, options: PutOptions = PLAIN
    ) -> ObjectInfo:
        contents = []
        for source in sources:
            contents.append(self.get(source.key))
            if len(contents[-1]) != source.size_bytes:
                raise wrong_size(source, len(contents[-1]))
        with self._lock:
            self._require_deletable(check_key(destination))
            return self._enter(destination, b"".join(contents), options)

    def check_locks(self) -> None:
        """A dictionary locks whatever it is told to."""

    def lock(
        self, key: str, retention: Retention | None, *, bypass_governance: bool = False
    ) -> None:
        with self._lock:
            stored = self._find(key)
            require_lockable(
                key,
                stored.retention,
                retention,
                self._now_ms(),
                bypass_governance=bypass_governance,
            )
            self._objects[key] = replace(stored, retention=retention)

    def restore(self, key: str, *, tier: RetrievalTier, days: int) -> RestoreState:
        del tier  # every tier takes the same simulated time
        stored = self._find(key)
        archive = stored.archive.with_restore(self._now_ms(), self._delay_ms, days)
        with self._lock:
            self._objects[key] = replace(stored, archive=archive)
        return archive.state(self._now_ms())

    def _enter(
        self, key: str, content: bytes, options: PutOptions, retention: Retention | None = None
    ) -> ObjectInfo:
        etag = hashlib.blake2b(content, digest_size=16).hexdigest()
        archive = ArchiveRecord(options.storage_class)
        stored = _StoredObject(content, etag, archive, options.encryption, retention)
        self._objects[key] = stored
        return self._info(key, stored)

    def _require_deletable(self, key: str, *, bypass_governance: bool = False) -> None:
        stored = self._objects.get(key)
        if stored is not None:
            require_deletable(
                key, stored.retention, self._now_ms(), bypass_governance=bypass_governance
            )

    def _find(self, key: str) -> _StoredObject:
        try:
            return self._objects[check_key(key)]
        except KeyError:
            raise ObjectNotFoundError(f"no such object: {key}") from None

    def _info(self, key: str, stored: _StoredObject) -> ObjectInfo:
        now_ms = self._now_ms()
        return ObjectInfo(
            key=key,
            size_bytes=len(stored.content),
            etag=stored.etag,
            storage_class=stored.archive.storage_class,
            restore_state=stored.archive.state(now_ms),
            restored_until_ms=stored.archive.restored_until_ms(now_ms),
            encryption=stored.encryption,
            retention=stored.retention,
        )
