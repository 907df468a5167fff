"""READ ELEMENT STATUS (SMC-3 6.12)."""

from __future__ import annotations

import pytest

from tests.conformance import commands as c
from tests.conformance.device import Device
from tests.conformance.library import (
    ACCESS,
    ALL,
    DATA_TRANSFER,
    EX_ENAB,
    EXCEPT,
    HEADER_BYTES,
    HOLDERS,
    IMP_EXP,
    IMPORT_EXPORT,
    IN_ENAB,
    PAGE_HEADER_BYTES,
    STORAGE,
    TRANSPORT,
    Library,
    Report,
    move_medium,
    read_element_status,
)
from tests.conformance.requirements import requires
from tests.conformance.sense import INVALID_FIELD_IN_CDB

pytestmark = requires("READ ELEMENT STATUS")
KINDS = (TRANSPORT, STORAGE, IMPORT_EXPORT, DATA_TRANSFER)
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
DATA, CLEANING, WORM = 1, 2, 4


def test_element_type_zero_reports_all_types(library: Library) -> None:
    """ELEMENT TYPE CODE 0h: all element types."""
    expected = [address for kind in KINDS for address in library.addresses[kind]]
    assert sorted(row.address for row in library.elements(ALL)) == sorted(expected)


@EVERY_KIND
def test_an_element_type_code_selects_one_type(library: Library, kind: int) -> None:
    """Only elements of that type are reported, each of them, by ascending address."""
    rows = library.elements(kind)
    assert [row.address for row in rows] == list(library.addresses[kind])
    assert {row.kind for row in rows} <= {kind}


def test_descriptors_of_one_type_are_in_one_page(library: Library) -> None:
    """An element status page is of one element type; types do not come back."""
    kinds = [page.kind for page in library.report().pages]
    assert kinds == sorted(set(kinds))


def test_an_element_type_code_that_is_reserved_is_refused(changer: Device) -> None:
    """SPC-5 4.4.2.4.2: the field pointer names the byte of the field in error."""
    sense = changer.check(read_element_status(0x5), INVALID_FIELD_IN_CDB)
    assert sense.field_pointer is None or sense.field_pointer.byte == 1


def test_the_first_element_address_reported_is_the_lowest(library: Library) -> None:
    """FIRST ELEMENT ADDRESS REPORTED: the lowest address of the elements that are reported."""
    report = library.report()
    assert report.first == min(row.address for row in report.elements)


@EVERY_KIND
def test_the_number_of_elements_available_is_that_of_mode_page_1dh(
    library: Library, kind: int
) -> None:
    """NUMBER OF ELEMENTS AVAILABLE: the elements that meet the request."""
    assert library.report(read_element_status(kind)).count == len(library.addresses[kind])


def test_the_byte_count_of_the_report_does_not_count_its_header(changer: Device) -> None:
    """BYTE COUNT OF REPORT AVAILABLE: the bytes that follow the element status data header."""
    data = changer.good(read_element_status())
    assert Report.decode(data).available_bytes == len(data) - HEADER_BYTES


def test_the_byte_count_of_a_page_is_that_of_its_descriptors(library: Library) -> None:
    """BYTE COUNT OF DESCRIPTOR DATA AVAILABLE: descriptors of this page, its header not counted."""
    for page in library.report().pages:
        assert page.available_bytes == page.descriptor_bytes * len(page.descriptors)


def test_an_allocation_of_the_header_tells_how_long_the_report_is(changer: Device) -> None:
    """The byte count "shall not be adjusted to match the allocation length"."""
    whole = changer.good(read_element_status())
    assert changer.good(read_element_status(length=HEADER_BYTES)) == whole[:HEADER_BYTES]


def test_only_whole_descriptors_are_returned(library: Library) -> None:
    """ "The device server shall only return complete element descriptors"."""
    whole = library.report(read_element_status(STORAGE))
    size = whole.pages[0].descriptor_bytes
    room = HEADER_BYTES + PAGE_HEADER_BYTES + 2 * size + size // 2
    part = Report.decode(library.changer.good(read_element_status(STORAGE, length=room)))
    assert len(part.elements) == 2
    assert part.available_bytes == whole.available_bytes


def test_an_allocation_length_of_zero_is_no_error(changer: Device) -> None:
    """SPC-5 4.2.5.6: no data is transferred, and this is no error."""
    assert changer.good(read_element_status(length=0)) == b""


def test_no_element_below_the_starting_address_is_reported(library: Library) -> None:
    """STARTING ELEMENT ADDRESS: the minimum element address to report."""
    slots = library.addresses[STORAGE]
    report = library.report(read_element_status(STORAGE, first=slots[2]))
    assert [row.address for row in report.elements] == list(slots[2:])
    assert report.first == slots[2]


def test_the_starting_address_holds_for_every_type(library: Library) -> None:
    """With all types, each element at or above the starting address is reported."""
    first = library.addresses[STORAGE][1]
    expected = {a for kind in KINDS for a in library.addresses[kind] if a >= first}
    rows = library.report(read_element_status(ALL, first=first)).elements
    assert {row.address for row in rows} == expected


@EVERY_KIND
def test_one_element_can_be_read_alone(library: Library, kind: int) -> None:
    """NUMBER OF ELEMENTS: the maximum number of descriptors; ch reads them one by one."""
    address = library.addresses[kind][-1]
    report = library.report(read_element_status(kind, first=address, count=1))
    (row,) = report.elements
    assert (row.address, report.first, report.count) == (address, address, 1)


def test_the_number_of_elements_limits_the_report(library: Library) -> None:
    """NUMBER OF ELEMENTS: not more descriptors than this."""
    report = library.report(read_element_status(STORAGE, count=3))
    assert [row.address for row in report.elements] == list(library.addresses[STORAGE][:3])


def test_a_start_beyond_all_elements_reports_none(library: Library) -> None:
    """Element descriptors are not generated for undefined element addresses."""
    last = max(address for kind in KINDS for address in library.addresses[kind])
    report = library.report(read_element_status(ALL, first=last + 1))
    assert (report.count, report.available_bytes) == (0, 0)


def test_volume_tags_come_if_they_are_asked_for(library: Library) -> None:
    """VOLTAG set: PVOLTAG is set in each page, and the descriptors hold 36 bytes more."""
    with_tags = library.report(read_element_status(STORAGE)).pages[0]
    without = library.report(read_element_status(STORAGE, tags=False)).pages[0]
    assert (with_tags.flags & 0x80, without.flags & 0x80) == (0x80, 0)
    assert with_tags.descriptor_bytes == without.descriptor_bytes + 36


def test_there_are_no_alternate_volume_tags(library: Library) -> None:
    """AVOLTAG clear: no alternate volume tag is in the descriptors."""
    assert not any(page.flags & 0x40 for page in library.report().pages)


def test_a_volume_tag_is_text_padded_with_spaces(library: Library) -> None:
    """SMC-3 6.12.9: the volume identification field is left-aligned ASCII."""
    for page in library.report(read_element_status(STORAGE)).pages:
        for row in page.descriptors:
            tag = row[12:44]
            if row[2] & 0x01:
                assert tag.rstrip(b" \0").isalnum()
                assert tag.rstrip(b" \0") == tag.strip()


def test_every_volume_tag_is_there_once(library: Library) -> None:
    """A volume is in one element."""
    tags = [row.volume_tag for row in library.elements() if row.full]
    assert len(tags) == len(set(tags))


def test_an_empty_element_is_not_full_and_has_no_source(library: Library) -> None:
    """FULL clear: there is no volume, and nothing that could be said of it."""
    (slot,) = library.empty_slots()
    row = library.at(slot)
    assert (row.flags & ~ACCESS, row.source, row.volume_tag) == (0, None, "")


def test_a_full_element_is_full_and_accessible(library: Library) -> None:
    """FULL: it contains a unit of media; ACCESS: the transport may take it."""
    (slot,) = library.full_slots()
    assert library.at(slot).flags == ACCESS | 0x01


def test_import_export_elements_import_and_export(library: Library) -> None:
    """INENAB and EXENAB: media may enter and leave the library by this element."""
    rows = library.elements(IMPORT_EXPORT)
    if not rows:
        pytest.skip("the library has no import/export elements")
    assert all(row.flags & (IN_ENAB | EX_ENAB) == IN_ENAB | EX_ENAB for row in rows)


def test_an_empty_import_export_element_was_filled_by_nobody(library: Library) -> None:
    """IMPEXP says who placed the volume that is there."""
    empty = [row for row in library.elements(IMPORT_EXPORT) if not row.full]
    assert not any(row.flags & IMP_EXP for row in empty)


def test_only_import_export_elements_have_their_bits(library: Library) -> None:
    """In other descriptors these bits are reserved."""
    others = [row for row in library.elements() if row.kind != IMPORT_EXPORT]
    assert not any(row.flags & (IMP_EXP | IN_ENAB | EX_ENAB) for row in others)


def test_the_transport_has_no_access_bit(library: Library) -> None:
    """In the medium transport element's descriptor the bit is reserved."""
    assert not any(row.flags & ACCESS for row in library.elements(TRANSPORT))


def test_nothing_is_wrong_with_any_element(library: Library) -> None:
    """EXCEPT clear: the element is in a normal state, and no sense is told of it."""
    for page in library.report().pages:
        for row in page.descriptors:
            assert row[2] & EXCEPT == 0
            assert row[4:6] == bytes(2)


def test_current_data_moves_nothing_and_tells_the_same(changer: Device) -> None:
    """CURDATA set: "the device server shall return element status data without causing device
    motion"."""
    assert changer.good(read_element_status(current=True)) == changer.good(read_element_status())


@requires("MOVE MEDIUM")
def test_a_loaded_drive_tells_where_its_volume_came_from(
    library: Library, drive_element: int
) -> None:
    """SOURCE STORAGE ELEMENT ADDRESS: the last storage element that held the volume."""
    (slot,) = library.full_slots()
    tag = library.at(slot).volume_tag
    library.changer.good(move_medium(slot, drive_element))
    row = library.at(drive_element)
    assert (row.full, row.volume_tag, row.source) == (True, tag, slot)
    assert not library.at(slot).full


@requires("MOVE MEDIUM")
def test_a_volume_in_storage_tells_where_it_came_from(library: Library) -> None:
    """SVALID set: the source storage element address is valid."""
    (full,), (empty,) = library.full_slots(), library.empty_slots()
    library.changer.good(move_medium(full, empty))
    assert library.at(empty).source == full


def test_data_media_are_data_media(library: Library) -> None:
    """MEDIUM TYPE 001b: data medium; 000b of an element that is empty."""
    for row in library.elements(STORAGE):
        assert row.medium_type in ((DATA, CLEANING, WORM, 0) if row.full else (0,))


def test_a_worm_volume_is_told_apart(library: Library, target_worm: str) -> None:
    """MEDIUM TYPE 100b: WORM medium."""
    row = next(row for row in library.elements() if row.volume_tag == target_worm)
    assert row.medium_type == WORM


def test_device_identifiers_come_if_they_are_asked_for(library: Library) -> None:
    """DVCID set: the identifier of each data transfer device is in its descriptor."""
    for row in library.report(read_element_status(DATA_TRANSFER, identifiers=True)).elements:
        code_set, kind, length = row.rest[0] & 0x0F, row.rest[1] & 0x0F, row.rest[3]
        assert (code_set, kind in (0, 1), length > 0) == (2, True, True)
        assert row.rest[4 : 4 + length].strip().isascii()


def test_without_dvcid_an_identifier_has_no_length(library: Library) -> None:
    """DVCID clear: IDENTIFIER LENGTH is zero."""
    for row in library.report(read_element_status(DATA_TRANSFER)).elements:
        assert row.rest[:4] == bytes(4)


def test_identifiers_and_volume_tags_come_together(library: Library) -> None:
    """VOLTAG and DVCID may both be set; the identifier follows the tag."""
    both = library.report(read_element_status(DATA_TRANSFER, identifiers=True)).elements
    alone = library.report(read_element_status(DATA_TRANSFER, identifiers=True, tags=False))
    assert [row.rest for row in both] == [row.rest for row in alone.elements]


def test_other_elements_have_no_device_identifier(library: Library) -> None:
    """Only a data transfer element has a device."""
    for kind in (TRANSPORT, STORAGE, IMPORT_EXPORT):
        for row in library.report(read_element_status(kind, identifiers=True)).elements:
            assert not row.rest or row.rest[3] == 0


@requires(vpd_page=0x83)
def test_a_drives_identifier_is_that_of_its_own_vpd_page(
    library: Library, drive_identity: bytes, drive_address: int
) -> None:
    """The device identifier is the one that the device returns itself (SPC-5 7.7.6)."""
    rows = library.report(read_element_status(DATA_TRANSFER, identifiers=True)).elements
    row = next(row for row in rows if row.address == drive_address)
    identifier = row.rest[4 : 4 + row.rest[3]]
    assert identifier in drive_identity


def test_what_is_read_again_is_the_same(changer: Device) -> None:
    """Reading the status changes nothing."""
    assert changer.good(read_element_status()) == changer.good(read_element_status())


@pytest.mark.parametrize("kind", HOLDERS)
def test_the_report_of_a_type_is_part_of_the_report_of_all(library: Library, kind: int) -> None:
    """Whichever way an element is asked for, it is told the same."""
    assert [row for row in library.elements() if row.kind == kind] == list(library.elements(kind))


@requires("RESERVE(6)", "RELEASE(6)")
def test_a_reservation_of_another_initiator_conflicts(
    changer: Device, other_changer: Device
) -> None:
    """SPC-2 5.5.1: a command of another initiator ends with RESERVATION CONFLICT."""
    other_changer.good(c.reserve_6())
    changer.conflict(read_element_status())
    other_changer.good(c.release_6())
    changer.good(read_element_status())


@requires("RESERVE(6)", "RELEASE(6)")
def test_what_is_known_already_can_be_read_past_a_reservation(
    changer: Device, other_changer: Device
) -> None:
    """CURDATA set: the command is allowed, whoever has reserved the changer."""
    other_changer.good(c.reserve_6())
    changer.good(read_element_status(current=True))
    other_changer.good(c.release_6())
