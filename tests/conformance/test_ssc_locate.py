"""REWIND, LOCATE(10), LOCATE(16) and READ POSITION (SSC-5 6.3, 7.5, 7.8, 7.12)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance import commands as c
from tests.conformance.commands import EXTENDED_FORM, LONG_FORM, Command
from tests.conformance.device import Device
from tests.conformance.recording import END, FILEMARK, block, follows, object_number, record
from tests.conformance.requirements import requires
from tests.conformance.sense import END_OF_DATA, INVALID_FIELD_IN_CDB

Locate = Callable[..., Command]
BOP, EOP = 0x80, 0x40


@pytest.fixture(
    params=[
        pytest.param(c.locate_10, marks=requires("LOCATE(10)"), id="LOCATE(10)"),
        pytest.param(c.locate_16, marks=requires("LOCATE(16)"), id="LOCATE(16)"),
    ]
)
def locate(request: pytest.FixtureRequest) -> Locate:
    made: Locate = request.param
    return made


# -- REWIND ----------------------------------------------------------------------------------
@pytest.mark.parametrize("immediate", [False, True])
def test_rewind_goes_to_the_beginning(tape: Device, immediate: bool) -> None:
    """SSC-5 7.12: position at BOP of the current partition; IMMED returns status at once."""
    record(tape, 0, 1, FILEMARK)
    assert [follows(tape) for _ in range(2)] == [0, 1]
    tape.good(c.rewind(immediate=immediate))
    assert follows(tape) == 0


# -- LOCATE ----------------------------------------------------------------------------------
@pytest.mark.parametrize("number", [0, 1, 3, 4])
def test_locate_goes_to_a_logical_object(tape: Device, locate: Locate, number: int) -> None:
    """SSC-5 6.3, 7.5: the BOP side of that object; filemarks are objects too."""
    record(tape, 0, 1, FILEMARK, 3, 4)
    tape.good(locate(number))
    assert follows(tape) == number


def test_locate_goes_to_a_filemark(tape: Device, locate: Locate) -> None:
    """SSC-5 4.2.9: a filemark has a logical object identifier."""
    record(tape, 0, FILEMARK, 2)
    tape.good(locate(1))
    assert [follows(tape) for _ in range(2)] == [FILEMARK, 2]


def test_locate_goes_back_as_well(tape: Device, locate: Locate) -> None:
    """SSC-5 6.3, 7.5: from wherever the position is."""
    record(tape, 0, 1, 2, 3)
    tape.good(locate(3))
    tape.good(locate(1))
    assert follows(tape) == 1


def test_locate_goes_to_end_of_data_by_its_number(tape: Device, locate: Locate) -> None:
    """SSC-5 6.3, 7.5: the identifier of the object that would be written next is valid."""
    record(tape, 0, 1)
    tape.good(locate(2))
    assert follows(tape) == END


def test_locate_beyond_end_of_data_is_a_blank_check(tape: Device, locate: Locate) -> None:
    """SSC-5 6.3, 7.5: END-OF-DATA DETECTED, BLANK CHECK."""
    record(tape, 0, 1)
    tape.check(locate(50), END_OF_DATA)


def test_locate_beyond_end_of_data_ends_there(tape: Device, locate: Locate) -> None:
    """SSC-5 6.3, 7.5: the position is end-of-data."""
    record(tape, 0, 1)
    tape.check(locate(50), END_OF_DATA)
    assert follows(tape) == END


def test_locate_with_immed_goes_there(tape: Device, locate: Locate) -> None:
    """SSC-5 6.3, 7.5: IMMED: status before the movement; the next command waits for it."""
    record(tape, 0, 1, 2)
    tape.good(locate(2, immediate=True))
    assert follows(tape) == 2


def test_a_write_behind_a_located_object_ends_the_data(tape: Device, locate: Locate) -> None:
    """SSC-5 4.2.7: what is behind the new block is gone."""
    record(tape, 0, 1, 2, 3)
    tape.good(locate(1))
    tape.good(c.write(block(9)))
    tape.good(c.rewind())
    assert [follows(tape) for _ in range(3)] == [0, 9, END]


def test_locate_with_change_partition_to_the_current_one(tape: Device, locate: Locate) -> None:
    """SSC-5 6.3, 7.5: CP one, PARTITION the one the position is in."""
    record(tape, 0, 1, 2)
    tape.good(locate(2, partition=0))
    assert follows(tape) == 2


def test_locate_in_a_partition_that_is_not_there_is_refused(tape: Device, locate: Locate) -> None:
    """SSC-5 6.3, 7.5: CP one and PARTITION not on the volume: INVALID FIELD IN CDB."""
    record(tape, 0, 1)
    sense = tape.check(locate(0, partition=9), INVALID_FIELD_IN_CDB)
    assert sense.field_pointer is None or sense.field_pointer.byte in (3, 8)


def test_a_refused_locate_moves_nothing(tape: Device, locate: Locate) -> None:
    """SPC-5 4.2.5: a command refused for its CDB has no effect."""
    record(tape, 0, 1, 2)
    assert follows(tape) == 0
    tape.check(locate(2, partition=9), INVALID_FIELD_IN_CDB)
    assert follows(tape) == 1


@requires("LOCATE(16)")
def test_locate_goes_to_a_logical_file(tape: Device) -> None:
    """SSC-5 7.5: DEST_TYPE 001b: the beginning of that logical file, behind its filemark."""
    record(tape, 0, FILEMARK, 2, FILEMARK, 4, FILEMARK)
    tape.good(c.locate_16(2, kind=c.FILE_ID))
    assert follows(tape) == 4


@requires("LOCATE(16)")
def test_locate_to_the_first_logical_file_is_the_beginning(tape: Device) -> None:
    """SSC-5 4.2.9: logical file identifiers count from zero."""
    record(tape, 0, FILEMARK, 2)
    tape.good(c.space_6(c.END))
    tape.good(c.locate_16(0, kind=c.FILE_ID))
    assert follows(tape) == 0


@requires("LOCATE(16)")
def test_locate_to_a_file_beyond_the_last_is_a_blank_check(tape: Device) -> None:
    """SSC-5 7.5: END-OF-DATA DETECTED."""
    record(tape, 0, FILEMARK, 2)
    tape.check(c.locate_16(7, kind=c.FILE_ID), END_OF_DATA)
    assert follows(tape) == END


@requires("LOCATE(16)")
def test_locate_goes_to_end_of_data(tape: Device) -> None:
    """SSC-5 7.5: DEST_TYPE 011b: end-of-data, LOGICAL IDENTIFIER ignored."""
    record(tape, 0, FILEMARK, 2)
    tape.good(c.locate_16(1, kind=c.END_ID))
    assert follows(tape) == END


@requires("LOCATE(16)")
@pytest.mark.parametrize("kind", [4, 5, 7])
def test_a_reserved_destination_is_refused(tape: Device, kind: int) -> None:
    """SSC-5 table for DEST_TYPE: 100b to 111b are reserved."""
    tape.check(c.locate_16(0, kind=kind), INVALID_FIELD_IN_CDB)


@requires("LOCATE(16)")
def test_an_object_number_beyond_32_bits_is_a_blank_check(tape: Device) -> None:
    """SSC-5 7.5: LOGICAL IDENTIFIER has 64 bits, none of which may be lost."""
    record(tape, 0, 1)
    tape.check(c.locate_16(1 << 32), END_OF_DATA)


# -- READ POSITION ---------------------------------------------------------------------------
def test_short_form_is_twenty_bytes(tape: Device) -> None:
    """SSC-5 7.8.2: SHORT FORM parameter data, 20 bytes."""
    assert len(tape.good(c.read_position())) == 20


def test_short_form_at_the_beginning_has_bop(tape: Device) -> None:
    """SSC-5 7.8.2: BOP one, both locations zero."""
    data = tape.good(c.read_position())
    assert data[0] & BOP
    assert data[4:12] == bytes(8)


def test_short_form_behind_the_beginning_has_no_bop(tape: Device) -> None:
    """SSC-5 7.8.2: BOP zero: the position is not at the beginning of the partition."""
    record(tape, 0, 1)
    assert follows(tape) == 0
    assert not tape.good(c.read_position())[0] & BOP


def test_first_and_last_location_are_equal_with_nothing_buffered(tape: Device) -> None:
    """SSC-5 7.8.2: with no object in the object buffer, both are the same."""
    record(tape, 0, 1, FILEMARK, 3)
    tape.good(c.space_6(c.END))
    data = tape.good(c.read_position())
    assert int.from_bytes(data[4:8], "big") == int.from_bytes(data[8:12], "big") == 4
    assert data[12:20] == bytes(8)


def test_position_counts_blocks_and_filemarks(tape: Device) -> None:
    """SSC-5 4.2.9: the logical object identifier grows by one for each of them."""
    tape.good(c.write(block(0)))
    tape.good(c.write_filemarks(2))
    assert object_number(tape) == 3
    tape.good(c.write(block(3)))
    assert object_number(tape) == 4


def test_position_follows_reads(tape: Device) -> None:
    """SSC-5 7.8: the position is that of the object that would be read next."""
    record(tape, 0, FILEMARK, 2)
    seen = []
    for _ in range(3):
        follows(tape)
        seen.append(object_number(tape))
    assert seen == [1, 2, 3]


def test_read_position_does_not_move(tape: Device) -> None:
    """SSC-5 7.8: READ POSITION causes no movement."""
    record(tape, 0, 1)
    assert follows(tape) == 0
    for form in (c.SHORT_FORM, LONG_FORM, EXTENDED_FORM):
        tape.run(c.read_position(form))
    assert follows(tape) == 1


@requires("READ POSITION LONG FORM")
def test_long_form_is_thirty_two_bytes(tape: Device) -> None:
    """SSC-5 7.8.3: LONG FORM parameter data, 32 bytes."""
    assert len(tape.good(c.read_position(LONG_FORM))) == 32


@requires("READ POSITION LONG FORM")
def test_long_form_tells_object_and_file(tape: Device) -> None:
    """SSC-5 7.8.3: LOGICAL OBJECT NUMBER and LOGICAL FILE IDENTIFIER, partition 0."""
    record(tape, 0, FILEMARK, 2, FILEMARK, 4)
    tape.good(c.space_6(c.END))
    data = tape.good(c.read_position(LONG_FORM))
    assert int.from_bytes(data[4:8], "big") == 0
    assert int.from_bytes(data[8:16], "big") == 5
    assert int.from_bytes(data[16:24], "big") == 2


@requires("READ POSITION LONG FORM")
def test_long_form_at_the_beginning_has_bop(tape: Device) -> None:
    """SSC-5 7.8.3: BOP one at the beginning of the partition."""
    assert tape.good(c.read_position(LONG_FORM))[0] & BOP


@requires("READ POSITION LONG FORM")
def test_the_file_identifier_goes_back_with_the_position(tape: Device) -> None:
    """SSC-5 4.2.9: the number of filemarks between BOP and the position."""
    record(tape, 0, FILEMARK, 2, FILEMARK, 4)
    tape.good(c.space_6(c.END))
    tape.good(c.space_6(c.FILEMARKS, -1))
    assert int.from_bytes(tape.good(c.read_position(LONG_FORM))[16:24], "big") == 1


@requires("READ POSITION EXTENDED FORM")
def test_extended_form_tells_first_and_last_object(tape: Device) -> None:
    """SSC-5 7.8.4: ADDITIONAL LENGTH 001Ch, 64-bit locations."""
    record(tape, 0, FILEMARK, 2)
    tape.good(c.space_6(c.END))
    data = tape.good(c.read_position(EXTENDED_FORM))
    assert len(data) == 32
    assert int.from_bytes(data[2:4], "big") == 0x1C
    assert int.from_bytes(data[8:16], "big") == int.from_bytes(data[16:24], "big") == 3


@requires("READ POSITION EXTENDED FORM")
def test_extended_form_is_cut_to_the_allocation_length(tape: Device) -> None:
    """SSC-5 7.8.4, SPC-5 4.2.5.6: truncated without an error."""
    whole = tape.good(c.read_position(EXTENDED_FORM))
    assert tape.good(c.read_position(EXTENDED_FORM, 12)) == whole[:12]


@pytest.mark.parametrize("form", [0x02, 0x0A, 0x1F])
def test_a_reserved_form_is_refused(tape: Device, form: int) -> None:
    """SSC-5 7.8.1: SERVICE ACTION codes that are reserved."""
    tape.check(c.read_position().but(1, form), INVALID_FIELD_IN_CDB)


def test_far_from_the_end_eop_is_clear(tape: Device) -> None:
    """SSC-5 7.8.2: EOP one between early warning and the end of the partition."""
    record(tape, 0)
    assert not tape.good(c.read_position())[0] & EOP
