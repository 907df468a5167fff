"""SEND VOLUME TAG and REQUEST VOLUME ELEMENT ADDRESS (SMC-3 6.13, 6.17)."""

from __future__ import annotations

import pytest

from tests.conformance.commands import raw
from tests.conformance.device import Device
from tests.conformance.library import (
    ALL_TAGS_ANY_SEQUENCE,
    HEADER_BYTES,
    IMPORT_EXPORT,
    PRIMARY_TAGS_ANY_SEQUENCE,
    STORAGE,
    Library,
    request_volume_element_address,
    send_volume_tag,
)
from tests.conformance.requirements import requires
from tests.conformance.sense import INVALID_FIELD_IN_CDB, PARAMETER_LIST_LENGTH_ERROR, Code

pytestmark = requires("SEND VOLUME TAG", "REQUEST VOLUME ELEMENT ADDRESS")
COMMAND_SEQUENCE_ERROR: Code = (0x5, 0x2C, 0x00)
UNDEFINE_PRIMARY, ASSERT_PRIMARY = 0xC, 0x8


def found(library: Library, **fields: int) -> dict[int, str]:
    rows = library.report(request_volume_element_address(**fields)).elements
    return {row.address: row.volume_tag for row in rows}


def test_a_volume_is_found_by_its_tag(library: Library) -> None:
    """The elements whose volume identification the template matches."""
    (slot,) = library.full_slots()
    tag = library.at(slot).volume_tag
    library.changer.good(send_volume_tag(tag))
    assert found(library) == {slot: tag}


def test_an_asterisk_is_any_string(library: Library) -> None:
    """'*' matches any number of characters."""
    library.changer.good(send_volume_tag("*"))
    assert found(library) == library.tags()


def test_a_question_mark_is_one_character(library: Library) -> None:
    """'?' matches any single character."""
    (slot,) = library.full_slots()
    tag = library.at(slot).volume_tag
    library.changer.good(send_volume_tag("?" + tag[1:]))
    assert slot in found(library)
    library.changer.good(send_volume_tag("?" + tag))
    assert slot not in found(library)


def test_a_beginning_finds_what_begins_so(library: Library) -> None:
    """A template of a few characters and '*'."""
    (slot,) = library.full_slots()
    start = library.at(slot).volume_tag[:4]
    library.changer.good(send_volume_tag(start + "*"))
    assert set(found(library)) == {a for a, tag in library.tags().items() if tag.startswith(start)}


def test_nothing_found_is_no_error(library: Library) -> None:
    """NUMBER OF ELEMENTS AVAILABLE zero."""
    library.changer.good(send_volume_tag("NO SUCH VOLUME"))
    report = library.report(request_volume_element_address())
    assert (report.count, report.available_bytes) == (0, 0)


@pytest.mark.parametrize("action", [ALL_TAGS_ANY_SEQUENCE, PRIMARY_TAGS_ANY_SEQUENCE])
def test_the_report_says_which_search_it_answers(library: Library, action: int) -> None:
    """SEND ACTION CODE in byte 4: that of the SEND VOLUME TAG."""
    library.changer.good(send_volume_tag("*", action=action))
    assert library.report(request_volume_element_address()).fifth_byte & 0x1F == action


def test_the_search_is_of_one_element_type(library: Library) -> None:
    """ELEMENT TYPE CODE of SEND VOLUME TAG: the types that are searched."""
    library.changer.good(send_volume_tag("*", kind=STORAGE))
    assert set(found(library)) == {row.address for row in library.elements(STORAGE) if row.full}


def test_the_report_is_of_one_element_type(library: Library) -> None:
    """ELEMENT TYPE CODE of REQUEST VOLUME ELEMENT ADDRESS."""
    library.changer.good(send_volume_tag("*"))
    expected = {row.address for row in library.elements(IMPORT_EXPORT) if row.full}
    assert set(found(library, kind=IMPORT_EXPORT)) == expected


def test_the_search_begins_at_an_address(library: Library) -> None:
    """ELEMENT ADDRESS: the first element that is searched."""
    last = max(library.tags())
    library.changer.good(send_volume_tag("*", first=last))
    assert set(found(library)) == {last}


def test_the_report_is_limited_to_a_number_of_elements(library: Library) -> None:
    """NUMBER OF ELEMENTS: not more descriptors than this."""
    library.changer.good(send_volume_tag("*"))
    assert len(found(library, count=1)) == 1


def test_an_allocation_of_the_header_tells_how_long_the_report_is(library: Library) -> None:
    """BYTE COUNT OF REPORT AVAILABLE is not adjusted to the allocation length."""
    library.changer.good(send_volume_tag("*"))
    whole = library.changer.good(request_volume_element_address())
    part = library.changer.good(request_volume_element_address(length=HEADER_BYTES))
    assert part == whole[:HEADER_BYTES]


def test_without_voltag_the_descriptors_have_no_tags(library: Library) -> None:
    """VOLTAG clear: PVOLTAG is clear."""
    library.changer.good(send_volume_tag("*"))
    report = library.report(request_volume_element_address(tags=False))
    assert not any(page.flags & 0x80 for page in report.pages)


def test_a_request_without_a_search_is_out_of_sequence(changer: Device) -> None:
    """COMMAND SEQUENCE ERROR where no SEND VOLUME TAG came before."""
    changer.check(request_volume_element_address(), COMMAND_SEQUENCE_ERROR)


def test_no_parameter_list_is_no_error(changer: Device) -> None:
    """PARAMETER LIST LENGTH zero "shall not be considered as an error"."""
    changer.good(send_volume_tag(None))


def test_a_parameter_list_that_is_too_short_is_refused(changer: Device) -> None:
    """The list has 40 bytes: PARAMETER LIST LENGTH ERROR."""
    cdb = bytes.fromhex("b6 00 0000 00 05 0000 0014 00 00")
    changer.check(raw(cdb, data_out=bytes(20)), PARAMETER_LIST_LENGTH_ERROR)


@pytest.mark.parametrize("action", [ASSERT_PRIMARY, UNDEFINE_PRIMARY])
def test_a_bar_code_cannot_be_rewritten(changer: Device, action: int) -> None:
    """Without the function to define volume tags: INVALID FIELD IN CDB, SEND ACTION CODE."""
    sense = changer.check(send_volume_tag("NEWTAG", action=action), INVALID_FIELD_IN_CDB)
    assert sense.field_pointer is None or sense.field_pointer.byte == 5


def test_each_initiator_has_a_search_of_its_own(library: Library, other_changer: Device) -> None:
    """What another I_T nexus looks for does not count."""
    (slot,) = library.full_slots()
    library.changer.good(send_volume_tag(library.at(slot).volume_tag))
    other_changer.good(send_volume_tag("NO SUCH VOLUME"))
    assert set(found(library)) == {slot}
