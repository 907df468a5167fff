"""Moves, exchanges, the mailbox, inventories on request, and what is refused."""

from __future__ import annotations

import pytest

from tapectl.scsi.changer_personality import CHANGER_PERSONALITIES
from tapectl.scsi.library import MediumType, MoveRefusal
from tapectl.scsi.smc import MediaChanger
from tests.support.memory_library import MemoryLibrary
from tests.support.scsi_initiator import Initiator
from tests.unit.scsi.changer_commands import (
    AWS,
    CLOSE,
    DRIVE,
    IMPORT_EXPORT,
    MAIL,
    OPEN,
    ROBOT,
    SLOT,
    decode,
    exchange,
    mailbox,
    move,
    position,
    small_library,
    status_cdb,
)

NOWHERE = 0xFEFE


@pytest.fixture
def library() -> MemoryLibrary:
    return small_library()


@pytest.fixture
def host(library: MemoryLibrary) -> Initiator:
    return Initiator(MediaChanger(AWS, library, serial="MC00000001"))


@pytest.fixture
def other(host: Initiator) -> Initiator:
    return Initiator(host.unit, "iqn.2025-01.test:other,i,0x02")


def test_load_and_unload(host, library):
    host.good(move(SLOT, DRIVE))
    assert library.at(DRIVE).volume_tag == "TAP000L5"
    assert library.at(SLOT).volume_tag is None
    host.good(move(DRIVE, SLOT))
    assert library.at(SLOT).volume_tag == "TAP000L5"


def test_the_transport_is_named_or_the_default_one():
    personality = CHANGER_PERSONALITIES["STK-L700"]
    library = MemoryLibrary(personality.ranges(1, 2, 1))
    library.put(1000, "TAP000L5")
    host = Initiator(MediaChanger(personality, library, serial="MC00000001"))
    host.good(move(1000, 1001, transport=1))
    host.good(move(1001, 1000, transport=0))
    host.good(position(1000, transport=0))
    assert host.check(move(1000, 1001, transport=2)).code == (5, 0x21, 1)


def test_a_move_onto_itself_is_good(host, library):
    host.good(move(SLOT, DRIVE))
    for address in (DRIVE, SLOT + 1, MAIL):
        tag = library.at(address).volume_tag
        host.good(move(address, address))
        assert library.at(address).volume_tag == tag
    assert host.check(move(SLOT, SLOT)).code == (5, 0x3B, 0x0E)


def test_a_cleaning_cartridge_goes_where_a_tape_goes(host, library):
    library.put(SLOT + 3, "CLNU01L1", medium_type=MediumType.CLEANING)
    assert host.check("00").key == 6
    host.good(move(SLOT + 3, SLOT + 4))
    assert library.at(SLOT + 4).medium_type is MediumType.CLEANING


@pytest.mark.parametrize(
    ("cdb", "code", "specific"),
    [
        (move(SLOT + 4, DRIVE), (5, 0x3B, 0x0E), bytes(3)),
        (move(SLOT, SLOT + 1), (5, 0x3B, 0x0D), bytes(3)),
        (move(NOWHERE, SLOT), (5, 0x21, 1), b"\xc0\0\x04"),
        (move(SLOT, NOWHERE), (5, 0x21, 1), b"\xc0\0\x06"),
        (move(SLOT, ROBOT), (5, 0x21, 1), b"\xc0\0\x06"),
        (move(ROBOT, SLOT), (5, 0x21, 1), b"\xc0\0\x04"),
        (move(SLOT, DRIVE, transport=77), (5, 0x21, 1), b"\xc0\0\x02"),
        (move(SLOT, DRIVE, transport=SLOT), (5, 0x21, 1), b"\xc0\0\x02"),
        (move(SLOT, DRIVE)[:10] + b"\x01", (5, 0x24, 0), b"\xc8\0\x0a"),
        (exchange(SLOT + 4, SLOT, SLOT + 3), (5, 0x3B, 0x0E), bytes(3)),
        (exchange(SLOT, SLOT + 4, SLOT + 3), (5, 0x3B, 0x0E), bytes(3)),
        (exchange(SLOT, SLOT + 1, SLOT + 2), (5, 0x3B, 0x0D), bytes(3)),
        (exchange(SLOT, SLOT + 1, NOWHERE), (5, 0x21, 1), b"\xc0\0\x08"),
        (exchange(SLOT, SLOT, SLOT + 3), (5, 0x24, 0), b"\xc0\0\x06"),
        (exchange(SLOT, SLOT + 1, SLOT)[:10] + b"\x01", (5, 0x24, 0), b"\xc8\0\x0a"),
        (exchange(SLOT, SLOT + 1, SLOT)[:10] + b"\x02", (5, 0x24, 0), b"\xc9\0\x0a"),
        (position(NOWHERE), (5, 0x21, 1), b"\xc0\0\x04"),
        (position(SLOT)[:8] + b"\x01", (5, 0x24, 0), b"\xc8\0\x08"),
    ],
)
def test_moves_that_cannot_be_made(host, cdb, code, specific):
    before = host.good(status_cdb())
    sense = host.check(cdb)
    assert (sense.code, sense.specific) == (code, specific)
    assert host.good(status_cdb()) == before


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (MoveRefusal.REMOVAL_PREVENTED, (5, 0x53, 2)),
        (MoveRefusal.NOT_ACCESSIBLE, (5, 0x3B, 0x11)),
        (MoveRefusal.DRIVE_FAILED, (4, 0x53, 0)),
    ],
)
def test_refusals_of_the_library(host, library, refusal, code):
    library.refusal = refusal
    assert host.check(move(SLOT, DRIVE)).code == code


def test_every_refusal_has_its_sense(host, library):
    for refusal in MoveRefusal:
        library.refusal = refusal
        assert host.check(move(SLOT, DRIVE)).key in (4, 5)


def test_exchange_of_two(host, library):
    host.good(exchange(SLOT, SLOT + 1, SLOT))
    assert library.at(SLOT).volume_tag == "TAP001L5"
    assert library.at(SLOT + 1).volume_tag == "TAP000L5"


def test_exchange_over_a_third_element(host, library):
    host.good(exchange(SLOT, SLOT + 1, SLOT + 4))
    assert [library.at(SLOT + n).volume_tag for n in (0, 1, 4)] == [None, "TAP000L5", "TAP001L5"]


@pytest.mark.parametrize("address", [ROBOT, SLOT, MAIL, DRIVE])
def test_position_to_any_element(host, address):
    host.good(position(address))


@pytest.mark.parametrize(
    "cdb",
    [
        "01",
        "07",
        "37 00 fefe 0000 ffff 0000",  # without RANGE the address is ignored
        "37 01 4e20 0000 0000 0000",
        "37 03 4e20 0000 0005 0000",  # FAST
        "e7 01 7530 0000 0003 8000",  # NBL
    ],
)
def test_initialize_element_status(host, cdb):
    host.good(cdb)


@pytest.mark.parametrize("opcode", ["37", "e7"])
def test_a_range_must_begin_at_an_element(host, opcode):
    sense = host.check(f"{opcode} 01 fefe 0000 0001 0000")
    assert (sense.code, sense.specific) == ((5, 0x21, 1), b"\xc0\0\x02")


def test_an_open_mailbox_is_out_of_the_robots_reach(host, library):
    host.good(mailbox(OPEN))
    rows = decode(host.good(status_cdb(IMPORT_EXPORT)))
    assert [row.flags for row in rows] == [0x30 | 0x03, 0x30, 0x30]
    for cdb in (move(MAIL, SLOT + 3), move(SLOT, MAIL + 1), exchange(SLOT, SLOT + 1, MAIL + 1)):
        assert host.check(cdb).code == (5, 0x3B, 0x11)
    host.good(move(SLOT, SLOT + 3))
    host.good(mailbox(CLOSE))
    host.good(move(MAIL, SLOT))
    assert library.at(SLOT).volume_tag == "NEW001L5"


def test_a_mailbox_that_is_closed_was_accessed(host, other):
    host.good(mailbox(OPEN, MAIL + 1))
    other.good("00")
    host.good(mailbox(CLOSE, MAIL + 2))
    host.good("00")
    assert other.check("00").code == (6, 0x28, 1)
    other.good("00")
    host.good(mailbox(CLOSE))
    other.good("00")


def test_opening_an_open_mailbox_is_no_error(host):
    host.good(mailbox(OPEN))
    host.good(mailbox(OPEN))


def test_a_mailbox_stays_closed_while_removal_is_prevented(host, other):
    other.good("1e 00 00 00 01 00")
    assert host.check(mailbox(OPEN)).code == (5, 0x53, 2)
    host.good(move(MAIL, SLOT + 3))
    other.good("1e 00 00 00 00 00")
    host.good(mailbox(OPEN))


def test_a_reset_does_not_close_the_mailbox(host):
    host.good(mailbox(OPEN))
    host.unit.logical_unit_reset()
    assert host.check("00").key == 6
    assert host.check(move(MAIL, SLOT + 3)).code == (5, 0x3B, 0x11)


@pytest.mark.parametrize("address", [ROBOT, SLOT, DRIVE, NOWHERE])
def test_only_import_export_elements_are_opened(host, address):
    sense = host.check(mailbox(OPEN, address))
    assert (sense.code, sense.specific) == ((5, 0x21, 1), b"\xc0\0\x02")


def test_a_mailbox_is_opened_or_closed(host):
    sense = host.check(mailbox(2))
    assert (sense.code, sense.specific) == ((5, 0x24, 0), b"\xcc\0\x04")


@pytest.mark.parametrize("opcode", ["16 01", "16 11", "56 01", "17 01", "57 01"])
def test_single_elements_are_not_reserved(host, opcode):
    sense = host.check(opcode)
    assert sense.code == (5, 0x24, 0)
    assert sense.specific[2] == 1


@pytest.mark.parametrize("cdb", [status_cdb(), move(SLOT, DRIVE), bytes(6)])
def test_a_library_that_fails_is_an_internal_failure(host, library, cdb):
    library.broken = True
    assert host.check(cdb).code == (4, 0x44, 0)
    late = Initiator(host.unit, "iqn.2025-01.test:late,i,0x03")
    library.broken = False
    assert library.at(SLOT).volume_tag == "TAP000L5"
    host.good("00")
    late.good("00")
