"""What may pass is tried again, with growing waits; what may not is told at once."""

from __future__ import annotations

import io

import pytest

from tapectl.store.interface import (
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreDeniedError,
    StoreError,
)
from tapectl.store.memory import MemoryStore
from tapectl.store.retrying import RetryingStore, RetryPolicy
from tests.support.failing_store import FailNth

POLICY = RetryPolicy(attempts=4, first_delay_s=1.0, max_delay_s=3.0, total_s=60.0)


class Naps(list[float]):
    """Records the waits instead of waiting; `now_s` is the time, which only the test moves."""

    now_s = 0.0


def retrying(failing: object, naps: Naps, rng: float = 1.0) -> RetryingStore:
    return RetryingStore(
        failing,  # type: ignore[arg-type]
        policy=POLICY,
        sleep=naps.append,
        monotonic_s=lambda: naps.now_s,
        rng=lambda: rng,
    )


def test_waits_grow_up_to_a_limit_and_then_it_gives_up() -> None:
    naps = Naps()
    store = retrying(FailNth(MemoryStore(), 1, forever=True), naps)
    with pytest.raises(StoreError):
        store.put("key", b"x")
    assert naps == [1.0, 2.0, 3.0]


def test_waits_are_jittered_by_half() -> None:
    naps = Naps()
    store = retrying(FailNth(MemoryStore(), 1, forever=True), naps, rng=0.0)
    with pytest.raises(StoreError):
        store.head("key")
    assert naps == [0.5, 1.0, 1.5]


def test_a_store_that_lets_each_try_wait_is_given_up_sooner() -> None:
    naps = Naps()

    def silence() -> StoreError:
        naps.now_s += 40.0
        return StoreError("store does not answer")

    failing = FailNth(MemoryStore(), 1, forever=True, error=silence)
    with pytest.raises(StoreError):
        retrying(failing, naps).head("key")
    assert failing.calls == 2


@pytest.mark.parametrize("error", [StoreDeniedError, ObjectNotFoundError])
def test_what_will_not_pass_is_told_at_once(error: type[StoreError]) -> None:
    naps = Naps()
    store = retrying(FailNth(MemoryStore(), 1, error=lambda: error("no")), naps)
    with pytest.raises(error):
        store.get("key")
    assert naps == []


def test_a_file_is_read_again_from_where_it_stood() -> None:
    inner = MemoryStore()
    store = retrying(FailNth(inner, 1, after=True), Naps())
    file = io.BytesIO(b"skipped|kept")
    file.seek(8)
    store.put("key", file)
    assert inner.get("key") == b"kept"


def test_a_claim_whose_answer_was_lost_is_still_ours() -> None:
    store = retrying(FailNth(MemoryStore(), 1, after=True), Naps())
    info = store.put_if_absent("claim", b"ours")
    assert info.size_bytes == 4
    with pytest.raises(PreconditionFailedError):
        store.put_if_absent("claim", b"theirs")


def test_a_change_whose_answer_was_lost_is_still_ours() -> None:
    inner = MemoryStore()
    etag = inner.put("owner", b"before").etag
    store = retrying(FailNth(inner, 1, after=True), Naps())
    assert store.put_if_match("owner", b"after", etag=etag).etag == inner.head("owner").etag


def test_a_listing_that_breaks_off_goes_on_without_repeating() -> None:
    class Breaking(MemoryStore):
        """Breaks off after the second object, once."""

        broken = False

        def list(self, prefix: str):  # type: ignore[no-untyped-def]
            for number, info in enumerate(super().list(prefix)):
                if number == 2 and not self.broken:
                    self.broken = True
                    raise StoreError("connection closed")
                yield info

    inner = Breaking()
    for number in range(5):
        inner.put(f"n/{number}", b"")
    assert [info.key for info in retrying(inner, Naps()).list("n/")] == [
        f"n/{number}" for number in range(5)
    ]


def test_check_answers_at_once() -> None:
    naps = Naps()
    with pytest.raises(StoreError):
        retrying(FailNth(MemoryStore(), 1), naps).check()
    assert naps == []
