"""Identities of changers: element addresses, INQUIRY data, serial numbers."""

from __future__ import annotations

import pytest

from tapectl.scsi.changer_personality import CHANGER_PERSONALITIES, ChangerPersonality
from tapectl.scsi.library import ElementType
from tapectl.scsi.smc import MediaChanger
from tests.support.memory_library import MemoryLibrary
from tests.support.scsi_initiator import Initiator

PERSONALITIES = list(CHANGER_PERSONALITIES.values())


def host_of(personality: ChangerPersonality) -> Initiator:
    library = MemoryLibrary(personality.ranges(1, 2, 1))
    return Initiator(MediaChanger(personality, library, serial="MC00000001"))


@pytest.mark.parametrize("counts", [(1, 1, 1), (10, 1600, 1600), (64, 10_000, 10_000)])
@pytest.mark.parametrize("personality", PERSONALITIES, ids=lambda row: row.name)
def test_every_identity_has_addresses_for_the_smallest_and_the_largest_library(personality, counts):
    ranges = personality.ranges(*counts)
    addresses = [a for span in ranges for a in range(span.first, span.first + span.count)]
    assert len(addresses) == len(set(addresses)) == 1 + sum(counts)
    assert [span.element_type for span in ranges] == list(ElementType)


@pytest.mark.parametrize(
    ("name", "transport", "slots", "mail", "drives"),
    [
        ("AWS-Gateway-VTL", 0, 20000, 30000, 10000),
        ("STK-L700", 1, 1000, 10, 500),
        ("IBM-03584L32-0402", 1, 0x401, 0x301, 0x101),
        ("IBM-3573-TL", 1, 0x1000, 0x10, 0x100),
        ("HP-MSL-G3", 1, 0x20, 0x1C0, 0x1E0),
        ("HPE-MSL-G3", 1, 0x20, 0x1C0, 0x1E0),
        ("QUANTUM-Scalar-i500", 1, 0x1000, 0x10, 0x100),
        ("QUANTUM-Scalar-i40", 1, 0x1000, 0x10, 0x100),
    ],
)
def test_a_library_of_real_size_has_the_addresses_of_the_real_one(
    name, transport, slots, mail, drives
):
    ranges = CHANGER_PERSONALITIES[name].ranges(4, 40, 10)
    assert [span.first for span in ranges] == [transport, slots, mail, drives]


def test_elements_that_do_not_fit_between_the_real_addresses_go_beyond_all_others():
    ranges = CHANGER_PERSONALITIES["STK-L700"].ranges(64, 1600, 491)
    assert [span.first for span in ranges] == [1, 1000, 20000, 500]


def test_addresses_that_would_overlap_are_refused():
    with pytest.raises(ValueError, match="STK-L700"):
        CHANGER_PERSONALITIES["STK-L700"].ranges(501, 1600, 1600)


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("AWS-Gateway-VTL", b"AWS     Gateway-VTL     0100"),
        ("STK-L700", b"STK     L700            0310"),
        ("IBM-03584L32-0402", b"IBM     03584L32        0402"),
        ("IBM-3573-TL", b"IBM     3573-TL         D.50"),
        ("HP-MSL-G3", b"HP      MSL G3 Series   D.00"),
        ("HPE-MSL-G3", b"HPE     MSL G3 Series   E.00"),
        ("QUANTUM-Scalar-i500", b"QUANTUM Scalar i500     681G"),
        ("QUANTUM-Scalar-i40", b"QUANTUM Scalar i40-i80  160G"),
    ],
)
def test_standard_inquiry_data(name, identity):
    data = host_of(CHANGER_PERSONALITIES[name]).good("12000000ff")
    assert data[0] == 0x08
    assert data[8:36] == identity


@pytest.mark.parametrize("name", ["IBM-03584L32-0402", "IBM-3573-TL"])
def test_ibm_changers_have_the_bit_of_their_bar_code_scanner(name):
    assert host_of(CHANGER_PERSONALITIES[name]).good("12000000ff")[55] == 0x01


@pytest.mark.parametrize(
    ("name", "serial"),
    [
        ("STK-L700", b"MC00000001"),
        ("IBM-03584L32-0402", b"00MC000000010401"),
        ("IBM-3573-TL", b"00MC000000011000"),
    ],
)
def test_serial_numbers_are_those_of_the_real_changers_form(name, serial):
    personality = CHANGER_PERSONALITIES[name]
    host = host_of(personality)
    assert host.good("12018000ff")[4:] == serial
    page = host.good("12018300ff")
    assert page[4:8] == bytes((2, 1, 0, 24 + len(serial)))
    identifier = f"{personality.vendor:<8}{personality.product:<16}".encode() + serial
    assert page[8 : 8 + len(identifier)] == identifier


def test_serial_numbers_differ_where_gateways_do():
    personality = CHANGER_PERSONALITIES["IBM-3573-TL"]
    assert personality.unit_serial("AB00000000", 0x1000) != personality.unit_serial(
        "AC00000000", 0x1000
    )
