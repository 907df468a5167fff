"""SPACE(6) and SPACE(16), forward and in reverse (SSC-5 6.6, 7.14)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance import commands as c
from tests.conformance.commands import BLOCKS, FILEMARKS, Command
from tests.conformance.device import Device
from tests.conformance.recording import (
    END,
    FILEMARK,
    block,
    follows,
    record,
    set_block_length,
)
from tests.conformance.requirements import requires
from tests.conformance.sense import (
    BEGINNING_OF_PARTITION,
    END_OF_DATA,
    FILEMARK_DETECTED,
    INVALID_FIELD_IN_CDB,
)

Space = Callable[..., Command]


@pytest.fixture(
    params=[
        pytest.param(c.space_6, marks=requires("SPACE(6)"), id="SPACE(6)"),
        pytest.param(c.space_16, marks=requires("SPACE(16)"), id="SPACE(16)"),
    ]
)
def space(request: pytest.FixtureRequest) -> Space:
    made: Space = request.param
    return made


def residue(information: int | None) -> int:
    """Of a reverse movement the standard does not say the sign; drives leave it out."""
    assert information is not None
    return abs(information)


def test_blocks_are_passed_forward(tape: Device, space: Space) -> None:
    """SSC-5 6.6: COUNT logical blocks, to the EOP side of the last."""
    record(tape, 0, 1, 2, 3, 4)
    tape.good(space(BLOCKS, 3))
    assert follows(tape) == 3


def test_blocks_are_passed_in_reverse(tape: Device, space: Space) -> None:
    """SSC-5 6.6: a negative COUNT, to the BOP side of the last."""
    record(tape, 0, 1, 2, 3, 4)
    tape.good(space(BLOCKS, 4))
    tape.good(space(BLOCKS, -2))
    assert follows(tape) == 2


@pytest.mark.parametrize("code", [BLOCKS, FILEMARKS])
def test_a_count_of_zero_moves_nothing(tape: Device, space: Space, code: int) -> None:
    """SSC-5 6.6: COUNT zero: the logical position shall not be changed."""
    record(tape, 0, 1, FILEMARK, 2)
    tape.good(space(BLOCKS, 1))
    tape.good(space(code, 0))
    assert follows(tape) == 1


def test_a_filemark_stops_the_passing_of_blocks(tape: Device, space: Space) -> None:
    """SSC-5 6.6: FILEMARK DETECTED, FILEMARK one, INFORMATION COUNT minus the blocks passed."""
    record(tape, 0, 1, FILEMARK, 2)
    sense = tape.check(space(BLOCKS, 5), FILEMARK_DETECTED)
    assert sense.filemark
    assert sense.information == 3


def test_stopped_by_a_filemark_the_position_is_behind_it(tape: Device, space: Space) -> None:
    """SSC-5 6.6: ... on the EOP side of the filemark."""
    record(tape, 0, 1, FILEMARK, 2)
    tape.check(space(BLOCKS, 5), FILEMARK_DETECTED)
    assert follows(tape) == 2


def test_a_filemark_stops_the_passing_of_blocks_in_reverse(tape: Device, space: Space) -> None:
    """SSC-5 6.6: FILEMARK DETECTED, and what was not passed as residue."""
    record(tape, 0, FILEMARK, 1, 2)
    tape.check(space(BLOCKS, 9), FILEMARK_DETECTED)
    tape.good(space(BLOCKS, 2))
    sense = tape.check(space(BLOCKS, -5), FILEMARK_DETECTED)
    assert sense.filemark
    assert residue(sense.information) == 3


def test_stopped_by_a_filemark_in_reverse_the_position_is_before_it(
    tape: Device, space: Space
) -> None:
    """SSC-5 6.6: ... on the BOP side of the filemark."""
    record(tape, 0, FILEMARK, 1, 2)
    tape.check(space(BLOCKS, 9), FILEMARK_DETECTED)
    tape.good(space(BLOCKS, 1))
    tape.check(space(BLOCKS, -5), FILEMARK_DETECTED)
    assert [follows(tape) for _ in range(2)] == [FILEMARK, 1]


@pytest.mark.parametrize("code", [BLOCKS, FILEMARKS])
def test_end_of_data_stops_spacing(tape: Device, space: Space, code: int) -> None:
    """SSC-5 6.6: BLANK CHECK, END-OF-DATA DETECTED, INFORMATION what was not passed."""
    record(tape, *((0, 1) if code == BLOCKS else (FILEMARK, 0, FILEMARK)))
    sense = tape.check(space(code, 5), END_OF_DATA)
    assert sense.information == 3
    assert not sense.filemark


@pytest.mark.parametrize("code", [BLOCKS, FILEMARKS])
def test_stopped_by_end_of_data_the_position_is_there(
    tape: Device, space: Space, code: int
) -> None:
    """SSC-5 6.6: the medium is positioned such that a write appends."""
    record(tape, 0, 1)
    tape.check(space(code, 5), END_OF_DATA)
    assert follows(tape) == END


@pytest.mark.parametrize("code", [BLOCKS, FILEMARKS])
def test_beginning_of_partition_stops_spacing_in_reverse(
    tape: Device, space: Space, code: int
) -> None:
    """SSC-5 6.6: BEGINNING-OF-PARTITION/MEDIUM DETECTED, EOM one, and the residue."""
    record(tape, *((0, 1) if code == BLOCKS else (FILEMARK, FILEMARK)))
    tape.good(space(code, 2))
    sense = tape.check(space(code, -5), BEGINNING_OF_PARTITION)
    assert sense.end_of_medium
    assert residue(sense.information) == 3


def test_stopped_by_beginning_of_partition_the_position_is_there(
    tape: Device, space: Space
) -> None:
    """SSC-5 6.6: the position is BOP."""
    record(tape, 0, 1)
    tape.good(space(BLOCKS, 2))
    tape.check(space(BLOCKS, -5), BEGINNING_OF_PARTITION)
    assert follows(tape) == 0


def test_spacing_in_reverse_from_the_beginning_passes_nothing(tape: Device, space: Space) -> None:
    """SSC-5 6.6: the residue is the whole count."""
    record(tape, 0)
    sense = tape.check(space(BLOCKS, -1), BEGINNING_OF_PARTITION)
    assert residue(sense.information) == 1


def test_filemarks_are_passed_with_the_blocks_between_them(tape: Device, space: Space) -> None:
    """SSC-5 6.6: COUNT filemarks, to the EOP side of the last."""
    record(tape, 0, FILEMARK, 1, 2, FILEMARK, 3, FILEMARK, 4)
    tape.good(space(FILEMARKS, 2))
    assert follows(tape) == 3


def test_filemarks_are_passed_in_reverse_to_before_the_last(tape: Device, space: Space) -> None:
    """SSC-5 6.6: to the BOP side of the last filemark passed."""
    record(tape, 0, FILEMARK, 1, FILEMARK, 2)
    tape.good(space(FILEMARKS, 2))
    tape.good(space(FILEMARKS, -2))
    assert [follows(tape) for _ in range(2)] == [FILEMARK, 1]


def test_a_filemark_just_behind_is_the_first_in_reverse(tape: Device, space: Space) -> None:
    """SSC-5 6.6: from behind a filemark, COUNT -1 ends before that filemark."""
    record(tape, 0, FILEMARK, 1)
    tape.good(space(FILEMARKS, 1))
    tape.good(space(FILEMARKS, -1))
    assert follows(tape) == FILEMARK


def test_one_block_back_at_a_filemark_finds_the_filemark(tape: Device, space: Space) -> None:
    """SSC-5 6.6: how a backup program asks whether a filemark is behind it."""
    record(tape, 0, FILEMARK, 1)
    tape.good(space(FILEMARKS, 1))
    sense = tape.check(space(BLOCKS, -1), FILEMARK_DETECTED)
    assert residue(sense.information) == 1


def test_spacing_to_end_of_data_ends_behind_the_last_object(tape: Device, space: Space) -> None:
    """SSC-5 6.6: CODE 3h: end-of-data, whatever is between."""
    record(tape, 0, FILEMARK, 1, FILEMARK, FILEMARK, 2)
    tape.good(space(c.END))
    assert follows(tape) == END


def test_spacing_to_end_of_data_ignores_the_count(tape: Device, space: Space) -> None:
    """SSC-5 6.6: COUNT is ignored with CODE 3h."""
    record(tape, 0, FILEMARK, 1)
    tape.good(space(c.END, 7))
    assert follows(tape) == END


def test_a_write_at_end_of_data_appends(tape: Device, space: Space) -> None:
    """SSC-5 6.6: CODE 3h is where a WRITE appends."""
    record(tape, 0, FILEMARK, 1)
    tape.good(space(c.END))
    tape.good(c.write(block(2)))
    tape.good(c.rewind())
    assert [follows(tape) for _ in range(5)] == [0, FILEMARK, 1, 2, END]


def test_space_synchronises_and_keeps_what_was_written(tape: Device, space: Space) -> None:
    """SSC-5 6.6: buffered blocks are written before the movement."""
    for number in range(4):
        tape.good(c.write(block(number)))
    tape.good(space(BLOCKS, -3))
    assert [follows(tape) for _ in range(4)] == [1, 2, 3, END]


@pytest.mark.parametrize("code", [0x05, 0x07, 0x0F])
def test_a_reserved_code_is_refused(tape: Device, space: Space, code: int) -> None:
    """SSC-5 table for CODE: 5h to 7h are reserved (setmarks are obsolete)."""
    sense = tape.check(space(code, 1), INVALID_FIELD_IN_CDB)
    assert sense.field_pointer is None or sense.field_pointer.byte == 1


def test_blocks_are_counted_whatever_their_length(tape: Device, space: Space) -> None:
    """SSC-5 6.6: logical blocks, also while BLOCK LENGTH of the descriptor is nonzero."""
    record(tape, 0, 1, 2, 3)
    set_block_length(tape, 512)
    tape.good(space(BLOCKS, 2))
    assert follows(tape) == 2


@requires("SPACE(16)")
def test_a_count_beyond_24_bits_is_taken(tape: Device) -> None:
    """SSC-5 7.14: COUNT of SPACE(16) has 64 bits."""
    record(tape, 0, 1)
    assert tape.run(c.space_16(BLOCKS, 1 << 40)).status == 0x02
    assert follows(tape) == END


@requires("SPACE(16)")
def test_a_residue_beyond_32_bits_does_not_become_small(tape: Device) -> None:
    """SPC-5 4.4.3: fixed format: VALID zero where INFORMATION cannot hold the value."""
    record(tape, 0, 1)
    sense = tape.check(c.space_16(BLOCKS, 1 << 40), END_OF_DATA)
    assert sense.information is None or sense.information == (1 << 40) - 2
