"""What a store says of one object is doubted before anything is given up for it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tapectl.gateway.transfer.bucket_layout import (
    gateway_key,
    ownership_key,
    segment_key,
    tombstone_key,
)
from tapectl.scsi.cartridge import CartridgeReadError
from tapectl.state.tape_status import TapeStatus
from tapectl.store.interface import (
    ObjectInfo,
    ObjectNotFoundError,
    StoreCredentialsError,
    StoreDeniedError,
    StoreError,
)
from tapectl.store.memory import MemoryStore
from tests.support.transfer_gateway import TransferGateway, run_until_idle

TAPE = "TEST01L5"


class ForgetfulStore(MemoryStore):
    """Says for as long as `hides` holds of a key that there is no such object, or has `damages` of
    what is got, and an `error` for every get."""

    hides: Callable[[str], bool] = staticmethod(lambda _: False)
    damages = 0
    error: StoreError | None = None
    gets = 0

    def head(self, key: str) -> ObjectInfo:
        self._look(key)
        return super().head(key)

    def get(self, key: str, *, offset: int = 0, size_bytes: int | None = None) -> bytes:
        self._look(key)
        self.gets += 1
        if self.error is not None:
            raise self.error
        content = super().get(key, offset=offset, size_bytes=size_bytes)
        if self.damages:
            self.damages -= 1
            return bytes((content[0] ^ 1,)) + content[1:]
        return content

    def _look(self, key: str) -> None:
        if self.hides(key):
            raise ObjectNotFoundError(f"no such object: {key}")


@pytest.fixture
def gateway(tmp_path: Path) -> TransferGateway:
    return TransferGateway(tmp_path)


@pytest.fixture
def store() -> ForgetfulStore:
    return ForgetfulStore()


@pytest.fixture
def cold(gateway: TransferGateway, store: ForgetfulStore) -> bytes:
    """A tape with one segment that only the store has; its content."""
    gateway.create_tape(TAPE)
    content = gateway.write_segment(TAPE, [os.urandom(3000)])
    run_until_idle(gateway.engine(store))
    gateway.drop_cache()
    return content


def ask(gateway: TransferGateway, store: MemoryStore, size_bytes: int) -> Iterator[bytes | None]:
    """Ask for the segment as a worker does, for ever: None while it is not there."""
    engine = gateway.engine(store)
    while True:
        path, ready = engine.fetch_service.ensure(TAPE, 1, 0, size_bytes)
        yield path.read_bytes() if ready else None
        time.sleep(0.005)


def test_an_object_that_is_not_shown_yet_is_waited_for(
    gateway: TransferGateway, store: ForgetfulStore, cold: bytes
) -> None:
    store.hides = lambda key: "/segments/" in key
    asked = ask(gateway, store, len(cold))
    assert [next(asked) for _ in range(10)] == [None] * 10
    store.hides = lambda _: False
    assert next(found for found in asked if found is not None) == cold


def test_an_object_that_stays_away_is_an_error(
    gateway: TransferGateway, store: ForgetfulStore, cold: bytes
) -> None:
    store.hides = lambda key: "/segments/" in key
    with pytest.raises(CartridgeReadError, match="no such object"):
        list(ask(gateway, store, len(cold)))


def test_bytes_that_were_damaged_on_their_way_are_fetched_again(
    gateway: TransferGateway, store: ForgetfulStore, cold: bytes
) -> None:
    store.damages = 3
    assert next(found for found in ask(gateway, store, len(cold)) if found is not None) == cold


@pytest.mark.parametrize("error", [StoreCredentialsError("expired"), StoreDeniedError("denied")])
def test_a_store_that_lets_nobody_in_is_waited_for(
    gateway: TransferGateway, store: ForgetfulStore, cold: bytes, error: StoreError
) -> None:
    store.error = error
    asked = ask(gateway, store, len(cold))
    before = store.gets
    # Longer than any doubt about one object would last.
    while store.gets < before + 40:
        assert next(asked) is None
    store.error = None
    assert next(found for found in asked if found is not None) == cold


def test_a_tape_is_not_lost_because_its_owner_is_not_shown(
    gateway: TransferGateway, store: ForgetfulStore
) -> None:
    gateway.create_tape(TAPE)
    engine = gateway.engine(store)
    run_until_idle(engine)
    gateway.write_segment(TAPE, [b"block"])
    store.hides = lambda key: key == ownership_key(TAPE)
    run_until_idle(engine)
    tape = gateway.tape(TAPE)
    assert tape.status is TapeStatus.AVAILABLE
    assert "no such object" in (tape.status_detail or "")
    store.hides = lambda _: False
    gateway.ms += 61_000
    run_until_idle(engine)
    assert gateway.tape(TAPE).status_detail is None
    assert gateway.segments(TAPE)[0].uploaded_at_ms is not None


def test_a_tape_that_has_a_tombstone_is_gone(
    gateway: TransferGateway, store: ForgetfulStore
) -> None:
    gateway.create_tape(TAPE)
    engine = gateway.engine(store)
    run_until_idle(engine)
    store.delete(ownership_key(TAPE))
    store.put(tombstone_key(TAPE), b"{}")
    gateway.write_segment(TAPE, [b"block"])
    run_until_idle(engine)
    tape = gateway.tape(TAPE)
    assert tape.status is TapeStatus.IRRECOVERABLE
    assert "deleted" in (tape.status_detail or "")


def test_a_gateway_that_is_not_shown_is_looked_for_again_at_the_next_pass(
    gateway: TransferGateway, store: ForgetfulStore
) -> None:
    engine = gateway.engine(store)
    engine.run_pass()
    store.hides = lambda key: key.startswith("gateways/")
    with pytest.raises(StoreError, match="does not show"):
        engine.run_pass()
    store.hides = lambda _: False
    engine.run_pass()
    document = json.loads(store.get(gateway_key(gateway.gateway.id)))
    assert document["gateway_id"] == gateway.gateway.id


class CutOffStore(MemoryStore):
    """A store in which puts of these keys were cut off."""

    def __init__(self, *keys: str, error: StoreError | None = None) -> None:
        super().__init__()
        self.left = list(keys)
        self.error = error

    def unfinished_puts(self, prefix: str) -> Iterator[str]:
        yield from [key for key in self.left if key.startswith(prefix)]

    def abandon_put(self, key: str) -> None:
        if self.error is not None:
            raise self.error
        self.left.remove(key)


def test_what_cut_off_puts_left_goes_unless_it_is_of_use(gateway: TransferGateway) -> None:
    useful = [
        segment_key(TAPE, 1, 2, 5000),  # waits
        segment_key(TAPE, 2, 9, 5000),  # of whoever owns the tape later
        segment_key("OTHER1L5", 1, 1, 5000),  # of another gateway's tape
        f"tapes/{TAPE}/something/else",
    ]
    useless = [
        segment_key(TAPE, 1, 1, 4999),  # is in the store, compressed otherwise
        segment_key(TAPE, 1, 3, 5000),  # no segment of the tape
        segment_key(TAPE, 0, 2, 5000),  # of an owner before us
    ]
    store = CutOffStore()
    gateway.create_tape(TAPE)
    gateway.write_segment(TAPE, [b"one"])
    engine = gateway.engine(store)
    run_until_idle(engine)
    content = gateway.write_segment(TAPE, [b"two"])
    for disk in (gateway.cache, gateway.buffer):
        (disk / f"tapes/{TAPE}/00000002.seg").write_bytes(bytes(len(content)))  # cannot go yet
    store.left = useful + useless
    gateway.ms += 86_400_000
    run_until_idle(engine)
    assert sorted(store.left) == sorted(useful)


def test_who_may_not_abort_uploads_works_on(gateway: TransferGateway) -> None:
    key = segment_key(TAPE, 1, 1, 1)
    store = CutOffStore(key, error=StoreDeniedError("access denied"))
    gateway.create_tape(TAPE)
    gateway.write_segment(TAPE, [b"one"])
    run_until_idle(gateway.engine(store))
    assert gateway.segments(TAPE)[0].uploaded_at_ms is not None
    assert store.left == [key]
