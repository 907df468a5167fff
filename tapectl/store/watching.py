"""A store that notices whether it can be used: since when it fails, and with what."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from tapectl.store.interface import (
    OF_ONE_OBJECT,
    PLAIN,
    ObjectInfo,
    ObjectStore,
    PutOptions,
    RestoreState,
    Retention,
    RetrievalTier,
    Source,
    StoreError,
)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Outage:
    """The store has failed since `since_ms`, with `error` the last time."""

    since_ms: int
    error: StoreError


class WatchedStore:
    """See store.interface.ObjectStore. `outage` is None while the store answers; it was asked last
    at `asked_ms`.

    An answer about one object, also that there is none, is an answer. Calls come from any thread;
    of two at the same time either may have the last word.
    """

    def __init__(self, inner: ObjectStore, *, now_ms: Callable[[], int]) -> None:
        self._inner = inner
        self._now_ms = now_ms
        self._counting = threading.Lock()
        self.outage: Outage | None = None
        self.asked_ms = now_ms()
        # Reads that were answered, and how long all of them took together.
        self.gets = 0
        self.gets_ms = 0

    def check(self) -> None:
        self._watch(self._inner.check)

    def put(
        self,
        key: str,
        body: bytes | bytearray | memoryview | BinaryIO,
        *,
        options: PutOptions = PLAIN,
    ) -> ObjectInfo:
        return self._watch(lambda: self._inner.put(key, body, options=options))

    def put_if_absent(self, key: str, body: bytes, *, options: PutOptions = PLAIN) -> ObjectInfo:
        return self._watch(lambda: self._inner.put_if_absent(key, body, options=options))

    def put_if_match(
        self, key: str, body: bytes, *, etag: str, options: PutOptions = PLAIN
    ) -> ObjectInfo:
        return self._watch(lambda: self._inner.put_if_match(key, body, etag=etag, options=options))

    def get(self, key: str, *, offset: int = 0, size_bytes: int | None = None) -> bytes:
        began_ms = self._now_ms()
        data = self._watch(lambda: self._inner.get(key, offset=offset, size_bytes=size_bytes))
        with self._counting:
            self.gets += 1
            self.gets_ms += self._now_ms() - began_ms
        return data

    def head(self, key: str) -> ObjectInfo:
        return self._watch(lambda: self._inner.head(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        found = self._inner.list(prefix)
        while True:
            info = self._watch(lambda: next(found, None))
            if info is None:
                return
            yield info

    def delete(self, key: str, *, bypass_governance: bool = False) -> None:
        self._watch(lambda: self._inner.delete(key, bypass_governance=bypass_governance))

    def copy(self, source: str, destination: str, *, options: PutOptions = PLAIN) -> ObjectInfo:
        return self._watch(lambda: self._inner.copy(source, destination, options=options))

    def unfinished_puts(self, prefix: str) -> Iterator[str]:
        found = self._inner.unfinished_puts(prefix)
        while (key := self._watch(lambda: next(found, None))) is not None:
            yield key

    def abandon_put(self, key: str) -> None:
        self._watch(lambda: self._inner.abandon_put(key))

    def compose(
        self, sources: Sequence[Source], destination: str, *, options: PutOptions = PLAIN
    ) -> ObjectInfo:
        return self._watch(lambda: self._inner.compose(sources, destination, options=options))

    def check_locks(self) -> None:
        self._watch(self._inner.check_locks)

    def lock(
        self, key: str, retention: Retention | None, *, bypass_governance: bool = False
    ) -> None:
        self._watch(lambda: self._inner.lock(key, retention, bypass_governance=bypass_governance))

    def restore(self, key: str, *, tier: RetrievalTier, days: int) -> RestoreState:
        return self._watch(lambda: self._inner.restore(key, tier=tier, days=days))

    def _watch(self, call: Callable[[], Result]) -> Result:
        self.asked_ms = self._now_ms()
        try:
            result = call()
        except OF_ONE_OBJECT:
            self.outage = None
            raise
        except StoreError as error:
            since_ms = self.asked_ms if self.outage is None else self.outage.since_ms
            self.outage = Outage(since_ms, error)
            raise
        self.outage = None
        return result
