"""A machine becomes a gateway from its bucket alone, and goes on where the old one was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tapectl.disks.disk_directory import read_marker
from tapectl.gateway.activation import AlreadyActivatedError, describe_gateway
from tapectl.gateway.adoption import (
    GatewayAmbiguousError,
    adopt,
    disable_gateway,
    foresee,
    list_gateways,
)
from tapectl.gateway.disk_allocation import DiskAddition, add_disk
from tapectl.gateway.gateway_document import (
    GatewayDocument,
    GatewayNotFoundError,
    GatewayStateError,
)
from tapectl.gateway.surviving_disks import DiskOvertakenError
from tapectl.gateway.transfer.bucket_layout import gateway_key, inventory_key, manifest_key
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.state import gateways, inventory, tapes
from tapectl.state.database import State
from tapectl.state.disks import DiskRole
from tapectl.state.tape_status import TapeStatus
from tapectl.store.memory import MemoryStore
from tests.support.adopted_gateway import ADDRESS, adopt_on
from tests.support.closing import closed_at_end
from tests.support.transfer_gateway import CACHE, GATEWAY, TransferGateway, run_until_idle
from tests.support.two_gateways import block, read, write


@pytest.fixture
def gateway(tmp_path: Path) -> TransferGateway:
    return TransferGateway(tmp_path / "one")


@pytest.fixture
def store(gateway: TransferGateway) -> MemoryStore:
    return MemoryStore(retrieval_delay_s=60, now_ms=lambda: gateway.ms)


@pytest.fixture
def engine(gateway: TransferGateway, store: MemoryStore) -> Iterator[TransferEngine]:
    engine = gateway.engine(store, drives_run=False)
    yield engine
    engine.close()


def test_everything_goes_on_where_it_was(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine, tmp_path: Path
) -> None:
    for barcode in ("FULL01L5", "SHELF1L5", "BACK01L5", "EMPTY1L5", "GONE01L5"):
        gateway.create_tape(barcode)
    for barcode in ("FULL01L5", "SHELF1L5", "BACK01L5"):
        write(gateway, barcode, [block(1), block(2)])
    run_until_idle(engine)
    for barcode in ("SHELF1L5", "BACK01L5"):
        gateway.change_status(barcode, TapeStatus.IN_TRANSIT_TO_VTS)
    gateway.change_status("GONE01L5", TapeStatus.DELETING)
    run_until_idle(engine)
    gateway.change_status("BACK01L5", TapeStatus.RETRIEVING, retrieval_tier="Bulk")
    run_until_idle(engine)
    gateway.create_tape("NEW001L5")
    with gateway.state.write() as db:
        gateways.set_setting(db, "answer", "42")
        db.execute("INSERT INTO device_memory VALUES ('X', 'y', x'0102')")
        db.execute("INSERT INTO chap VALUES ('mediachanger', 'iqn.x', x'01', NULL, 5)")
        tapes.update(db, "FULL01L5", element_address=20_003, source_element=20_007)
        tapes.update(db, "EMPTY1L5", element_address=10_001)
    gateway.ms += 100_000
    engine.run_pass()
    gateway.create_tape("LATE01L5")
    gateway.engine(store, drives_run=True)._steps[0].run()  # claims, then dies
    before = {code: gateway.tape(code) for code in ("FULL01L5", "SHELF1L5", "EMPTY1L5")}

    told, machine = adopt_on(gateway, store, tmp_path / "two")
    record = told.gateway
    assert record == replace(GATEWAY, store_url="file:///elsewhere", region="mars")
    assert told.chap == [("mediachanger", "iqn.x")]
    for code, tape in before.items():
        found = machine.tape(code)
        assert found.store_epoch == tape.store_epoch + 1
        assert (
            replace(
                found,
                store_epoch=tape.store_epoch,
                store_etag=tape.store_etag,
                on_shelf=tape.on_shelf,  # looked up by its first pass
                manifest_number=tape.manifest_number,
                # It looks for itself what was overwritten.
                overwritten_seen=tape.overwritten_seen,
            )
            == tape
        )
        assert [one.summary for one in machine.segments(code)] == [
            one.summary for one in gateway.segments(code)
        ]
    assert machine.tape("GONE01L5").status is TapeStatus.DELETED
    assert machine.tape("NEW001L5").status is TapeStatus.AVAILABLE
    late = machine.tape("LATE01L5")
    assert (late.status, late.element_address is not None) == (TapeStatus.AVAILABLE, True)
    with machine.state.read() as db:
        assert gateways.get_setting(db, "answer") == "42"
        assert bytes(db.execute("SELECT value FROM device_memory").fetchone()[0]) == b"\x01\x02"

    fresh = machine.engine(store)
    run_until_idle(fresh)
    gateway.ms += 61_000
    machine.ms += 61_000
    run_until_idle(fresh)
    assert machine.tape("BACK01L5").status is TapeStatus.RETRIEVED
    for barcode in ("FULL01L5", "BACK01L5"):
        assert read(machine, barcode, fresh) == [block(1), block(2), None]
    write(machine, "FULL01L5", [block(3)], at=3)
    run_until_idle(fresh)
    machine.drop_cache()
    assert read(machine, "FULL01L5", fresh) == [block(1), block(2), None, block(3), None]

    # The old machine comes back with something to upload, and stays out.
    write(gateway, "FULL01L5", [block(99)])
    keys = {info.key: info.etag for info in store.list("")}
    assert run_until_idle(engine).done == 0
    assert {info.key: info.etag for info in store.list("")} == keys
    with gateway.state.read() as db:
        assert "another machine" in str(gateways.read_standing(db).fenced_detail)
    fresh.close()


@pytest.mark.parametrize("status", [TapeStatus.ARCHIVING, TapeStatus.RETRIEVING, "DELETING"])
def test_steps_that_were_under_way_are_finished(
    gateway: TransferGateway,
    store: MemoryStore,
    engine: TransferEngine,
    tmp_path: Path,
    status: str,
) -> None:
    gateway.create_tape("STEP01L5")
    write(gateway, "STEP01L5", [block(1)])
    run_until_idle(engine)
    wanted = {"DELETING": TapeStatus.DELETED, "RETRIEVING": TapeStatus.RETRIEVED}
    if status == TapeStatus.RETRIEVING:
        gateway.change_status("STEP01L5", TapeStatus.IN_TRANSIT_TO_VTS)
        run_until_idle(engine)
    if status == TapeStatus.ARCHIVING:
        gateway.change_status("STEP01L5", TapeStatus.IN_TRANSIT_TO_VTS)
    gateway.change_status("STEP01L5", TapeStatus(status))
    gateway.engine(store)._inventory.run(busy=False)  # and dies
    _, machine = adopt_on(gateway, store, tmp_path / "two")
    assert machine.tape("STEP01L5").status == status
    fresh = machine.engine(store)
    run_until_idle(fresh)
    gateway.ms += 61_000
    machine.ms += 61_000
    run_until_idle(fresh)
    assert machine.tape("STEP01L5").status is wanted.get(status, TapeStatus.ARCHIVED)
    fresh.close()


def test_without_an_inventory_the_manifests_are_enough(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine, tmp_path: Path
) -> None:
    for barcode in ("FULL01L5", "SHELF1L5"):
        gateway.create_tape(barcode)
        write(gateway, barcode, [block(1)])
    run_until_idle(engine)
    gateway.change_status("SHELF1L5", TapeStatus.IN_TRANSIT_TO_VTS)
    run_until_idle(engine)
    store.delete(inventory_key(GATEWAY.id))
    told, machine = adopt_on(gateway, store, tmp_path / "two")
    assert (told.tapes, told.inventory_ms) == (2, None)
    assert machine.tape("SHELF1L5").status is TapeStatus.ARCHIVED
    fresh = machine.engine(store)
    run_until_idle(fresh)
    assert read(machine, "FULL01L5", fresh) == [block(1), None]
    fresh.close()


def test_what_was_not_uploaded_is_told(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine, tmp_path: Path
) -> None:
    gateway.create_tape("HALF01L5")
    write(gateway, "HALF01L5", [block(1)])
    run_until_idle(engine)
    write(gateway, "HALF01L5", [block(2)], at=2)
    gateway.engine(store)._inventory.run(busy=False)  # and dies
    told, machine = adopt_on(gateway, store, tmp_path / "two")
    assert [(one.barcode, one.segments) for one in told.unuploaded] == [("HALF01L5", 1)]
    fresh = machine.engine(store)
    assert read(machine, "HALF01L5", fresh) == [block(1), None]
    fresh.close()


def test_a_gateway_that_is_stopped_leaves_word_of_its_last_change(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine, tmp_path: Path
) -> None:
    gateway.create_tape("BKP001")
    run_until_idle(engine)
    with gateway.state.write() as db:
        tapes.update(db, "BKP001", retention_start_at_ms=7)
    engine.run_pass()  # too soon to write all of it down again
    engine.stop()
    engine.finish()
    adopt(tmp_path / "two.db", ADDRESS, store)
    with State.open(tmp_path / "two.db") as state, state.read() as db:
        assert tapes.get(db, "BKP001").retention_start_at_ms == 7


def test_disks_that_survive_bring_back_what_was_not_uploaded(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine, tmp_path: Path
) -> None:
    gateway.create_tape("HALF01L5")
    write(gateway, "HALF01L5", [block(1)])
    run_until_idle(engine)
    write(gateway, "HALF01L5", [block(2)], at=2)
    cartridge = gateway.load("HALF01L5")
    cartridge.locate(4)
    cartridge.write_blocks(memoryview(block(3)), 3000)  # and the state file is gone

    path = tmp_path / "two.db"
    adopt(path, ADDRESS, store, now_ms=lambda: gateway.ms)
    machine = object.__new__(TransferGateway)
    machine.root, machine.gateway, machine.ms = gateway.root, gateway.gateway, gateway.ms
    machine.state = closed_at_end(State.open(path))
    for role, folder in (
        (DiskRole.CACHE_STORAGE, machine.cache),
        (DiskRole.UPLOAD_BUFFER, machine.buffer),
    ):
        add_disk(machine.state, DiskAddition(role=role, path=folder, allow_small=True))
    fresh = machine.engine(store)
    wanted = [block(1), None, block(2), None, block(3)]
    assert read(machine, "HALF01L5", fresh) == wanted
    run_until_idle(fresh)
    machine.drop_cache()
    assert read(machine, "HALF01L5", fresh) == wanted
    fresh.close()


def test_disks_that_were_overtaken_stay_out(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine, tmp_path: Path
) -> None:
    gateway.create_tape("HALF01L5")
    write(gateway, "HALF01L5", [block(1)])
    run_until_idle(engine)
    write(gateway, "HALF01L5", [block(2)], at=2)
    _, machine = adopt_on(gateway, store, tmp_path / "two")
    fresh = machine.engine(store)
    write(machine, "HALF01L5", [block(3)], None, fresh)
    addition = DiskAddition(role=DiskRole.CACHE_STORAGE, path=gateway.cache, allow_small=True)
    with machine.state.write() as db:
        db.execute("UPDATE segment SET cache_disk_id = NULL WHERE cache_disk_id = ?", [CACHE])
        db.execute("DELETE FROM disk WHERE id = ?", [CACHE])
    with pytest.raises(DiskOvertakenError):
        add_disk(machine.state, addition)
    assert read_marker(gateway.cache) is not None
    fresh.close()


def test_one_damaged_object_costs_no_more_than_itself(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine, tmp_path: Path
) -> None:
    for barcode in ("GOOD01L5", "TORN01L5", "LOST01L5"):
        gateway.create_tape(barcode)
        for seed in range(2):
            write(gateway, barcode, [block(seed)], at=seed * 2)
            run_until_idle(engine)
    for barcode, numbers in (("TORN01L5", (2,)), ("LOST01L5", (1, 2))):
        for number in numbers:
            store.put(manifest_key(barcode, number), b"torn")
    store.put(inventory_key(GATEWAY.id), b"torn")
    told, machine = adopt_on(gateway, store, tmp_path / "two")
    assert (told.tapes, told.inventory_ms) == (3, None)
    fresh = machine.engine(store)
    run_until_idle(fresh)
    assert read(machine, "GOOD01L5", fresh) == [block(0), None, block(1), None]
    assert read(machine, "TORN01L5", fresh) == [block(0), None]
    assert machine.tape("LOST01L5").status is TapeStatus.IRRECOVERABLE
    fresh.close()


def test_a_store_that_nothing_was_written_to_has_no_gateways() -> None:
    assert list_gateways(MemoryStore(now_ms=lambda: 0)) == []


def test_which_gateway_it_is_must_be_clear(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine, tmp_path: Path
) -> None:
    with pytest.raises(GatewayNotFoundError):
        adopt(tmp_path / "two.db", ADDRESS, store)
    engine.run_pass()
    second = GatewayDocument.of(replace(GATEWAY, id="sgw-22222222"))
    store.put(gateway_key(second.gateway_id), second.encode())
    assert [one.gateway_id for one in list_gateways(store)] == [GATEWAY.id, "sgw-22222222"]
    with pytest.raises(GatewayAmbiguousError):
        adopt(tmp_path / "two.db", ADDRESS, store)
    with pytest.raises(GatewayNotFoundError):
        adopt(tmp_path / "two.db", ADDRESS, store, gateway_id="sgw-33333333")
    disable_gateway(store, "sgw-22222222", by="me")
    assert disable_gateway(store, "sgw-22222222", by="you").disabled_by == "me"
    with pytest.raises(GatewayStateError):
        adopt(tmp_path / "two.db", ADDRESS, store, gateway_id="sgw-22222222")
    assert not (tmp_path / "two.db").exists()
    with pytest.raises(AlreadyActivatedError):
        adopt(gateway.state.path, ADDRESS, store)
    adopt(tmp_path / "two.db", ADDRESS, store)
    with State.open(tmp_path / "two.db") as state:
        assert describe_gateway(state).id == GATEWAY.id


def test_every_table_is_in_the_inventory_or_there_is_a_reason(gateway: TransferGateway) -> None:
    with gateway.state.read() as db:
        names = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type='table'")}
    of_ours = {name for name in names if not name.startswith("sqlite_")}
    assert of_ours == {*inventory.KEPT, *inventory.NOT_KEPT}


def test_no_secret_is_in_the_bucket(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    with gateway.state.write() as db:
        values = ("mediachanger", "iqn.x", b"sealedsecret", None, 5)
        db.execute("INSERT INTO chap VALUES (?, ?, ?, ?, ?)", values)
    run_until_idle(engine)
    everything = b"".join(store.get(info.key) for info in store.list(""))
    assert b"sealedsecret" not in everything
    assert b"sealedsecret".hex().encode() not in everything


def test_a_gateway_that_is_only_looked_at_goes_on(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine, tmp_path: Path
) -> None:
    gateway.create_tape("FULL01L5")
    write(gateway, "FULL01L5", [block(1)])
    run_until_idle(engine)
    write(gateway, "FULL01L5", [block(2)], at=2)  # not uploaded
    with gateway.state.write() as db:
        db.execute("INSERT INTO chap VALUES ('mediachanger', 'iqn.x', x'01', NULL, 5)")
    gateway.engine(store)._inventory.run(busy=False)
    before = {info.key: store.get(info.key) for info in store.list("")}

    told = foresee(tmp_path / "two" / "tapectl.db", ADDRESS, store)
    assert {info.key: store.get(info.key) for info in store.list("")} == before
    assert not (tmp_path / "two").exists()
    assert (told.gateway.id, told.tapes, told.epoch) == (GATEWAY.id, 1, 2)
    assert [(one.barcode, one.segments) for one in told.unuploaded] == [("FULL01L5", 1)]
    assert told.chap == [("mediachanger", "iqn.x")]
    run_until_idle(engine)  # it is not fenced
    came, _ = adopt_on(gateway, store, tmp_path / "two")
    assert (came.tapes, came.epoch, came.chap) == (told.tapes, told.epoch, told.chap)
    with pytest.raises(AlreadyActivatedError):
        foresee(tmp_path / "two" / "tapectl.db", ADDRESS, store)
