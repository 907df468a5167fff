"""Recovery points are restored: an own tape goes back and forth, another one is taken over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tapectl.errors import TapectlError
from tapectl.gateway.adoption import disable_gateway
from tapectl.gateway.elements import ElementError, ElementMap
from tapectl.gateway.gateway_document import GatewayStateError
from tapectl.gateway.recovery import list_points, restore
from tapectl.gateway.recovery_points import RecoveryPointNotFoundError, WhichPoint
from tapectl.gateway.restoration import NotRestorableError, RestoreRequest
from tapectl.gateway.takeover import NewOwner, take_over
from tapectl.gateway.tapes import TapeInDriveError, record_used_bytes
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.gateway.transfer.ownership import FencedError, read_ownership
from tapectl.scsi.cartridge import CartridgeWriteError
from tapectl.scsi.library import ElementType
from tapectl.state import events, gateways, tapes
from tapectl.state.errors import TapeNotFoundError, TapeStatusError
from tapectl.state.events import EventFilter
from tapectl.state.tape_status import TapeStatus
from tapectl.store.memory import MemoryStore
from tests.support.transfer_gateway import GATEWAY, TransferGateway, run_until_idle
from tests.support.two_gateways import (
    OTHER_ID,
    block,
    other_gateway,
    read,
    restore_point,
    write,
)

TAPE = "TEST01L5"


@pytest.fixture
def gateway(tmp_path: Path) -> TransferGateway:
    return TransferGateway(tmp_path / "one")


@pytest.fixture
def other(tmp_path: Path) -> TransferGateway:
    return other_gateway(tmp_path / "two")


@pytest.fixture
def store(gateway: TransferGateway) -> MemoryStore:
    return MemoryStore(retrieval_delay_s=60, now_ms=lambda: gateway.ms)


@pytest.fixture
def engine(gateway: TransferGateway, store: MemoryStore) -> Iterator[TransferEngine]:
    engine = gateway.engine(store)
    yield engine
    engine.close()


@pytest.fixture
def other_engine(other: TransferGateway, store: MemoryStore) -> Iterator[TransferEngine]:
    engine = other.engine(store)
    yield engine
    engine.close()


def latest(gateway: TransferGateway) -> int:
    return gateway.tape(TAPE).manifest_number


def test_an_overwrite_is_undone_and_the_undo_too(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    write(gateway, TAPE, [block(1), block(2), block(3)])
    run_until_idle(engine)
    before = latest(gateway)
    write(gateway, TAPE, [block(9)], at=1)
    run_until_idle(engine)
    overwritten = latest(gateway)
    assert read(gateway, TAPE, engine) == [block(1), block(9), None]

    restore_point(gateway, store, TAPE, before)
    run_until_idle(engine)
    assert read(gateway, TAPE, engine) == [block(1), block(2), block(3), None]
    assert gateway.tape(TAPE).status is TapeStatus.AVAILABLE
    undone = latest(gateway)
    assert undone > overwritten

    restore_point(gateway, store, TAPE, overwritten)
    run_until_idle(engine)
    assert read(gateway, TAPE, engine) == [block(1), block(9), None]

    restore_point(gateway, store, TAPE, undone)
    run_until_idle(engine)
    write(gateway, TAPE, [block(4)], at=4)
    run_until_idle(engine)
    gateway.drop_cache()
    wanted = [block(1), block(2), block(3), None, block(4), None]
    assert read(gateway, TAPE, engine) == wanted
    # Nothing was destroyed by any of it.
    restore_point(gateway, store, TAPE, overwritten)
    run_until_idle(engine)
    assert read(gateway, TAPE, engine) == [block(1), block(9), None]


def test_an_erase_and_a_format_are_undone(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    write(gateway, TAPE, [block(1), block(2)])
    run_until_idle(engine)
    before = latest(gateway)
    cartridge = gateway.load(TAPE)
    cartridge.locate(0)
    cartridge.erase()
    cartridge.close()
    run_until_idle(engine)
    assert read(gateway, TAPE, engine) == []
    restore_point(gateway, store, TAPE, before)
    run_until_idle(engine)
    assert read(gateway, TAPE, engine) == [block(1), block(2), None]

    cartridge = gateway.load(TAPE)
    cartridge.format([50 << 30, 50 << 30])
    cartridge.close()
    write(gateway, TAPE, [block(7)])
    run_until_idle(engine)
    formatted = latest(gateway)
    restore_point(gateway, store, TAPE, before)
    run_until_idle(engine)
    assert read(gateway, TAPE, engine) == [block(1), block(2), None]
    restore_point(gateway, store, TAPE, formatted)
    run_until_idle(engine)
    assert read(gateway, TAPE, engine) == [block(7), None]
    assert len(gateway.load(TAPE).partitions) == 2


def test_a_point_says_what_a_tape_made_of_it_holds(
    gateway: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
    other: TransferGateway,
    other_engine: TransferEngine,
) -> None:
    """Whatever is still written, waits for its upload, was written over, or is in which partition:
    a drive notes what is on the whole tape meanwhile."""
    gateway.create_tape(TAPE)
    cartridge = gateway.load(TAPE)

    def note() -> None:
        record_used_bytes(gateway.state, TAPE, cartridge.volume_used_bytes)
        run_until_idle(engine)

    def append(count: int) -> None:
        for _ in range(count):
            cartridge.write_blocks(memoryview(block(1, 200_000)), 200_000)

    def said() -> list[int]:
        return [point.used_bytes for point in list_points(store, barcode=TAPE)]

    append(8)  # of which a segment takes five
    note()
    assert gateway.tape(TAPE).used_bytes == 8 * 200_000
    assert said()[0] == 5 * 200_000
    cartridge.seal_open_segment()
    note()
    assert said()[0] == 8 * 200_000
    cartridge.locate(3)
    append(1)
    cartridge.seal_open_segment()
    append(1)
    note()
    assert said()[0] == 4 * 200_000
    cartridge.locate(0)
    cartridge.erase()
    cartridge.seal_open_segment()
    note()
    assert said()[0] == 0
    append(2)
    cartridge.seal_open_segment()
    append(2)
    note()
    two_blocks = latest(gateway)
    assert said()[0] == 2 * 200_000
    cartridge.format([50 << 30, 50 << 30])
    note()
    assert said()[0] == 0
    append(3)
    cartridge.seal_open_segment()
    cartridge.select_partition(1)
    append(1)
    cartridge.seal_open_segment()
    append(1)
    note()
    assert said()[0] == 4 * 200_000
    cartridge.close()
    note()
    assert said()[0] == 5 * 200_000

    assert restore_point(gateway, store, TAPE, two_blocks).point.used_bytes == 2 * 200_000
    run_until_idle(engine)
    assert said()[0] == gateway.tape(TAPE).used_bytes == 2 * 200_000
    assert gateway.load(TAPE).volume_used_bytes == 2 * 200_000
    disable_gateway(store, GATEWAY.id, by="test", now_ms=lambda: gateway.ms)
    run_until_idle(other_engine)
    restore_point(other, store, TAPE)
    assert other.tape(TAPE).used_bytes == 2 * 200_000
    assert len(read(other, TAPE, other_engine)) == 2
    run_until_idle(other_engine)
    (head,) = list_points(store, gateway_id=OTHER_ID)
    assert head.used_bytes == 2 * 200_000


def test_what_is_no_recovery_point_yet_is_not_given_up(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    write(gateway, TAPE, [block(1)])
    run_until_idle(engine)
    write(gateway, TAPE, [block(2)])
    with pytest.raises(NotRestorableError, match="not in the store yet"):
        restore_point(gateway, store, TAPE, 1)
    run_until_idle(engine)
    cartridge = gateway.load(TAPE)
    cartridge.write_blocks(memoryview(block(3)), 3000)
    # Its process dies: what it had open is on the disks, and in no table.
    with pytest.raises(NotRestorableError, match="more of tape"):
        restore_point(gateway, store, TAPE, 1)
    with gateway.state.write() as db:
        drive = ElementMap.of(GATEWAY).address(ElementType.DATA_TRANSFER, 1)
        tapes.update(db, TAPE, element_address=drive)
    with pytest.raises(TapeInDriveError):
        restore_point(gateway, store, TAPE, 1)


def test_a_tape_with_lost_data_comes_back_read_only(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    write(gateway, TAPE, [block(1)])
    run_until_idle(engine)
    write(gateway, TAPE, [block(2)], at=2)
    gateway.change_status(TAPE, TapeStatus.IRRECOVERABLE)
    restore_point(gateway, store, TAPE)
    assert gateway.tape(TAPE).status is TapeStatus.RECOVERED
    run_until_idle(engine)
    assert read(gateway, TAPE, engine) == [block(1), None]
    with pytest.raises(CartridgeWriteError):
        write(gateway, TAPE, [block(3)])


def test_a_point_is_found_by_its_time_or_those_near_it_are_named(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    times = []
    for seed in range(9):
        write(gateway, TAPE, [block(seed)])
        run_until_idle(engine)
        times.append(gateway.ms)
        gateway.ms += 1000

    def at(point: WhichPoint) -> int:
        request = RestoreRequest(barcode=TAPE, point=point, dry_run=True)
        return restore(gateway.state, store, request).point.number

    found = [at(WhichPoint(at_ms=when)) for when in times]
    assert found == list(range(1, 10))
    assert at(WhichPoint(at_ms=times[-1] + 10**9)) == at(WhichPoint()) == 9
    with pytest.raises(RecoveryPointNotFoundError) as early:
        at(WhichPoint(at_ms=times[0] - 10_000))
    assert "1 of 2027-01-15" in str(early.value.hint)
    with pytest.raises(RecoveryPointNotFoundError) as far:
        at(WhichPoint(number=12))
    assert "8 of" in str(far.value.hint)
    listed = list_points(store, barcode=TAPE)
    assert [head.number for head in listed] == list(range(9, 0, -1))
    with pytest.raises(TapeNotFoundError):
        list_points(store, barcode="NONE01L5")


def test_the_tape_of_a_disabled_gateway_is_recovered(
    gateway: TransferGateway,
    other: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
    other_engine: TransferEngine,
) -> None:
    gateway.create_tape(TAPE)
    write(gateway, TAPE, [block(1), block(2)])
    run_until_idle(engine)
    write(gateway, TAPE, [block(9)])
    run_until_idle(engine)
    write(gateway, TAPE, [block(10)])  # never uploaded
    other_engine.run_pass()
    with pytest.raises(GatewayStateError, match="not disabled"):
        restore_point(other, store, TAPE)
    disable_gateway(store, GATEWAY.id, by="test")
    assert [one.barcode for one in list_points(store, gateway_id=GATEWAY.id)] == [TAPE]

    restored = restore_point(other, store, TAPE)
    assert (restored.from_gateway, restored.status) == (GATEWAY.id, TapeStatus.RECOVERED)
    tape = other.tape(TAPE)
    assert tape.write_protected
    assert tape.element_address is not None
    assert read(other, TAPE, other_engine) == [block(9), None]
    with pytest.raises(CartridgeWriteError):
        write(other, TAPE, [block(3)])
    run_until_idle(other_engine)

    # From there it can be taken to any other of its points.
    restore_point(other, store, TAPE, 1)
    run_until_idle(other_engine)
    assert read(other, TAPE, other_engine) == [block(1), block(2), None]
    assert other.tape(TAPE).status is TapeStatus.RECOVERED

    # The old gateway comes back, and stays out.
    before = {info.key: info.etag for info in store.list("")}
    assert run_until_idle(engine).done == 0
    assert {info.key: info.etag for info in store.list("")} == before
    with gateway.state.read() as db:
        assert "disabled by test" in str(gateways.read_standing(db).fenced_detail)
        kinds = [event.type for event in events.select(db, EventFilter())]
    assert kinds.count("GatewayFenced") == 1
    with pytest.raises(GatewayStateError):
        restore_point(gateway, store, TAPE)


def test_an_archived_tape_of_a_disabled_gateway_comes_to_the_shelf(
    gateway: TransferGateway,
    other: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
    other_engine: TransferEngine,
) -> None:
    gateway.create_tape(TAPE)
    write(gateway, TAPE, [block(1), block(2)])
    run_until_idle(engine)
    first = latest(gateway)
    write(gateway, TAPE, [block(3)])
    run_until_idle(engine)
    gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
    run_until_idle(engine)
    assert gateway.tape(TAPE).status is TapeStatus.ARCHIVED
    with pytest.raises(TapeStatusError):
        restore_point(gateway, store, TAPE, first)
    disable_gateway(store, GATEWAY.id, by="test")
    other_engine.run_pass()
    restored = restore_point(other, store, TAPE, first)
    assert restored.status is TapeStatus.ARCHIVED
    other.change_status(TAPE, TapeStatus.RETRIEVING, retrieval_tier="Bulk")
    run_until_idle(other_engine)
    gateway.ms += 61_000
    other.ms += 61_000
    run_until_idle(other_engine)
    assert other.tape(TAPE).status is TapeStatus.RETRIEVED
    assert read(other, TAPE, other_engine) == [block(1), block(2), None]


def test_a_takeover_that_was_cut_off_is_done_again(
    gateway: TransferGateway,
    other: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
    other_engine: TransferEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway.create_tape(TAPE)
    write(gateway, TAPE, [block(1)])
    run_until_idle(engine)
    other_engine.run_pass()
    disable_gateway(store, GATEWAY.id, by="test")

    def die(*_arguments: object) -> None:
        raise TapectlError("the power is gone")

    with monkeypatch.context() as patched:
        patched.setattr("tapectl.gateway.foreign_tapes._enter", die)
        with pytest.raises(TapectlError, match="power"):
            restore_point(other, store, TAPE)
    restore_point(other, store, TAPE)
    assert read(other, TAPE, other_engine) == [block(1), None]
    assert other.tape(TAPE).store_epoch == 3


def test_what_may_not_change_does_not(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    for seed in range(2):
        write(gateway, TAPE, [block(seed)])
        run_until_idle(engine)
    with gateway.state.write() as db:
        db.execute("UPDATE tape SET worm = 1")
    with pytest.raises(NotRestorableError, match="write once"):
        restore_point(gateway, store, TAPE, 1)
    with gateway.state.write() as db:
        db.execute("UPDATE tape SET worm = 0")
    gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
    run_until_idle(engine)
    gateway.change_status(TAPE, TapeStatus.RETRIEVING, retrieval_tier="Bulk")
    run_until_idle(engine)
    gateway.ms += 61_000
    run_until_idle(engine)
    assert read(gateway, TAPE, engine) == [block(1), None]
    restore_point(gateway, store, TAPE, 1)
    run_until_idle(engine)
    assert read(gateway, TAPE, engine) == [block(0), None]
    assert gateway.tape(TAPE).status is TapeStatus.RETRIEVED
    with pytest.raises(CartridgeWriteError):
        write(gateway, TAPE, [block(3)])


def test_of_two_that_take_a_tape_over_one_wins(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    gateway.create_tape(TAPE)
    write(gateway, TAPE, [block(1)])
    run_until_idle(engine)
    found = read_ownership(store, TAPE)
    first, second = (
        NewOwner(gateway_id=f"sgw-{digit * 8}", gateway_epoch=1, now_ms=gateway.ms)
        for digit in "12"
    )
    taken = take_over(store, found, first)
    with pytest.raises(FencedError):
        take_over(store, found, second)
    assert read_ownership(store, TAPE) == taken.owned
    assert taken.owned.ownership.gateway_id == "sgw-11111111"


@pytest.mark.parametrize("element", ["slot:99999", "drive:1", "slot:1"])
def test_a_place_that_is_none_changes_nothing(
    gateway: TransferGateway,
    other: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
    other_engine: TransferEngine,
    element: str,
) -> None:
    gateway.create_tape(TAPE)
    run_until_idle(engine)
    other.create_tape("OWN001L5")
    other_engine.run_pass()
    with other.state.write() as db:
        slot = ElementMap.of(GATEWAY).address(ElementType.STORAGE, 1)
        tapes.update(db, "OWN001L5", element_address=slot)
    disable_gateway(store, GATEWAY.id, by="test")
    before = {info.key: info.etag for info in store.list("")}
    request = RestoreRequest(barcode=TAPE, point=WhichPoint(), to_element=element)
    with pytest.raises(ElementError):
        restore(other.state, store, request)
    assert {info.key: info.etag for info in store.list("")} == before
    # A tape that was never written comes too, empty.
    restore_point(other, store, TAPE)
    assert read(other, TAPE, other_engine) == []


def test_a_tape_that_nothing_was_written_on_is_listed(tmp_path: Path) -> None:
    """It is restored like any other, and who looks into a bucket must know that it is there."""
    gateway = TransferGateway(tmp_path / "gateway")
    store = MemoryStore(now_ms=lambda: gateway.ms)
    engine = gateway.engine(store)
    gateway.create_tape(TAPE)
    run_until_idle(engine)
    for listed in (
        list_points(store),
        list_points(store, barcode=TAPE),
        list_points(store, all_points=True),
    ):
        assert [(one.barcode, one.number, one.used_bytes) for one in listed] == [(TAPE, 0, 0)]
