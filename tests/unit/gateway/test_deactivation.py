"""A gateway changes its name, and ends only where nothing is lost by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tapectl.errors import UsageError
from tapectl.gateway.activation import describe_gateway
from tapectl.gateway.adoption import StoreAddress, adopt
from tapectl.gateway.deactivation import GatewayInUseError, deactivate, plan_deactivation
from tapectl.gateway.gateway_document import read_gateway
from tapectl.gateway.identity_change import change_identity
from tapectl.gateway.transfer.bucket_marker import mark_bucket
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.state import events
from tapectl.state.database import State
from tapectl.state.events import EventFilter
from tapectl.state.tape_status import TapeStatus
from tapectl.store.memory import MemoryStore
from tests.support.closing import closed_at_end
from tests.support.transfer_gateway import SETTINGS
from tests.unit.gateway.conftest import Clock, Maker

_S = TapeStatus


@pytest.fixture
def store() -> MemoryStore:
    """A store that the transfer engine has marked."""
    marked = MemoryStore()
    mark_bucket(marked)
    return marked


@pytest.mark.parametrize(
    "way",
    [
        (_S.IN_TRANSIT_TO_VTS,),
        (_S.IN_TRANSIT_TO_VTS, _S.ARCHIVING),
        (_S.IN_TRANSIT_TO_VTS, _S.ARCHIVING, _S.ARCHIVED, _S.RETRIEVING),
        (_S.IN_TRANSIT_TO_VTS, _S.ARCHIVING, _S.ARCHIVED, _S.RETRIEVING, _S.RETRIEVED),
        (_S.DELETING,),
    ],
    ids=lambda way: way[-1],
)
def test_a_tape_on_its_way_or_retrieved_keeps_its_gateway(
    state: State, store: MemoryStore, make: Maker, advance: Callable[..., None], way: tuple[_S, ...]
) -> None:
    make("VTL001L5")
    advance("VTL001L5", *way)
    with pytest.raises(GatewayInUseError) as caught:
        deactivate(state, store)
    assert caught.value.hint is not None
    assert describe_gateway(state).name == "lab"


def test_tapes_on_the_shelf_and_in_slots_stay_in_the_bucket(
    state: State, store: MemoryStore, make: Maker, advance: Callable[..., None]
) -> None:
    make("VTL001L5", "VTL002L5")
    advance("VTL001L5", _S.IN_TRANSIT_TO_VTS, _S.ARCHIVING, _S.ARCHIVED)
    assert plan_deactivation(state).tapes == 2
    path = state.path
    kept = {info.key for info in store.list("")}
    done = deactivate(state, store)
    assert {info.key for info in store.list("")} == kept
    assert not path.exists()
    with State.open(done.state_path) as old, old.read() as db:
        (event,) = events.select(db, EventFilter(type="GatewayDeactivated"))
    assert event.detail == {"tapes": 2}


def _fail(*_: object) -> None:
    raise OSError("no room")


def test_an_end_that_was_cut_off_is_gone_on_with(
    state: State, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(State, "move_aside", _fail)
        with pytest.raises(OSError, match="no room"):
            deactivate(state, store)
    assert deactivate(state, store).state_path.exists()


def test_where_another_machine_is_the_gateway_by_now_that_one_goes_on(
    state: State, store: MemoryStore, tmp_path: Path
) -> None:
    address = StoreAddress(store_url="file:///elsewhere")
    gateway_id = describe_gateway(state).id
    adopt(tmp_path / "two.db", address, store, gateway_id=gateway_id, actor="test")
    deactivate(state, store)
    assert read_gateway(store, gateway_id).document.disabled_ms is None


def test_a_new_name_comes_to_the_bucket(state: State, store: MemoryStore, clock: Clock) -> None:
    engine = closed_at_end(TransferEngine(state, store, SETTINGS, now_ms=clock))
    engine.run_pass()
    gateway = change_identity(state, name="basement", timezone="GMT-5:00")
    assert (gateway.name, gateway.timezone) == ("basement", "GMT-5:00")
    engine.run_pass()
    document = store.get(f"gateways/{gateway.id}.json")
    assert b'"basement"' in document
    assert b'"GMT-5:00"' in document


def test_a_change_that_is_none_is_no_event(state: State) -> None:
    for _ in range(2):
        change_identity(state, name="basement")
    with state.read() as db:
        assert len(events.select(db, EventFilter(type="GatewayChanged"))) == 1


@pytest.mark.parametrize("changes", [{"name": "x"}, {"name": "a/b"}, {"timezone": "CET"}])
def test_what_aws_would_refuse_is_refused(state: State, changes: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        change_identity(state, **changes)  # type: ignore[arg-type]
