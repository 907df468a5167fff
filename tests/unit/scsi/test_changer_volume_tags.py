"""SEND VOLUME TAG and REQUEST VOLUME ELEMENT ADDRESS."""

from __future__ import annotations

import fnmatch
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapectl.scsi.smc import MediaChanger
from tapectl.scsi.smc.volume_search import matches
from tests.support.memory_library import MemoryLibrary
from tests.support.scsi_initiator import Initiator
from tests.unit.scsi.changer_commands import (
    AWS,
    DRIVE,
    IMPORT_EXPORT,
    MAIL,
    SLOT,
    STORAGE,
    decode,
    found_cdb,
    move,
    send_volume_tag,
    small_library,
    template,
)


@pytest.fixture
def library() -> MemoryLibrary:
    return small_library()


@pytest.fixture
def host(library: MemoryLibrary) -> Initiator:
    return Initiator(MediaChanger(AWS, library, serial="MC00000001"))


def find(host: Initiator, text: str, *, action: int = 5, kind: int = 0, first: int = 0):
    host.good(send_volume_tag(40, action, kind, first), template(text))
    return [row.address for row in decode(host.good(found_cdb()))]


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("TAP001L5", [SLOT + 1]),
        ("TAP001L5        ", [SLOT + 1]),
        ("TAP*", [SLOT, SLOT + 1, SLOT + 2]),
        ("*1L5", [SLOT + 1, MAIL]),
        ("TAP00?L5", [SLOT, SLOT + 1, SLOT + 2]),
        ("*", [SLOT, SLOT + 1, SLOT + 2, MAIL]),
        ("????????", [SLOT, SLOT + 1, SLOT + 2, MAIL]),
        ("tap001L5", []),
        ("TAP001", []),
        ("", []),
    ],
)
def test_templates(host, text, addresses):
    assert find(host, text) == addresses


def test_the_search_is_of_one_type_and_from_an_address_on(host):
    assert find(host, "*", kind=STORAGE) == [SLOT, SLOT + 1, SLOT + 2]
    assert find(host, "*", kind=IMPORT_EXPORT) == [MAIL]
    assert find(host, "*", first=SLOT + 2) == [SLOT + 2, MAIL]


def test_the_request_is_of_one_type_from_an_address_on_and_of_a_number(host):
    host.good(send_volume_tag(40), template("*"))

    def addresses(**fields):
        return [row.address for row in decode(host.good(found_cdb(**fields)))]

    assert addresses(kind=IMPORT_EXPORT) == [MAIL]
    assert addresses(first=SLOT + 1) == [SLOT + 1, SLOT + 2, MAIL]
    assert addresses(first=SLOT + 1, count=2) == [SLOT + 1, SLOT + 2]


def test_the_report_says_which_action_it_answers(host):
    for action in (0, 1, 4, 5):
        host.good(send_volume_tag(40, action), template("TAP000L5"))
        report = host.good(found_cdb())
        assert struct.unpack_from(">HHB", report) == (SLOT, 1, action)
        assert int.from_bytes(report[5:8], "big") == len(report) - 8 == 60


def test_a_short_allocation(host):
    host.good(send_volume_tag(40), template("TAP*"))
    whole = host.good(found_cdb())
    assert host.good(found_cdb(allocation=100)) == whole[:68]


def test_nothing_found_is_no_error(host):
    host.good(send_volume_tag(40, 5), template("NOSUCH"))
    assert host.good(found_cdb()) == bytes((0, 0, 0, 0, 5, 0, 0, 0))


@pytest.mark.parametrize("action", [2, 6])
def test_no_volume_has_an_alternate_tag(host, action):
    assert find(host, "*", action=action) == []


@pytest.mark.parametrize(("action", "found"), [(0, 0), (1, 0), (4, 4), (5, 4)])
def test_sequence_numbers_are_all_zero(host, action, found):
    host.good(send_volume_tag(40, action), template("*", lowest=1))
    assert len(decode(host.good(found_cdb()))) == found


def test_what_has_moved_since_is_where_it_is(host):
    host.good(send_volume_tag(40), template("TAP000L5"))
    host.good(move(SLOT, DRIVE))
    assert [row.address for row in decode(host.good(found_cdb()))] == [DRIVE]


def test_only_the_last_search_counts_and_each_nexus_has_its_own(host):
    other = Initiator(host.unit, "iqn.2025-01.test:other,i,0x02")
    find(host, "TAP*")
    assert other.check(found_cdb()).code == (5, 0x2C, 0)
    assert find(other, "NEW*") == [MAIL]
    find(host, "TAP000L5")
    assert [row.address for row in decode(host.good(found_cdb()))] == [SLOT]
    assert [row.address for row in decode(other.good(found_cdb()))] == [MAIL]


def test_a_request_without_a_search_is_out_of_order(host):
    assert host.check(found_cdb()).code == (5, 0x2C, 0)
    find(host, "*")
    host.unit.nexus_lost(host.nexus)
    assert Initiator(host.unit, host.nexus).check(found_cdb()).code == (5, 0x2C, 0)


def test_a_list_of_no_bytes_is_no_error_and_no_search(host):
    host.good(send_volume_tag(0))
    assert host.check(found_cdb()).code == (5, 0x2C, 0)


@pytest.mark.parametrize("length", [1, 39, 41, 255])
def test_a_list_of_another_length_is_refused(host, length):
    assert host.check(send_volume_tag(length), bytes(length)).code == (5, 0x1A, 0)


def test_a_list_that_was_not_sent_whole_is_refused(host):
    assert host.check(send_volume_tag(40), bytes(20)).code == (5, 0x1A, 0)


@pytest.mark.parametrize("action", [0x3, 0x7, 0x8, 0x9, 0xA, 0xB, 0xC, 0xD, 0x1F])
def test_labels_are_not_rewritten(host, action):
    sense = host.check(send_volume_tag(40, action), template("NEWTAG"))
    assert (sense.code, sense.specific) == ((5, 0x24, 0), b"\xcc\0\x05")


@pytest.mark.parametrize("cdb", [send_volume_tag(0, kind=5), found_cdb(6)])
def test_an_element_type_that_does_not_exist_is_refused(host, cdb):
    sense = host.check(cdb)
    assert (sense.code, sense.specific) == ((5, 0x24, 0), b"\xcb\0\x01")


@given(
    st.text("A?*", max_size=32),
    st.text("AB", max_size=16),
)
def test_matches_is_what_a_shell_does(pattern, tag):
    assert matches(pattern, tag) == fnmatch.fnmatchcase(tag, pattern)
