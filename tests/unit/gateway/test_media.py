"""Kinds of cartridges: generations of media and cleaning cartridges, from creation to expiry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tapectl.errors import TapectlError, UsageError
from tapectl.gateway.activation import ActivationRequest, activate
from tapectl.gateway.barcodes import BarcodeError
from tapectl.gateway.devices import list_devices
from tapectl.gateway.media import generation_name, parse_generation
from tapectl.gateway.tape_creation import TapeCreation, TapeExistsError, create_tapes
from tapectl.gateway.tapes import describe_tape
from tapectl.medium.volume import VolumeRecord
from tapectl.scsi.cartridge import StoredAttribute
from tapectl.scsi.media import CLEANINGS, LTO_MEDIA
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.state import volumes
from tapectl.state.database import State
from tapectl.store.memory import MemoryStore
from tapectl.units import GIB, TIB

CLEANING = TapeCreation(size_bytes=0, cleaning=True)


@pytest.mark.parametrize("text", ["LTO-8", "lto-8", "LTO8", "8"])
def test_generations_by_name(text: str) -> None:
    assert parse_generation(text) == 8
    assert generation_name(8) == "LTO-8"


@pytest.mark.parametrize("text", ["", "LTO", "LTO-0", "LTO-11", "M8"])
def test_what_is_no_generation(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_generation(text)
    assert "LTO-9" in str(refused.value.hint)


@pytest.mark.parametrize("name", DRIVE_PERSONALITIES)
def test_new_tapes_are_of_the_drives_generation(
    name: str, activation: ActivationRequest, tmp_path: Path, add_disks: Callable[[State], None]
) -> None:
    path = tmp_path / "other" / "tapectl.db"
    store = MemoryStore()
    activate(path, replace(activation, drive_type=name), open_store=lambda _record: store)
    with State.open(path) as state:
        add_disks(state)
        (tape,) = create_tapes(state, TapeCreation(size_bytes=TIB))
        assert tape.generation == DRIVE_PERSONALITIES[name].generation.number
        _, drive, *_ = list_devices(state)
        assert (drive.device_type, drive.product) == (name, DRIVE_PERSONALITIES[name].product)


@pytest.mark.parametrize("generation", sorted(LTO_MEDIA))
def test_tapes_of_any_generation(state: State, generation: int) -> None:
    (tape,) = create_tapes(state, TapeCreation(size_bytes=TIB, generation=generation))
    assert describe_tape(state, tape.barcode).generation == generation
    assert (tape.cleaning, tape.cleanings_left) == (False, None)


def test_worm_media_begin_with_lto_3(state: State) -> None:
    first = TapeCreation(size_bytes=TIB, worm=True, generation=3)
    assert create_tapes(state, first)[0].worm
    with pytest.raises(UsageError, match="LTO-2") as refused:
        create_tapes(state, replace(first, generation=2))
    assert refused.value.hint == "LTO-3 is the first that has them"


def test_a_cleaning_cartridge_has_no_size_and_all_its_cleanings(state: State) -> None:
    (tape,) = create_tapes(state, CLEANING)
    assert tape.barcode.startswith("CLNU")
    assert len(tape.barcode) == 8
    assert (tape.cleaning, tape.size_bytes, tape.cleanings_left) == (True, 0, CLEANINGS)


def test_cleanings_are_counted_in_the_cartridges_memory(state: State) -> None:
    (tape,) = create_tapes(state, replace(CLEANING, barcode="CLNU01L1"))
    used = VolumeRecord(attributes={(0, 3): StoredAttribute(0, (7).to_bytes(8, "big"))})
    with state.write() as db:
        volumes.put(db, tape.barcode, used.to_document())
    assert describe_tape(state, "CLNU01L1").cleanings_left == CLEANINGS - 7


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (replace(CLEANING, worm=True), UsageError),
        (replace(CLEANING, size_bytes=TIB), UsageError),
        (replace(CLEANING, barcode="VTL001L5"), BarcodeError),
        (replace(CLEANING, prefix="TAPE"), BarcodeError),
    ],
    ids=["worm", "size", "barcode", "prefix"],
)
def test_what_no_cleaning_cartridge_is(
    state: State, request_: TapeCreation, kind: type[TapectlError]
) -> None:
    with pytest.raises(kind):
        create_tapes(state, request_)


def test_the_same_tape_again_must_be_of_the_same_kind(state: State) -> None:
    once = TapeCreation(size_bytes=100 * GIB, barcode="VTL001", if_not_exists=True)
    create_tapes(state, once)
    assert len(create_tapes(state, once)) == 1
    assert len(create_tapes(state, replace(once, generation=5))) == 1
    with pytest.raises(TapeExistsError):
        create_tapes(state, replace(once, generation=6))


def test_a_token_stands_for_one_kind_of_tape(state: State) -> None:
    first = TapeCreation(size_bytes=TIB, client_token="token-1")
    (tape,) = create_tapes(state, first)
    assert [again.barcode for again in create_tapes(state, first)] == [tape.barcode]
    with pytest.raises(UsageError):
        create_tapes(state, replace(first, generation=4))
