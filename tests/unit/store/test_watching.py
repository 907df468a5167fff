"""Whether a store can be used is known from the calls it answers."""

from __future__ import annotations

import pytest

from tapectl.store.interface import ObjectNotFoundError, StoreError
from tapectl.store.memory import MemoryStore
from tapectl.store.watching import WatchedStore
from tests.support.failing_store import FailNth


class Clock:
    ms = 1000

    def __call__(self) -> int:
        return self.ms


def test_an_outage_lasts_from_the_first_failure_to_the_next_answer() -> None:
    clock = Clock()
    inner = MemoryStore()
    store = WatchedStore(FailNth(inner, 2, forever=True), now_ms=clock)  # type: ignore[arg-type]
    store.put("a", b"1")
    assert store.outage is None
    for clock.ms in (2000, 3000):
        with pytest.raises(StoreError):
            store.get("a")
        assert store.outage is not None
        assert store.outage.since_ms == 2000
    with pytest.raises(StoreError):
        list(store.list(""))
    assert store.outage.error.message == "injected failure"


def test_what_is_said_of_one_object_is_an_answer() -> None:
    store = WatchedStore(FailNth(MemoryStore(), 1), now_ms=Clock())  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        store.head("a")
    assert store.outage is not None
    with pytest.raises(ObjectNotFoundError):
        store.head("a")
    assert store.outage is None
