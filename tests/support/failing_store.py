"""A store that fails at the n-th call, before or after doing what was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from tapectl.store.interface import ObjectStore, StoreError


class FailNth:
    """Wraps a store; its `n`-th call (from 1) raises, once; every other call goes through.

    `after` says that the call does its work and only the answer is lost. With
    `forever` every call from the n-th on fails, before doing anything.
    """

    def __init__(
        self,
        inner: ObjectStore,
        n: int,
        *,
        after: bool = False,
        forever: bool = False,
        error: Callable[[], BaseException] = lambda: StoreError("injected failure"),
    ) -> None:
        self._inner = inner
        self._n = n
        self._after = after
        self._forever = forever
        self._error = error
        self._lock = threading.Lock()
        self.calls = 0
        self.names: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                self.calls += 1
                self.names.append(name)
                number = self.calls
            fails = number >= self._n if self._forever else number == self._n
            if fails and not self._after:
                raise self._error()
            result = method(*args, **kwargs)
            if isinstance(result, Iterator):
                result = iter(list(result))
            if fails:
                raise self._error()
            return result

        return call
