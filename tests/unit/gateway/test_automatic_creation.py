"""Rules of automatic tape creation: which are taken, and which tapes they count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tapectl.errors import TapectlError
from tapectl.gateway.automatic_creation import (
    CreationRuleNotFoundError,
    delete_rules,
    list_rules,
    set_rule,
)
from tapectl.gateway.shelf import eject_tape
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.state import events, tapes
from tapectl.state.automatic_creation import CreationRule
from tapectl.state.database import State
from tapectl.state.events import EventFilter
from tapectl.state.tapes import TapeFilter
from tapectl.store.memory import MemoryStore
from tapectl.units import GIB, MIB
from tests.support.closing import closed_at_end
from tests.support.transfer_gateway import SETTINGS
from tests.unit.gateway.conftest import IE, SLOT, Clock, Maker

RULE = CreationRule(
    prefix="BKP", minimum_tapes=2, size_bytes=100 * GIB, pool_id="GLACIER", worm=False
)


@pytest.fixture
def run_pass(state: State, store: MemoryStore, clock: Clock) -> Callable[[], None]:
    engine = closed_at_end(TransferEngine(state, store, SETTINGS, now_ms=clock, drives_run=False))
    return lambda: engine.run_pass() and None


def in_elements(state: State) -> dict[int, str]:
    with state.read() as db:
        return {one.element_address: one.barcode for one in tapes.occupants(db)}


def test_what_a_rule_lacks_is_created_and_available(
    state: State, run_pass: Callable[[], None]
) -> None:
    assert set_rule(state, replace(RULE, worm=True, pool_id="DEEP_ARCHIVE")).missing_tapes == 2
    run_pass()  # creates
    run_pass()  # claims
    (info,) = list_rules(state)
    assert (info.available_tapes, info.missing_tapes) == (2, 0)
    with state.read() as db:
        created = tapes.select(db, TapeFilter())
    assert {tape.element_address for tape in created} == {IE, IE + 1}
    for tape in created:
        assert tape.barcode.startswith("BKP")
        assert tape.status == "AVAILABLE"
        assert tape.worm
        assert (tape.pool_id, tape.size_bytes) == ("DEEP_ARCHIVE", 100 * GIB)
    run_pass()
    assert len(in_elements(state)) == 2


def test_an_import_is_made_up_for_and_an_export_is_not(
    state: State, run_pass: Callable[[], None], clock: Clock
) -> None:
    set_rule(state, RULE)
    run_pass()
    first = in_elements(state)[IE]
    with state.write() as db:  # as backup software imports it
        tapes.update(db, first, element_address=SLOT)
    run_pass()
    assert len(in_elements(state)) == 3
    eject_tape(state, first, hold_s=60, now_ms=clock)
    run_pass()
    assert len(in_elements(state)) == 3


def test_only_tapes_of_the_prefix_in_import_export_slots_count(state: State, make: Maker) -> None:
    make("BKP001L5", "BKPX01L5", "TAPE01L5")
    make("BKP002L5", to_slots=True)
    set_rule(state, replace(RULE, prefix="BK"))
    set_rule(state, replace(RULE, prefix="BKPX"))
    counts = {info.rule.prefix: info.available_tapes for info in list_rules(state)}
    assert counts == {"BK": 1, "BKPX": 1}


def test_a_full_library_gets_what_it_has_room_for(
    state: State, make: Maker, run_pass: Callable[[], None]
) -> None:
    make("TAPE01L5", "TAPE02L5", "TAPE03L5")
    set_rule(state, RULE)
    run_pass()
    (info,) = list_rules(state)
    assert info.available_tapes == 1  # of four import/export slots


def test_setting_a_rule_again_replaces_it_and_is_told_once(state: State) -> None:
    set_rule(state, RULE)
    set_rule(state, RULE)
    set_rule(state, replace(RULE, minimum_tapes=5))
    assert [info.rule.minimum_tapes for info in list_rules(state)] == [5]
    with state.read() as db:
        told = events.select(db, EventFilter(type="AutomaticTapeCreationChanged"))
    assert [event.detail["minimum_tapes"] for event in told] == [2, 5]
    delete_rules(state, ["BKP"])
    assert list_rules(state) == []
    with pytest.raises(CreationRuleNotFoundError):
        delete_rules(state, ["BKP"])


@pytest.mark.parametrize(
    "changes",
    [
        {"prefix": "bkp"},
        {"prefix": "BACKUP"},
        {"minimum_tapes": 0},
        {"minimum_tapes": 11},
        {"size_bytes": 99 * GIB},
        {"size_bytes": 100 * GIB + MIB},
        {"pool_id": "NOPOOL"},
    ],
)
def test_what_aws_would_refuse_is_refused(state: State, changes: dict[str, object]) -> None:
    with pytest.raises(TapectlError):
        set_rule(state, replace(RULE, **changes))  # type: ignore[arg-type]
    assert list_rules(state) == []


def test_a_gateway_has_ten_rules(state: State) -> None:
    for letter in "ABCDEFGHIJ":
        set_rule(state, replace(RULE, prefix=letter))
    set_rule(state, replace(RULE, prefix="A", minimum_tapes=3))
    with pytest.raises(TapectlError, match="at most 10"):
        set_rule(state, replace(RULE, prefix="K"))
