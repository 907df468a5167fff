"""Encrypted tapes through the transfer engine: to the store and back, with the key and without."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tapectl.gateway.adoption import disable_gateway
from tapectl.gateway.alerts import AlertKind, AlertWatch
from tapectl.gateway.keyring import (
    Keyring,
    create_key,
    export_keys,
    import_keys,
    keyring_path,
)
from tapectl.gateway.tape_keys import new_data_key
from tapectl.gateway.transfer.bucket_layout import (
    archive_prefix,
    inventory_key,
    manifest_key,
    ownership_key,
    segments_prefix,
)
from tapectl.gateway.transfer.engine import TransferEngine
from tapectl.gateway.transfer.ownership import Ownership
from tapectl.medium.manifest import decode_manifest
from tapectl.scsi.cartridge import CartridgeKeyError, CartridgeReadError
from tapectl.state import tapes, verifications
from tapectl.state.tape_status import TapeStatus
from tapectl.state.verifications import VerificationRecord
from tapectl.store.memory import MemoryStore
from tests.support.adopted_gateway import adopt_on
from tests.support.fetched import fetched
from tests.support.transfer_gateway import GATEWAY, SETTINGS, TransferGateway, run_until_idle
from tests.support.two_gateways import other_gateway, restore_point

TAPE = "SEALD1L5"
SECRET = b"the pay of everybody in the house "
WAIT_S = 20.0


@pytest.fixture
def gateway(tmp_path: Path) -> TransferGateway:
    """A gateway with a key, and a tape of three segments that is encrypted with it."""
    made = TransferGateway(tmp_path / "one")
    key = create_key(made.state.path)
    tape = made.create_tape(TAPE)
    with made.state.write() as db:
        tapes.update(db, TAPE, data_key=new_data_key(key, tape.tape_uuid))
    return made


@pytest.fixture
def store(gateway: TransferGateway) -> MemoryStore:
    return MemoryStore(retrieval_delay_s=60, now_ms=lambda: gateway.ms)


@pytest.fixture
def engine(gateway: TransferGateway, store: MemoryStore) -> Iterator[TransferEngine]:
    engine = gateway.engine(store)
    yield engine
    engine.close()


def written(gateway: TransferGateway, engine: TransferEngine) -> list[bytes]:
    contents = [gateway.write_segment(TAPE, [SECRET * 3000, bytes(range(256))]) for _ in range(3)]
    run_until_idle(engine)
    return contents


def hide_keys(gateway: TransferGateway) -> Path:
    hidden = gateway.root / "hidden"
    keyring_path(gateway.state.path).rename(hidden)
    return hidden


def show_keys(gateway: TransferGateway, hidden: Path) -> None:
    hidden.rename(keyring_path(gateway.state.path))


def fetch(gateway: TransferGateway, engine: TransferEngine, sequence: int) -> bytes:
    size_bytes = gateway.segments(TAPE)[sequence - 1].summary.file_bytes
    return fetched(engine, TAPE, sequence, 0, size_bytes)


def everything(store: MemoryStore) -> bytes:
    return b"".join(store.get(info.key) for info in store.list(""))


def flip(store: MemoryStore, key: str, at: int) -> None:
    body = bytearray(store.get(key))
    body[at] ^= 1
    store.put(key, bytes(body))


def test_nothing_that_was_written_is_in_the_store(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    written(gateway, engine)
    assert SECRET not in everything(store)
    assert bytes(range(256)) not in everything(store)
    head = decode_manifest(store.get(manifest_key(TAPE, gateway.tape(TAPE).manifest_number))).head
    owner = Ownership.decode(store.get(ownership_key(TAPE)))
    assert head.data_key == owner.data_key == gateway.tape(TAPE).data_key
    assert b'"format":4,' in store.get(manifest_key(TAPE, head.number))


def test_it_comes_back_as_it_was(gateway: TransferGateway, engine: TransferEngine) -> None:
    contents = written(gateway, engine)
    gateway.drop_cache()
    for sequence, content in enumerate(contents, 1):
        assert fetch(gateway, engine, sequence) == content


def test_archived_in_large_objects_and_retrieved(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    contents = written(gateway, engine)
    gateway.change_status(TAPE, TapeStatus.IN_TRANSIT_TO_VTS)
    # The store's side composes: no key is needed for that.
    hidden = hide_keys(gateway)
    run_until_idle(engine)
    assert gateway.tape(TAPE).status is TapeStatus.ARCHIVED
    assert len(list(store.list(archive_prefix(TAPE)))) == 1
    gateway.change_status(
        TAPE,
        TapeStatus.RETRIEVING,
        retrieval_tier="Bulk",
        retrieval_requested_at_ms=gateway.ms,
        element_address=1000,
    )
    run_until_idle(engine)
    gateway.ms += 61_000
    run_until_idle(engine)
    assert gateway.tape(TAPE).status is TapeStatus.RETRIEVED
    show_keys(gateway, hidden)
    for sequence, content in enumerate(contents, 1):
        assert fetch(gateway, engine, sequence) == content


def test_without_the_key_it_cannot_be_read_and_with_it_at_once(
    gateway: TransferGateway, engine: TransferEngine
) -> None:
    contents = written(gateway, engine)
    gateway.drop_cache()
    hidden = hide_keys(gateway)
    for _ in range(2):
        with pytest.raises(CartridgeKeyError, match="its key is not here"):
            fetch(gateway, engine, 1)
    show_keys(gateway, hidden)
    assert fetch(gateway, engine, 1) == contents[0]


def test_without_the_key_uploads_of_this_tape_wait_and_others_go_on(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    hidden = hide_keys(gateway)
    gateway.create_tape("PLAIN1L5")
    gateway.write_segment("PLAIN1L5", [b"plain"])
    gateway.write_segment(TAPE, [SECRET])
    run_until_idle(engine)
    assert list(store.list(segments_prefix("PLAIN1L5")))
    assert not list(store.list(segments_prefix(TAPE)))
    assert "its key is not here" in (gateway.tape(TAPE).status_detail or "")
    show_keys(gateway, hidden)
    gateway.ms += 61_000
    run_until_idle(engine)
    assert list(store.list(segments_prefix(TAPE)))
    assert gateway.tape(TAPE).status_detail is None


def test_another_key_does_not_open_it(gateway: TransferGateway, engine: TransferEngine) -> None:
    written(gateway, engine)
    gateway.drop_cache()
    hide_keys(gateway)
    create_key(gateway.state.path)
    with pytest.raises(CartridgeKeyError):
        fetch(gateway, engine, 1)


def test_a_flipped_bit_is_an_error_and_never_data(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    written(gateway, engine)
    gateway.drop_cache()
    (key, *_) = (info.key for info in store.list(segments_prefix(TAPE)))
    flip(store, key, 300)
    with pytest.raises(CartridgeReadError, match="checksum") as failed:
        fetch(gateway, engine, 1)
    assert not isinstance(failed.value, CartridgeKeyError)


def verified(gateway: TransferGateway, engine: TransferEngine) -> VerificationRecord:
    with gateway.state.write() as db:
        verifications.begin(
            db,
            VerificationRecord(
                barcode=TAPE,
                requested=True,
                local_only=False,
                rate_bytes_per_s=None,
                started_at_ms=gateway.ms,
            ),
        )
    deadline = time.monotonic() + WAIT_S
    while True:
        engine.run_pass()
        gateway.ms += 1000
        with gateway.state.read() as db:
            found = verifications.find_verification(db, TAPE)
        assert found is not None
        if found.finished_at_ms is not None:
            return found
        assert time.monotonic() < deadline


def test_verifying_makes_a_damaged_object_anew(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    written(gateway, engine)
    keys = [info.key for info in store.list(segments_prefix(TAPE))]
    before = [store.get(key) for key in keys]
    flip(store, keys[1], 300)
    found = verified(gateway, engine)
    assert (found.status, found.healed_count) == ("SOUND", 1)
    # The same bytes again: whoever keeps checksums of the bucket sees no change.
    assert [store.get(key) for key in keys] == before


def test_verifying_without_the_key_says_that_nothing_is_known(
    gateway: TransferGateway, engine: TransferEngine
) -> None:
    written(gateway, engine)
    hide_keys(gateway)
    found = verified(gateway, engine)
    assert (found.damaged_count, found.lost_count, found.unread_count) == (0, 0, 3)


def test_an_upload_that_is_repeated_puts_the_same_bytes(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine
) -> None:
    written(gateway, engine)
    before = {info.key: store.get(info.key) for info in store.list(segments_prefix(TAPE))}
    with gateway.state.write() as db:
        db.execute("UPDATE segment SET uploaded_at_ms = NULL, object_bytes = NULL")
        db.execute("UPDATE segment SET store_epoch = NULL, buffer_disk_id = cache_disk_id")
    run_until_idle(gateway.engine(store))
    after = {info.key: store.get(info.key) for info in store.list(segments_prefix(TAPE))}
    assert after == before


def test_a_missing_key_is_an_alert_until_it_is_there(gateway: TransferGateway) -> None:
    watch = AlertWatch(gateway.state, SETTINGS, now_ms=lambda: gateway.ms)
    assert not watch.look()
    hidden = hide_keys(gateway)
    (alert,) = watch.look()
    assert (alert.kind, alert.subject) == (AlertKind.TAPE_KEY_MISSING, gateway.gateway.id)
    assert alert.message.startswith("1 tapes need keys")
    show_keys(gateway, hidden)
    assert not watch.look()


@pytest.mark.parametrize("inventory", [True, False], ids=["inventory", "manifests alone"])
def test_a_machine_that_adopts_the_gateway_needs_the_keys_only(
    gateway: TransferGateway, store: MemoryStore, tmp_path: Path, inventory: bool
) -> None:
    engine = gateway.engine(store, drives_run=False)
    contents = written(gateway, engine)
    blank = gateway.create_tape("BLANK1L5")
    key = Keyring.load(gateway.state.path).current
    with gateway.state.write() as db:
        tapes.update(db, "BLANK1L5", data_key=new_data_key(key, blank.tape_uuid))
    run_until_idle(engine)
    engine.close()
    if not inventory:
        store.delete(inventory_key(GATEWAY.id))
    adopted, machine = adopt_on(gateway, store, tmp_path / "two")
    assert adopted.missing_keys == [key.id]
    for barcode in (TAPE, "BLANK1L5"):
        assert machine.tape(barcode).data_key == gateway.tape(barcode).data_key
    heir = machine.engine(store)
    with pytest.raises(CartridgeKeyError):
        fetch(machine, heir, 1)
    copy = tmp_path / "copy.keys"
    export_keys(gateway.state.path, copy)
    import_keys(machine.state.path, copy)
    assert [fetch(machine, heir, n) for n in (1, 2, 3)] == contents
    heir.close()


def test_another_gateway_that_takes_it_over_needs_the_keys_too(
    gateway: TransferGateway, store: MemoryStore, engine: TransferEngine, tmp_path: Path
) -> None:
    contents = written(gateway, engine)
    other = other_gateway(tmp_path / "two")
    other.ms = gateway.ms
    create_key(other.state.path)  # one of its own, for its own tapes
    heir = other.engine(store, drives_run=False)
    heir.run_pass()
    disable_gateway(store, GATEWAY.id, by="test")
    restore_point(other, store, TAPE)
    assert other.tape(TAPE).status is TapeStatus.RECOVERED
    with pytest.raises(CartridgeKeyError):
        fetch(other, heir, 1)
    copy = tmp_path / "copy.keys"
    export_keys(gateway.state.path, copy)
    import_keys(other.state.path, copy)
    assert [fetch(other, heir, n) for n in (1, 2, 3)] == contents
    heir.close()
