"""What initiators are told of changes that they have not made themselves, once each."""

from __future__ import annotations

import pytest

from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.smc import MediaChanger
from tests.support.memory_library import MemoryLibrary
from tests.support.scsi_initiator import Initiator
from tests.unit.scsi.changer_commands import (
    AWS,
    DATA_TRANSFER,
    DRIVE,
    MAIL,
    SLOT,
    changer_of,
    decode,
    exchange,
    move,
    small_library,
    status_cdb,
)

MEDIUM_MAY_HAVE_CHANGED, IMPORT_EXPORT_ACCESSED = (6, 0x28, 0), (6, 0x28, 1)


@pytest.fixture
def library() -> MemoryLibrary:
    return small_library()


@pytest.fixture
def host(library: MemoryLibrary) -> Initiator:
    return Initiator(MediaChanger(AWS, library, serial="MC00000001"))


@pytest.fixture
def other(host: Initiator) -> Initiator:
    return Initiator(host.unit, "iqn.2025-01.test:other,i,0x02")


def told(host: Initiator) -> list[tuple[int, int, int]]:
    """Return what a nexus is told of the library until it is told nothing more."""
    codes = []
    while (reply := host.send("00")).sense:
        codes.append((reply.sense[2], reply.sense[12], reply.sense[13]))
    return codes


def relocate(library: MemoryLibrary, source: int, destination: int) -> None:
    """A person moves a cartridge."""
    tag = library.take(source)
    assert tag is not None
    library.put(destination, tag)


@pytest.mark.parametrize("source", [SLOT, MAIL])
def test_a_tape_that_vanishes(host, library, source):
    library.take(source)
    accessed = source == MAIL
    assert told(host) == [IMPORT_EXPORT_ACCESSED if accessed else MEDIUM_MAY_HAVE_CHANGED]
    assert told(host) == []


@pytest.mark.parametrize("destination", [SLOT + 4, MAIL + 1])
def test_a_tape_that_appears(host, library, destination):
    library.put(destination, "NEW002L5")
    accessed = destination == MAIL + 1
    assert told(host) == [IMPORT_EXPORT_ACCESSED if accessed else MEDIUM_MAY_HAVE_CHANGED]
    assert told(host) == []


@pytest.mark.parametrize(
    ("source", "destination", "code"),
    [
        (SLOT, SLOT + 4, MEDIUM_MAY_HAVE_CHANGED),
        (SLOT, DRIVE, MEDIUM_MAY_HAVE_CHANGED),
        (SLOT, MAIL + 1, IMPORT_EXPORT_ACCESSED),
        (MAIL, SLOT + 4, IMPORT_EXPORT_ACCESSED),
    ],
)
def test_a_tape_that_a_person_moves(host, library, source, destination, code):
    relocate(library, source, destination)
    assert told(host) == [code]
    assert told(host) == []


def test_several_changes_of_one_kind_are_told_once(host, library):
    for slot in range(3):
        library.take(SLOT + slot)
        host.good("12000000ff")
    library.put(MAIL + 1, "NEW002L5")
    assert told(host) == [MEDIUM_MAY_HAVE_CHANGED, IMPORT_EXPORT_ACCESSED]


def test_every_nexus_is_told_once(host, other, library):
    library.take(MAIL)
    assert told(host) == [IMPORT_EXPORT_ACCESSED]
    assert told(other) == [IMPORT_EXPORT_ACCESSED]
    assert told(host) == told(other) == []


def test_another_tape_in_the_same_element(host, library):
    library.take(SLOT)
    library.put(SLOT, "OTHER1L5")
    assert told(host) == [MEDIUM_MAY_HAVE_CHANGED]


def test_what_initiators_move_is_no_news(host, other):
    host.good(move(SLOT, DRIVE))
    other.good(move(MAIL, SLOT))
    host.good(exchange(SLOT, SLOT + 1, SLOT))
    host.good(move(DRIVE, DRIVE))
    assert told(host) == told(other) == []


def test_a_tape_that_is_gone_from_where_an_initiator_put_it(host, library):
    host.good(move(SLOT, MAIL + 1))
    library.take(MAIL + 1)
    assert told(host) == [IMPORT_EXPORT_ACCESSED]


def test_a_move_that_fails_is_no_news(host):
    host.check(move(SLOT, SLOT + 1))
    assert told(host) == []


def test_a_tape_that_cannot_be_used_yet_has_not_come_yet(host, library):
    library.put(MAIL + 1, "NEW002L5")
    library.change(MAIL + 1, accessible=False)
    assert told(host) == []
    library.change(MAIL + 1, accessible=True)
    assert told(host) == [IMPORT_EXPORT_ACCESSED]


def test_who_logs_in_later_finds_the_library_as_it_is(host, library):
    library.take(SLOT)
    late = Initiator(host.unit, "iqn.2025-01.test:late,i,0x03")
    late.good("00")
    host.unit.nexus_lost(host.nexus)
    Initiator(host.unit, host.nexus).good("00")


def test_what_changed_while_nobody_was_there_is_told_to_nobody(host, library):
    host.unit.nexus_lost(host.nexus)
    library.take(SLOT)
    Initiator(host.unit, host.nexus).good("00")


def test_a_change_is_told_before_it_can_be_seen(host, library):
    library.take(SLOT)
    assert host.check(status_cdb()).code == MEDIUM_MAY_HAVE_CHANGED
    assert len(decode(host.good(status_cdb()))) == 11


def test_inquiry_and_report_luns_come_before_what_is_to_be_told(host, library):
    library.take(SLOT)
    host.good("12000000ff")
    host.good("a0000000000000001000")
    assert host.good("030000001200")[2] == 6
    host.good("00")


def test_a_library_that_has_grown_is_told_to_every_nexus(host, other):
    changer_of(host).library_grew(list(DRIVE_PERSONALITIES.values())[:2])
    for nexus in (host, other):
        assert told(nexus) == [MEDIUM_MAY_HAVE_CHANGED, (6, 0x2A, 1)]
        assert told(nexus) == []
    rows = decode(host.good(status_cdb(DATA_TRANSFER, byte_6=1)))
    assert len({row.identifier[4:28] for row in rows}) == 2
