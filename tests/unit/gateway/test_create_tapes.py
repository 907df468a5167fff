"""Creating, listing and deleting tapes, with every limit and its message."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tapectl.errors import ExitCode, TapectlError, UsageError
from tapectl.gateway import barcodes
from tapectl.gateway.activation import ActivationRequest, activate
from tapectl.gateway.quota import set_quota
from tapectl.gateway.tape_creation import TapeCreation, create_tapes
from tapectl.gateway.tapes import delete_tape, describe_tape, list_tapes
from tapectl.state import disks, tapes
from tapectl.state.database import State
from tapectl.state.disks import DiskRecord, DiskRole
from tapectl.state.tape_status import TapeStatus
from tapectl.state.tapes import Stamp, TapeRecord
from tapectl.store.memory import MemoryStore
from tapectl.units import GIB, MIB, PIB, TIB
from tests.support.closing import closed_at_end
from tests.unit.gateway.conftest import DRIVE, IE, SLOT, Clock, Maker

ONE = TapeCreation(size_bytes=100 * GIB, barcode="VTL001")


def refused(state: State, request: TapeCreation) -> TapectlError:
    with pytest.raises(TapectlError) as caught:
        create_tapes(state, request)
    return caught.value


def test_a_new_tape_is_creating_and_waits_in_an_import_export_slot(state: State) -> None:
    (tape,) = create_tapes(state, ONE)
    assert (tape.barcode, tape.status) == ("VTL001", TapeStatus.CREATING)
    assert (tape.location, tape.element_address) == ("import/export 1", IE)
    assert tape.pool_id == "GLACIER"
    assert describe_tape(state, "VTL001") == tape


def test_tapes_may_come_into_slots(state: State) -> None:
    made = create_tapes(state, TapeCreation(size_bytes=TIB, count=3, to_slots=True))
    assert [tape.location for tape in made] == ["slot 1", "slot 2", "slot 3"]


def test_generated_barcodes_are_prefix_and_six_hex_digits(state: State) -> None:
    draws = iter([0xABC, 0xABC, 0xDEF])
    request = TapeCreation(size_bytes=TIB, prefix="TEST", count=2)
    made = create_tapes(state, request, draw=lambda _limit: next(draws))
    assert sorted(tape.barcode for tape in made) == ["TEST000ABC", "TEST000DEF"]


def test_a_barcode_that_was_ever_used_is_not_drawn_again(state: State, make: Maker) -> None:
    make("TEST000ABC")
    draws = iter([0xABC, 0xDEF])
    request = TapeCreation(size_bytes=TIB, prefix="TEST")
    (tape,) = create_tapes(state, request, draw=lambda _limit: next(draws))
    assert tape.barcode == "TEST000DEF"


@pytest.mark.parametrize(
    ("size_bytes", "small", "message"),
    [
        (99 * GIB, False, "99 GiB"),
        (100 * GIB - 1, False, "cannot have this size"),
        (16 * TIB, False, "16 TiB"),
        (15 * TIB + GIB, True, "cannot have this size"),
        (100 * GIB + MIB, False, "whole GiB"),
        (MIB - 1, True, "cannot have this size"),
        (MIB + 1, True, "whole MiB"),
        (0, True, "0 B"),
    ],
)
def test_sizes_out_of_limits(state: State, size_bytes: int, small: bool, message: str) -> None:
    error = refused(state, replace(ONE, size_bytes=size_bytes, allow_small=small))
    assert error.exit_code == ExitCode.TAPE_INVALID
    assert message in error.message
    assert error.hint
    assert list_tapes(state) == []


@pytest.mark.parametrize(
    ("size_bytes", "small"),
    [(100 * GIB, False), (15 * TIB, False), (MIB, True), (5 * MIB, True), (101 * GIB, True)],
)
def test_sizes_within_limits(state: State, size_bytes: int, small: bool) -> None:
    (tape,) = create_tapes(state, replace(ONE, size_bytes=size_bytes, allow_small=small))
    assert tape.size_bytes == size_bytes


@pytest.mark.parametrize("barcode", ["ABCD", "A" * 17, "vtl001", "VTL-001", "VTL 01", "VTLÄ01", ""])
def test_malformed_barcodes(state: State, barcode: str) -> None:
    error = refused(state, replace(ONE, barcode=barcode))
    assert error.exit_code == ExitCode.TAPE_INVALID
    assert error.message == f"not a barcode: {barcode}"


@pytest.mark.parametrize("prefix", ["", "ABCDE", "ab", "A1"])
def test_malformed_prefixes(state: State, prefix: str) -> None:
    error = refused(state, TapeCreation(size_bytes=TIB, prefix=prefix))
    assert error.exit_code == ExitCode.TAPE_INVALID


def test_an_ibm_changer_takes_eight_characters(
    tmp_path: Path, activation: ActivationRequest
) -> None:
    path = tmp_path / "tapectl.db"
    request = replace(activation, changer_type="IBM-03584L32-0402")
    activate(path, request, open_store=lambda _record: MemoryStore())
    state = closed_at_end(State.open(path))
    error = refused(state, replace(ONE, barcode="VTL000001"))
    assert error.message == "tape barcode is too long for the media changer: VTL000001"
    assert "too long" in refused(state, TapeCreation(size_bytes=TIB, prefix="VTL")).message


def test_a_barcode_in_use_or_once_used(
    state: State, make: Maker, advance: Callable[..., None]
) -> None:
    make("VTL001")
    error = refused(state, ONE)
    assert (error.exit_code, error.code) == (ExitCode.TAPE_EXISTS, "tape_exists")
    delete_tape(state, "VTL001")
    advance("VTL001", TapeStatus.DELETED)
    assert "never given again" in refused(state, ONE).message


def test_if_not_exists_returns_the_tape_there_is(state: State, make: Maker) -> None:
    make("VTL001")
    (tape,) = create_tapes(state, replace(ONE, if_not_exists=True))
    assert tape.status is TapeStatus.AVAILABLE
    differs = replace(ONE, if_not_exists=True, size_bytes=TIB)
    assert refused(state, differs).exit_code == ExitCode.TAPE_EXISTS


def test_a_client_token_makes_a_repeat_harmless(state: State) -> None:
    request = TapeCreation(size_bytes=TIB, count=2, client_token="provision-1")
    first = create_tapes(state, request)
    assert create_tapes(state, request) == first
    assert len(list_tapes(state)) == 2
    error = refused(state, replace(request, count=3))
    assert "another request" in error.message


@pytest.mark.parametrize(
    "creation",
    [
        replace(ONE, prefix="VTL"),
        TapeCreation(size_bytes=TIB, if_not_exists=True),
        TapeCreation(size_bytes=TIB, count=0),
        TapeCreation(size_bytes=TIB, count=1501),
        replace(ONE, client_token="four"),
        replace(ONE, client_token="x" * 101),
    ],
)
def test_requests_that_make_no_sense(state: State, creation: TapeCreation) -> None:
    with pytest.raises(UsageError):
        create_tapes(state, creation)


def test_disks_come_before_tapes(bare_state: State, tmp_path: Path) -> None:
    error = refused(bare_state, ONE)
    assert error.exit_code == ExitCode.DISKS_NEEDED
    assert "a cache disk and an upload buffer disk" in error.message
    record = DiskRecord(
        id="disk-1",
        role=DiskRole.CACHE_STORAGE,
        path=tmp_path,
        device_node=None,
        size_bytes=GIB,
        created_at_ms=1,
    )
    with bare_state.write() as db:
        disks.insert(db, record)
    error = refused(bare_state, ONE)
    assert "cache disk" not in error.message
    assert error.hint == "run `tapectl disk add-buffer DIRECTORY`"


def test_an_unknown_pool(state: State) -> None:
    error = refused(state, replace(ONE, pool_id="BRONZE"))
    assert error.exit_code == ExitCode.POOL
    assert error.hint == "there are DEEP_ARCHIVE, GLACIER"


def test_when_the_slots_are_full_no_tape_is_made(state: State) -> None:
    error = refused(state, TapeCreation(size_bytes=TIB, count=5))
    assert error.exit_code == ExitCode.ELEMENT
    assert error.message == "no room for 5 tapes, 4 import/export slots are free"
    assert list_tapes(state) == []


def fill(state: State, count: int, size_bytes: int) -> None:
    """Tapes that are on no element, as many as the quota knows."""
    with state.write() as db:
        for number in range(count):
            tape = TapeRecord(
                barcode=f"FULL{number:06d}",
                tape_uuid=str(number),
                size_bytes=size_bytes,
                status=TapeStatus.AVAILABLE,
                pool_id="GLACIER",
                created_at_ms=1,
                status_at_ms=1,
            )
            tapes.insert(db, tape, Stamp("test", 1))


def test_at_most_1500_tapes(state: State) -> None:
    fill(state, 1499, 100 * GIB)
    error = refused(state, TapeCreation(size_bytes=100 * GIB, count=2))
    assert error.exit_code == ExitCode.TAPE_LIMIT
    assert error.aws_code == "MaximumTapeCartridgeCountExceeded"
    assert error.message == "a library has at most 1500 tapes, 1499 are there"
    create_tapes(state, ONE)


def test_at_most_1_pib(state: State) -> None:
    fill(state, 68, 15 * TIB)
    assert "1 PiB" in refused(state, replace(ONE, size_bytes=5 * TIB)).message
    create_tapes(state, replace(ONE, size_bytes=4 * TIB))


def test_a_gateway_can_be_given_other_quotas(state: State) -> None:
    set_quota(state, tapes=2, size_bytes=2 * TIB)
    create_tapes(state, TapeCreation(size_bytes=TIB, count=1))
    assert "at most 2 TiB together" in refused(state, replace(ONE, size_bytes=2 * TIB)).message
    create_tapes(state, replace(ONE, size_bytes=TIB))
    assert "at most 2 tapes" in refused(state, TapeCreation(size_bytes=100 * GIB)).message
    set_quota(state, tapes=2000, size_bytes=4 * PIB)
    fill(state, 1600, 100 * GIB)
    create_tapes(state, TapeCreation(size_bytes=100 * GIB, count=2))
    for wrong in ({"tapes": 0}, {"size_bytes": GIB}):
        with pytest.raises(UsageError):
            set_quota(state, **wrong)


def test_of_many_that_create_one_barcode_at_once_one_wins(state: State) -> None:
    outcomes: list[str] = []

    def create() -> None:
        try:
            create_tapes(State.open(state.path), ONE)
            outcomes.append("made")
        except TapectlError as exc:
            outcomes.append(exc.code)

    threads = [threading.Thread(target=create) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["made"] + ["tape_exists"] * 9


def test_lists_are_filtered(state: State, make: Maker) -> None:
    make("AAA001", "AAA002")
    make("BBB001", pool_id="DEEP_ARCHIVE")
    assert [tape.barcode for tape in list_tapes(state, barcode="AAA*")] == ["AAA001", "AAA002"]
    assert [tape.barcode for tape in list_tapes(state, pool_id="DEEP_ARCHIVE")] == ["BBB001"]
    assert list_tapes(state, statuses=[TapeStatus.ARCHIVED]) == []


def test_a_loaded_tape_names_its_drive(state: State, make: Maker) -> None:
    make("VTL001")
    with state.write() as db:
        tapes.update(db, "VTL001", element_address=DRIVE + 1)
    tape = describe_tape(state, "VTL001")
    assert tape.location == "drive 2"
    assert tape.vtl_device is not None
    assert tape.vtl_device.endswith("_TAPEDRIVE_00002")


def test_unknown_and_malformed_barcodes_differ(state: State) -> None:
    with pytest.raises(TapectlError) as caught:
        describe_tape(state, "VTL999")
    assert caught.value.exit_code == ExitCode.TAPE_NOT_FOUND
    with pytest.raises(TapectlError) as caught:
        describe_tape(state, "vtl999")
    assert caught.value.exit_code == ExitCode.TAPE_INVALID


def test_a_deleted_tape_leaves_its_slot_at_once(state: State, make: Maker) -> None:
    make("VTL001")
    tape = delete_tape(state, "VTL001")
    assert (tape.status, tape.location) == (TapeStatus.DELETING, None)
    with state.read() as db:
        assert tapes.occupied_elements(db) == frozenset()


TO_ARCHIVED = (TapeStatus.IN_TRANSIT_TO_VTS, TapeStatus.ARCHIVING, TapeStatus.ARCHIVED)
TO_RETRIEVED = (*TO_ARCHIVED, TapeStatus.RETRIEVING, TapeStatus.RETRIEVED)


@pytest.mark.parametrize(
    ("statuses", "hint"),
    [
        (TO_ARCHIVED[:1], "cancel-eject"),
        (TO_ARCHIVED[:2], "archive delete"),
        (TO_ARCHIVED, "archive delete"),
        (TO_RETRIEVED[:4], "cancel-retrieve"),
        (TO_RETRIEVED, "tapectl tape eject VTL001"),
        ((TapeStatus.DELETING,), "already"),
    ],
)
def test_tapes_that_cannot_be_deleted_say_what_to_do(
    state: State,
    make: Maker,
    advance: Callable[..., None],
    statuses: tuple[TapeStatus, ...],
    hint: str,
) -> None:
    make("VTL001")
    advance("VTL001", *statuses)
    with pytest.raises(TapectlError) as caught:
        delete_tape(state, "VTL001")
    assert caught.value.exit_code == ExitCode.TAPE_STATUS
    assert statuses[-1] in caught.value.message
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_a_loaded_tape_cannot_be_deleted(state: State, make: Maker) -> None:
    make("VTL001")
    with state.write() as db:
        tapes.update(db, "VTL001", element_address=DRIVE)
    with pytest.raises(TapectlError) as caught:
        delete_tape(state, "VTL001")
    assert caught.value.exit_code == ExitCode.TAPE_IN_DRIVE
    assert caught.value.message == "tape VTL001 is loaded in drive 1"
    assert "tapectl tape unload VTL001" in (caught.value.hint or "")


def test_names_of_elements(state: State, make: Maker, clock: Clock) -> None:
    make("VTL001", to_slots=True)
    tape = describe_tape(state, "VTL001")
    assert (tape.element_address, tape.created_at_ms) == (SLOT, clock())


def test_barcodes_are_counted_up_from_the_first(state: State) -> None:
    made = create_tapes(state, TapeCreation(size_bytes=TIB, barcode="VTL098L5", count=2))
    assert [tape.barcode for tape in made] == ["VTL098L5", "VTL099L5"]
    more = TapeCreation(size_bytes=TIB, barcode="VTL097L5", count=3, to_slots=True)
    assert "VTL098L5" in refused(state, more).message
    with state.read() as db:
        assert tapes.find(db, "VTL097L5") is None  # all of them or none
    filled = create_tapes(state, replace(more, if_not_exists=True))
    assert [(tape.barcode, tape.location) for tape in filled] == [
        ("VTL097L5", "slot 1"),
        ("VTL098L5", "import/export 1"),
        ("VTL099L5", "import/export 2"),
    ]
    other_size = replace(more, if_not_exists=True, size_bytes=2 * TIB, barcode="VTL096L5")
    assert refused(state, other_size).exit_code == ExitCode.TAPE_EXISTS


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("BKP0042", "BKP0043"),
        ("POC001T5", "POC002T5"),
        ("VTL009LA", "VTL010LA"),
        ("CLNU01L1", "CLNU02L1"),
        ("AB12CD34", "AB12CD35"),
        ("00001", "00002"),
    ],
)
def test_which_number_of_a_barcode_is_counted(first: str, second: str) -> None:
    assert barcodes.series(first, 2) == [first, second]


@pytest.mark.parametrize(("barcode", "word"), [("VTL999L5", "VTL1000L5"), ("TAPES", "number")])
def test_barcodes_that_cannot_be_counted_up(state: State, barcode: str, word: str) -> None:
    error = refused(state, TapeCreation(size_bytes=TIB, barcode=barcode, count=2))
    assert error.exit_code == ExitCode.TAPE_INVALID
    assert word in (error.hint or "")
