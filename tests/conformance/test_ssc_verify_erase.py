"""VERIFY(6) and ERASE(6) (SSC-5 6.2, 6.7)."""

from __future__ import annotations

import pytest

from tests.conformance import commands as c
from tests.conformance.device import Device
from tests.conformance.pages import ModePageKeeper
from tests.conformance.recording import (
    BLOCK_BYTES,
    END,
    FILEMARK,
    block,
    follows,
    object_number,
    record,
    set_block_length,
)
from tests.conformance.requirements import requires
from tests.conformance.sense import (
    END_OF_DATA,
    FILEMARK_DETECTED,
    INVALID_FIELD_IN_CDB,
    MISCOMPARE_DURING_VERIFY,
    NO_ADDITIONAL_SENSE,
)

verifies = requires("VERIFY(6)")
erases = requires("ERASE(6)")
VTE, VBF, BYTCMP, FIXED = 0x20, 0x08, 0x02, 0x01


# -- VERIFY ----------------------------------------------------------------------------------
@verifies
def test_verify_passes_one_variable_block(tape: Device) -> None:
    """SSC-5 6.7: FIXED zero: one block of VERIFICATION LENGTH bytes."""
    record(tape, 0, 1)
    tape.good(c.verify(BLOCK_BYTES))
    assert follows(tape) == 1


@verifies
def test_verify_passes_fixed_blocks(tape: Device) -> None:
    """SSC-5 6.7: FIXED one: VERIFICATION LENGTH blocks."""
    record(tape, 0, 1, 2, 3)
    set_block_length(tape, BLOCK_BYTES)
    tape.good(c.verify(3, flags=FIXED))
    assert follows(tape) == 3


@verifies
def test_verify_of_nothing_moves_nothing(tape: Device) -> None:
    """SSC-5 6.7: VERIFICATION LENGTH zero is no error."""
    record(tape, 0)
    tape.good(c.verify(0))
    assert follows(tape) == 0


@verifies
def test_verify_transfers_nothing(tape: Device) -> None:
    """SSC-5 6.7: without BYTCMP no data are transferred."""
    record(tape, 0)
    assert tape.good(c.verify(BLOCK_BYTES)) == b""


@verifies
def test_verify_compares_equal_data(tape: Device) -> None:
    """SSC-5 6.7: BYTCMP one: byte by byte with the Data-Out Buffer."""
    record(tape, 0, 1)
    tape.good(c.verify(BLOCK_BYTES, flags=BYTCMP, data=block(0)))
    assert follows(tape) == 1


@verifies
def test_verify_finds_a_difference(tape: Device) -> None:
    """SSC-5 6.7: MISCOMPARE, MISCOMPARE DURING VERIFY OPERATION."""
    record(tape, 0, 1)
    tape.check(
        c.verify(BLOCK_BYTES, flags=BYTCMP, data=block(0)[:-1] + b"?"), MISCOMPARE_DURING_VERIFY
    )


@verifies
def test_verify_compares_fixed_blocks(tape: Device) -> None:
    """SSC-5 6.7: BYTCMP with FIXED: VERIFICATION LENGTH blocks of data."""
    record(tape, 0, 1)
    set_block_length(tape, BLOCK_BYTES)
    tape.good(c.verify(2, flags=BYTCMP | FIXED, data=block(0) + block(1)))
    tape.good(c.rewind())
    tape.check(
        c.verify(2, flags=BYTCMP | FIXED, data=block(0) + block(2)), MISCOMPARE_DURING_VERIFY
    )


@verifies
def test_verify_stops_at_a_filemark(tape: Device) -> None:
    """SSC-5 6.7: FILEMARK DETECTED, INFORMATION what was not verified; behind the filemark."""
    record(tape, 0, FILEMARK, 2)
    set_block_length(tape, BLOCK_BYTES)
    sense = tape.check(c.verify(3, flags=FIXED), FILEMARK_DETECTED)
    assert sense.filemark
    assert sense.information == 2
    assert follows(tape) == 2


@verifies
def test_verify_stops_at_end_of_data(tape: Device) -> None:
    """SSC-5 6.7: BLANK CHECK, INFORMATION what was not verified."""
    record(tape, 0)
    set_block_length(tape, BLOCK_BYTES)
    assert tape.check(c.verify(3, flags=FIXED), END_OF_DATA).information == 2


@verifies
def test_verify_of_a_block_of_another_length_is_an_incorrect_length(tape: Device) -> None:
    """SSC-5 6.7: ILI one, the position behind the block."""
    record(tape, 0, 1)
    assert tape.check(c.verify(100), NO_ADDITIONAL_SENSE).incorrect_length
    assert follows(tape) == 1


@verifies
def test_verify_of_fixed_blocks_without_a_block_length_is_refused(tape: Device) -> None:
    """SSC-5 6.7: FIXED one while BLOCK LENGTH is zero: INVALID FIELD IN CDB."""
    tape.check(c.verify(1, flags=FIXED), INVALID_FIELD_IN_CDB)


@verifies
def test_verify_by_filemarks_passes_that_many(tape: Device) -> None:
    """SSC-5 6.7: VBF one: VERIFICATION LENGTH counts filemarks."""
    record(tape, 0, FILEMARK, 2, FILEMARK, 4)
    tape.good(c.verify(2, flags=VBF))
    assert follows(tape) == 4


@verifies
def test_verify_by_filemarks_stops_at_end_of_data(tape: Device) -> None:
    """SSC-5 6.7: BLANK CHECK where there are fewer."""
    record(tape, 0, FILEMARK, 2)
    assert tape.check(c.verify(3, flags=VBF), END_OF_DATA).information == 2


@verifies
def test_verify_to_end_of_data_ends_there(tape: Device) -> None:
    """SSC-5 6.7: VTE one: from the position to end-of-data."""
    record(tape, 0, FILEMARK, 2)
    tape.good(c.verify(0, flags=VTE))
    assert follows(tape) == END


# -- ERASE -----------------------------------------------------------------------------------
@erases
@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_erase_at_the_beginning_leaves_a_blank_partition(tape: Device, long: bool) -> None:
    """SSC-5 6.2: LONG zero: an erase mark; one: the rest of the partition."""
    record(tape, 0, FILEMARK, 2)
    tape.good(c.erase(long=long))
    tape.good(c.rewind())
    assert follows(tape) == END


@erases
@pytest.mark.parametrize("long", [False, True], ids=["short", "long"])
def test_erase_in_the_middle_keeps_what_is_before_it(tape: Device, long: bool) -> None:
    """SSC-5 6.2: beginning at the current position."""
    record(tape, 0, 1, 2)
    assert follows(tape) == 0
    tape.good(c.erase(long=long))
    tape.good(c.rewind())
    assert [follows(tape) for _ in range(2)] == [0, END]


@erases
def test_after_an_erase_a_write_continues(tape: Device) -> None:
    """SSC-5 6.2: a write where the erased part begins."""
    record(tape, 0, 1, 2)
    assert follows(tape) == 0
    tape.good(c.erase())
    tape.good(c.locate_10(1))
    tape.good(c.write(block(9)))
    tape.good(c.rewind())
    assert [follows(tape) for _ in range(3)] == [0, 9, END]


@erases
def test_erase_with_immed_is_done(tape: Device) -> None:
    """SSC-5 6.2: IMMED one: status before the end; what follows waits for it."""
    record(tape, 0, 1)
    tape.good(c.erase(long=True, immediate=True))
    tape.good(c.rewind())
    assert follows(tape) == END


@erases
def test_a_short_erase_keeps_the_position(tape: Device) -> None:
    """SSC-5 6.2: LONG zero: the logical position is not changed."""
    record(tape, 0, 1, 2)
    assert follows(tape) == 0
    tape.good(c.erase())
    assert object_number(tape) == 1


@erases
@requires("MODE SENSE(10)", mode_page=(0x10, 0x01))
def test_a_short_erase_without_effect_keeps_everything(
    tape: Device, mode_pages: ModePageKeeper
) -> None:
    """SSC-5 8.3: SHORT ERASE MODE 1h: ERASE with LONG zero has no effect on the medium."""
    record(tape, 0, 1)
    mode_pages.change((0x10, 0x01), 5, 0x01, 0x0F)
    tape.good(c.erase())
    assert [follows(tape) for _ in range(3)] == [0, 1, END]
    tape.good(c.rewind())
    tape.good(c.erase(long=True))
    assert follows(tape) == END


@erases
def test_erase_at_end_of_data_takes_nothing_away(tape: Device) -> None:
    """SSC-5 6.2: there is nothing to erase."""
    record(tape, 0, 1)
    tape.good(c.space_6(c.END))
    tape.good(c.erase())
    tape.good(c.rewind())
    assert [follows(tape) for _ in range(3)] == [0, 1, END]


def test_a_blank_volume_is_at_end_of_data(blank: Device) -> None:
    """SSC-5 4.2.7: beginning of partition and end-of-data at once."""
    assert follows(blank) == END
    assert object_number(blank) == 0
