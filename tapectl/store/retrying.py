"""A store that tries again: what may pass by itself is repeated, with growing, jittered waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from tapectl.store.interface import (
    PLAIN,
    ObjectInfo,
    ObjectNotFoundError,
    ObjectStore,
    PreconditionFailedError,
    PutOptions,
    RestoreState,
    Retention,
    RetrievalTier,
    Source,
    StoreError,
)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long: the n-th wait is up to `first_delay_s` * 2**(n - 1), at most
    `max_delay_s`, and at least half of that.

    No try begins later than `total_s` after the first one: a store that takes the request and never
    answers has cost enough by then, and whoever asked wants to know of the outage.
    """

    attempts: int = 6
    first_delay_s: float = 0.25
    max_delay_s: float = 8.0
    total_s: float = 30.0


class RetryingStore:
    """See store.interface.ObjectStore; errors that are not `retryable` pass at once.

    `sleep` takes seconds, `monotonic_s` returns them, `rng` returns a number in [0, 1).
    """

    def __init__(
        self,
        inner: ObjectStore,
        *,
        policy: RetryPolicy,
        sleep: Callable[[float], None],
        monotonic_s: Callable[[], float],
        rng: Callable[[], float],
    ) -> None:
        self._inner = inner
        self._policy = policy
        self._sleep = sleep
        self._monotonic_s = monotonic_s
        self._rng = rng

    def check(self) -> None:
        # A person waits for the answer; the first one is the answer.
        self._inner.check()

    def put(
        self,
        key: str,
        body: bytes | bytearray | memoryview | BinaryIO,
        *,
        options: PutOptions = PLAIN,
    ) -> ObjectInfo:
        if isinstance(body, bytes | bytearray | memoryview):
            return self._retry(lambda: self._inner.put(key, body, options=options))
        start = body.tell()

        def put_from_start() -> ObjectInfo:
            body.seek(start)
            return self._inner.put(key, body, options=options)

        return self._retry(put_from_start)

    def put_if_absent(self, key: str, body: bytes, *, options: PutOptions = PLAIN) -> ObjectInfo:
        return self._retry_conditional(
            key, body, lambda: self._inner.put_if_absent(key, body, options=options)
        )

    def put_if_match(
        self, key: str, body: bytes, *, etag: str, options: PutOptions = PLAIN
    ) -> ObjectInfo:
        return self._retry_conditional(
            key, body, lambda: self._inner.put_if_match(key, body, etag=etag, options=options)
        )

    def get(self, key: str, *, offset: int = 0, size_bytes: int | None = None) -> bytes:
        return self._retry(lambda: self._inner.get(key, offset=offset, size_bytes=size_bytes))

    def head(self, key: str) -> ObjectInfo:
        return self._retry(lambda: self._inner.head(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        # Stores differ in the order of folders, so that a last key alone does not say how far.
        seen: set[str] = set()
        begun_s, failures = self._monotonic_s(), 0
        while True:
            try:
                for info in self._inner.list(prefix):
                    if info.key not in seen:
                        seen.add(info.key)
                        begun_s, failures = self._monotonic_s(), 0
                        yield info
                return
            except StoreError as error:
                failures += 1
                self._wait(error, failures, begun_s)

    def delete(self, key: str, *, bypass_governance: bool = False) -> None:
        self._retry(lambda: self._inner.delete(key, bypass_governance=bypass_governance))

    def copy(self, source: str, destination: str, *, options: PutOptions = PLAIN) -> ObjectInfo:
        return self._retry(lambda: self._inner.copy(source, destination, options=options))

    def unfinished_puts(self, prefix: str) -> Iterator[str]:
        yield from self._retry(lambda: list(self._inner.unfinished_puts(prefix)))

    def abandon_put(self, key: str) -> None:
        self._retry(lambda: self._inner.abandon_put(key))

    def compose(
        self, sources: Sequence[Source], destination: str, *, options: PutOptions = PLAIN
    ) -> ObjectInfo:
        return self._retry(lambda: self._inner.compose(sources, destination, options=options))

    def check_locks(self) -> None:
        self._retry(self._inner.check_locks)

    def lock(
        self, key: str, retention: Retention | None, *, bypass_governance: bool = False
    ) -> None:
        self._retry(lambda: self._inner.lock(key, retention, bypass_governance=bypass_governance))

    def restore(self, key: str, *, tier: RetrievalTier, days: int) -> RestoreState:
        return self._retry(lambda: self._inner.restore(key, tier=tier, days=days))

    def _retry(self, call: Callable[[], Result]) -> Result:
        begun_s, failures = self._monotonic_s(), 0
        while True:
            try:
                return call()
            except StoreError as error:
                failures += 1
                self._wait(error, failures, begun_s)

    def _retry_conditional(
        self, key: str, body: bytes, call: Callable[[], ObjectInfo]
    ) -> ObjectInfo:
        """As _retry; but a conflict may be with our own write whose answer never came, also within
        one call of the inner store. The object then holds exactly our bytes, which is why what is
        written conditionally names its writer."""
        try:
            return self._retry(call)
        except PreconditionFailedError as error:
            try:
                info = self.head(key)
                if info.size_bytes == len(body) and self.get(key) == body:
                    return info
            except ObjectNotFoundError:
                raise error from None
            raise

    def _wait(self, error: StoreError, failures: int, begun_s: float) -> None:
        """Sleep before the next try, or raise `error` if there is none."""
        late = self._monotonic_s() - begun_s >= self._policy.total_s
        if not error.retryable or failures >= self._policy.attempts or late:
            raise error
        delay_s = min(self._policy.first_delay_s * 2 ** (failures - 1), self._policy.max_delay_s)
        self._sleep(delay_s * (0.5 + self._rng() / 2))
