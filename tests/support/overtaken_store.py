"""A store whose user is stopped before its n-th call, while something else goes on, and resumes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from tapectl.store.interface import ObjectStore


class OvertakenAtNth:
    """Wraps a store; before the `n`-th call (from 1) `meanwhile` runs, once. Every call goes
    through afterwards, also that one: the caller never learns that it slept."""

    def __init__(self, inner: ObjectStore, n: int, meanwhile: Callable[[], None]) -> None:
        self._inner = inner
        self._n = n
        self._meanwhile = meanwhile
        self._lock = threading.Lock()
        self.calls = 0
        self.overtaken_at: str | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                self.calls += 1
                if self.calls == self._n:
                    self.overtaken_at = f"{name} {args[:1]}"
                    self._meanwhile()
            result = method(*args, **kwargs)
            return iter(list(result)) if isinstance(result, Iterator) else result

        return call
