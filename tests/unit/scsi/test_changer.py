"""READ ELEMENT STATUS: which elements, in which order, what each descriptor says."""

from __future__ import annotations

import struct

import pytest

from tapectl.scsi.library import MediumType
from tapectl.scsi.sense import ASC
from tapectl.scsi.smc import MediaChanger
from tests.support.memory_library import MemoryLibrary
from tests.support.scsi_initiator import Initiator
from tests.unit.scsi.changer_commands import (
    AWS,
    DATA_TRANSFER,
    DRIVE,
    IMPORT_EXPORT,
    MAIL,
    SLOT,
    STORAGE,
    TRANSPORT,
    decode,
    move,
    small_library,
    status_cdb,
)

DVCID, CURDATA, MIXED = 0x01, 0x02, 0x04


@pytest.fixture
def library() -> MemoryLibrary:
    return small_library()


@pytest.fixture
def host(library: MemoryLibrary) -> Initiator:
    return Initiator(MediaChanger(AWS, library, serial="MC00000001"))


def test_all_types_come_in_ascending_order_of_type(host):
    report = host.good(status_cdb())
    rows = decode(report)
    assert [row.element_type for row in rows] == [1] + [2] * 5 + [3] * 3 + [4] * 2
    assert struct.unpack_from(">HH", report) == (0, 11)
    assert int.from_bytes(report[5:8], "big") == len(report) - 8


def test_one_type_with_its_volume_tags(host):
    rows = decode(host.good(status_cdb(STORAGE)))
    assert [row.tag for row in rows] == ["TAP000L5", "TAP001L5", "TAP002L5", "", ""]
    assert [row.flags & 1 for row in rows] == [1, 1, 1, 0, 0]
    assert [row.address for row in rows] == list(range(SLOT, SLOT + 5))


def test_volume_tags_are_padded_with_spaces_and_have_no_sequence_number(host):
    descriptor = host.good(status_cdb(STORAGE))[16:]
    assert descriptor[12:48] == b"TAP000L5".ljust(32) + bytes(4)


def test_every_descriptor_has_the_four_bytes_of_an_identifiers_length(host):
    for tags, length in ((True, 52), (False, 16)):
        report = host.good(status_cdb(STORAGE, tags=tags))
        assert struct.unpack_from(">H", report, 10)[0] == length
        assert {row.identifier for row in decode(report, tags=tags)} == {bytes(4)}


def test_the_transport_is_empty_and_has_no_access_bit(host):
    (robot,) = decode(host.good(status_cdb(TRANSPORT)))
    assert (robot.address, robot.flags, robot.source, robot.medium_type) == (0, 0, None, 0)


def test_import_export_flags_tell_who_placed_the_cartridge(host):
    full, *empty = decode(host.good(status_cdb(IMPORT_EXPORT)))
    assert full.flags == 0x38 | 0x01 | 0x02
    assert {row.flags for row in empty} == {0x38}
    host.good(move(MAIL, SLOT + 3))
    host.good(move(SLOT + 3, MAIL + 1))
    assert decode(host.good(status_cdb(IMPORT_EXPORT)))[1].flags == 0x38 | 0x01


def test_device_identifiers_are_those_of_the_drives_vpd_page(host):
    rows = decode(host.good(status_cdb(DATA_TRANSFER, tags=False, byte_6=DVCID)), tags=False)
    assert rows[0].identifier == b"\x02\x01\0\x22" + b"IBM     ULT3580-TD5     DRIVE00000"
    assert rows[1].identifier.endswith(b"DRIVE00001")
    both = decode(host.good(status_cdb(DATA_TRANSFER, byte_6=DVCID)))
    assert [row.identifier for row in both] == [row.identifier for row in rows]
    other = decode(host.good(status_cdb(STORAGE, byte_6=DVCID)))
    assert other[0].identifier == bytes(4)


def test_without_dvcid_no_drive_is_identified(host):
    rows = decode(host.good(status_cdb(DATA_TRANSFER)))
    assert {row.identifier for row in rows} == {bytes(4)}


def test_current_data_is_what_there_always_is(host):
    assert host.good(status_cdb(byte_6=CURDATA)) == host.good(status_cdb())


@pytest.mark.parametrize(
    ("medium_type", "code"),
    [(MediumType.DATA, 1), (MediumType.CLEANING, 2), (MediumType.WORM, 4)],
)
def test_medium_types(host, library, medium_type, code):
    library.put(SLOT + 4, "CLNU01L1", medium_type=medium_type)
    assert host.check("00").key == 6
    rows = decode(host.good(status_cdb(STORAGE)))
    assert [row.medium_type for row in rows] == [1, 1, 1, 0, code]


def test_what_is_wrong_with_an_element(host, library):
    failure = ASC.LOGICAL_UNIT_COMMUNICATION_FAILURE
    library.change(DRIVE, exception=failure, accessible=False)
    failed, well = decode(host.good(status_cdb(DATA_TRANSFER)))
    assert (failed.flags, failed.sense) == (0x04, (0x08, 0x00))
    assert (well.flags, well.sense) == (0x08, None)


def test_the_source_of_a_loaded_tape_is_the_slot_it_came_from(host):
    host.good(move(SLOT, DRIVE))
    drive, other = decode(host.good(status_cdb(DATA_TRANSFER)))
    assert (drive.tag, drive.source, drive.flags) == ("TAP000L5", SLOT, 0x09)
    assert (other.tag, other.source, other.flags) == ("", None, 0x08)


def test_start_address_and_count(host):
    report = host.good(status_cdb(STORAGE, first=SLOT + 1, count=2))
    assert [row.address for row in decode(report)] == [SLOT + 1, SLOT + 2]
    assert struct.unpack_from(">HH", report) == (SLOT + 1, 2)
    assert [row.address for row in decode(host.good(status_cdb(first=MAIL + 2)))] == [MAIL + 2]


def test_the_count_goes_over_all_types(host):
    rows = decode(host.good(status_cdb(count=7)))
    assert [row.element_type for row in rows] == [1, 2, 2, 2, 2, 2, 3]


def test_the_start_address_may_be_one_that_no_element_has(host):
    rows = decode(host.good(status_cdb(STORAGE, first=SLOT - 7, count=1)))
    assert [row.address for row in rows] == [SLOT]


@pytest.mark.parametrize("fields", [{"first": 0xFFF0}, {"count": 0}])
def test_no_element_is_a_header_alone(host, fields):
    assert host.good(status_cdb(STORAGE, **fields)) == bytes(8)


@pytest.mark.parametrize("allocation", [0, 4, 8, 16, 67, 68, 200])
def test_a_short_allocation_cuts_after_a_whole_descriptor_and_tells_all(host, allocation):
    whole = host.good(status_cdb(STORAGE))
    part = host.good(status_cdb(STORAGE, allocation=allocation))
    assert len(part) <= allocation
    assert whole.startswith(part)
    if len(part) > 16:
        assert (len(part) - 16) % 52 == 0


def test_a_thousand_descriptors_fit_into_64_kib():
    library = MemoryLibrary(AWS.ranges(1, 1000, 1))
    host = Initiator(MediaChanger(AWS, library, serial="MC00000001"))
    report = host.good(status_cdb(STORAGE, count=1000, byte_6=DVCID, allocation=0xFFFF))
    assert int.from_bytes(report[5:8], "big") == len(report) - 8


def test_a_report_of_more_than_64_kib_has_its_length_in_24_bits():
    library = MemoryLibrary(AWS.ranges(1, 2000, 1))
    host = Initiator(MediaChanger(AWS, library, serial="MC00000001"))
    report = host.good(status_cdb())
    assert int.from_bytes(report[5:8], "big") == len(report) - 8 == 4 * 8 + 2003 * 52


def test_an_element_type_that_does_not_exist_is_refused(host):
    sense = host.check(status_cdb(5))
    assert (sense.code, sense.specific) == ((5, 0x24, 0), b"\xcb\0\x01")


def test_descriptors_of_mixed_media_are_refused(host):
    sense = host.check(status_cdb(byte_6=MIXED))
    assert (sense.code, sense.specific) == ((5, 0x24, 0), b"\xca\0\x06")


def test_reserved_bits_are_ignored(host):
    assert host.good(status_cdb(byte_6=0xF8)) == host.good(status_cdb())
