"""Two gateways want a tape at the same moment: one has it whole, the other has done nothing.

The first gateway is stopped before each of its calls to the store in turn, while the other one
retrieves the tape from its shelf, and goes on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from tapectl.gateway.gateway_document import GatewayStateError
from tapectl.gateway.pool_assignment import assign_pool
from tapectl.gateway.resource_tags import add_tags
from tapectl.gateway.restoration import NotRestorableError
from tapectl.gateway.shared_shelf import retrieve_from_any_shelf
from tapectl.gateway.shelf import delete_archive, retrieve_tape
from tapectl.gateway.transfer.bucket_layout import archive_prefix, manifests_prefix
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.gateway.transfer.ownership import read_ownership
from tapectl.state import events
from tapectl.state.errors import TapeNotFoundError
from tapectl.state.events import EventFilter
from tapectl.state.tape_status import TapeStatus
from tapectl.store.interface import ObjectStore, StoreError
from tapectl.store.memory import MemoryStore
from tests.support.failing_store import FailNth
from tests.support.overtaken_store import OvertakenAtNth
from tests.support.transfer_gateway import GATEWAY, TransferGateway, run_until_idle
from tests.support.two_gateways import (
    OTHER_ID,
    block,
    other_gateway,
    read,
    restore_point,
    write,
)

TAPE = "RACED1L5"
CALLS_MAX = 200
WRITTEN = [block(1), block(2), block(3), None]
# Two segments of a tape in an archived object.
OBJECT_BYTES = 8_000
LATER_MS = 400_000


class Race:
    """A written tape of the first gateway, in a store that knows both."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        self.first = TransferGateway(root / "first")
        self.second = other_gateway(root / "second")
        self.store = MemoryStore(retrieval_delay_s=60, now_ms=self.now_ms)
        self.taken = False
        self.after_taking: dict[str, object] = {}
        self.run(self.second, self.store)
        self.first.create_tape(TAPE)
        engine = self.first.engine(self.store)
        run_until_idle(engine)
        write(self.first, TAPE, [block(1), block(9)])
        run_until_idle(engine)
        write(self.first, TAPE, [block(2), block(3)], at=1)
        run_until_idle(engine)
        engine.close()

    def now_ms(self) -> int:
        return max(self.first.ms, self.second.ms)

    def forward(self, ms: int) -> None:
        self.first.ms = self.second.ms = self.now_ms() + ms

    def run(self, gateway: TransferGateway, store: ObjectStore, **settings: object) -> None:
        """Run a process of a gateway until it has nothing to do."""
        engine = self.engine(gateway, store, **settings)
        run_until_idle(engine)
        engine.close()

    def engine(
        self, gateway: TransferGateway, store: ObjectStore, **settings: object
    ) -> TransferEngine:
        return gateway.engine(
            store,
            upload_workers=1,
            archive_object_bytes=OBJECT_BYTES,
            segment_bytes=64_000,  # what is smaller than a 64th of it is never let go of
            **settings,
        )

    def archive(self, gateway: TransferGateway, store: ObjectStore) -> None:
        gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
        self.run(gateway, store)

    def take(self) -> None:
        """The other gateway wants the tape, and has it or is refused at once."""
        try:
            retrieve_from_any_shelf(
                self.second.state,
                TAPE,
                "Bulk",
                open_store=lambda: self.store,
                now_ms=lambda: self.second.ms,
            )
        except (GatewayStateError, NotRestorableError, TapeNotFoundError):
            return
        self.taken = True
        self.after_taking = self.contents()

    def contents(self) -> dict[str, object]:
        """What no other gateway may change of a tape."""
        kept = (archive_prefix(TAPE), manifests_prefix(TAPE))
        infos = [info for prefix in kept for info in self.store.list(prefix)]
        infos.sort(key=lambda info: info.key)
        found: dict[str, object] = {info.key: (info.etag, info.storage_class) for info in infos}
        return {**found, "owner": read_ownership(self.store, TAPE)}

    def bring(self, gateway: TransferGateway) -> list[bytes | None]:
        """Retrieve the tape, if it is not here, and read it from the store alone."""
        engine = self.engine(gateway, self.store)
        if gateway.tape(TAPE).status is TapeStatus.ARCHIVED:
            gateway.change_status(TAPE, TapeStatus.RETRIEVING, retrieval_tier="Bulk")
        run_until_idle(engine)
        self.forward(61_000)
        run_until_idle(engine)
        assert gateway.tape(TAPE).status is TapeStatus.RETRIEVED
        gateway.drop_cache()
        found = read(gateway, TAPE, engine)
        engine.close()
        return found


def retrieves_and_archives(race: Race, store: ObjectStore) -> None:
    retrieve_tape(race.first.state, TAPE, now_ms=lambda: race.first.ms)
    race.run(race.first, store)
    race.forward(61_000)
    race.run(race.first, store)
    if race.first.tape(TAPE).status is TapeStatus.RETRIEVED:
        add_tags(race.first.state, TAPE, {"seen": "yes"}, open_store=lambda: store)
        race.archive(race.first, store)


def assigns_another_pool(race: Race, store: ObjectStore) -> None:
    assign_pool(race.first.state, TAPE, "DEEP_ARCHIVE", now_ms=lambda: race.first.ms)
    race.run(race.first, store)
    race.forward(61_000)
    race.run(race.first, store)


def tags_it(race: Race, store: ObjectStore) -> None:
    add_tags(race.first.state, TAPE, {"owner": "audit"}, open_store=lambda: store)
    race.run(race.first, store)


def deletes_it(race: Race, store: ObjectStore) -> None:
    delete_archive(race.first.state, TAPE, now_ms=lambda: race.first.ms)
    race.run(race.first, store)


def lets_go_of_what_was_overwritten(race: Race, store: ObjectStore) -> None:
    engine = race.engine(race.first, store, keep_overwritten_days=0)
    for _ in range(4):
        run_until_idle(engine)
        race.forward(61_000)
    engine.close()


def looks_at_it(race: Race, store: ObjectStore) -> None:
    race.forward(LATER_MS)
    race.run(race.first, store)


@pytest.mark.parametrize(
    "act",
    [
        retrieves_and_archives,
        assigns_another_pool,
        tags_it,
        deletes_it,
        lets_go_of_what_was_overwritten,
        looks_at_it,
    ],
)
def test_one_of_two_gateways_has_a_tape_of_the_shelf(
    tmp_path: Path, act: Callable[[Race, ObjectStore], None]
) -> None:
    outcomes: set[bool] = set()
    for n in itertools.count(1):
        race = Race(tmp_path / f"{n}")
        race.archive(race.first, race.store)
        store = OvertakenAtNth(race.store, n, race.take)
        act(race, store)  # type: ignore[arg-type]
        where = f"call {n}, {store.overtaken_at}"
        if store.overtaken_at is None:
            assert n > 2
            assert True in outcomes
            return
        outcomes.add(race.taken)
        if race.taken:
            assert race.bring(race.second) == WRITTEN, where
            _require_left(race, where)
        elif act is deletes_it:
            assert race.first.tape(TAPE).status is TapeStatus.DELETED, where
            assert race.first.tape(TAPE).moved_to is None, where
        else:
            assert race.bring(race.first) == WRITTEN, where
        assert n < CALLS_MAX


def _require_left(race: Race, where: str) -> None:
    """Of the first gateway nothing has come since, and it knows where the tape is."""
    race.forward(LATER_MS)
    race.run(race.first, race.store)
    tape = race.first.tape(TAPE)
    assert (tape.status, tape.moved_to) == (TapeStatus.DELETED, OTHER_ID), where
    with race.first.state.read() as db:
        told = events.select(db, EventFilter(subject_id=TAPE, type="TapeMovedToGateway"))
    assert len(told) == 1, where
    owner = read_ownership(race.store, TAPE).ownership
    assert (owner.gateway_id, owner.on_shelf) == (OTHER_ID, False), where
    now = race.contents()
    for key in now.keys() & race.after_taking.keys() - {"owner"}:
        assert now[key] == race.after_taking[key], where


def test_who_is_cut_off_while_taking_a_tape_goes_on(tmp_path: Path) -> None:
    """On the way from the shelf of a gateway: without an answer, or at once after it."""
    race = Race(tmp_path)
    race.archive(race.first, race.store)
    for n in itertools.count(1):
        failing = FailNth(race.store, n, after=True)
        try:
            restore_point(race.second, failing, TAPE)  # type: ignore[arg-type]
        except (StoreError, NotRestorableError):
            restore_point(race.second, race.store, TAPE)
        race.run(race.second, race.store)
        assert race.bring(race.second) == WRITTEN, n
        race.archive(race.second, race.store)
        _require_owner(race, OTHER_ID)
        if failing.calls < n:
            assert n > 10
            return
        # Back, so that the next round begins where this one did.
        race.forward(LATER_MS)
        race.run(race.first, race.store)
        restore_point(race.first, race.store, TAPE)
        race.run(race.first, race.store)
        race.forward(LATER_MS)
        race.run(race.second, race.store)
        _require_owner(race, GATEWAY.id)


def _require_owner(race: Race, gateway_id: str) -> None:
    owner = read_ownership(race.store, TAPE).ownership
    assert (owner.gateway_id, owner.on_shelf) == (gateway_id, True)
