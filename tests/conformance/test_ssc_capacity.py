"""The end of a partition: warnings, overflow, and what READ POSITION says (SSC-5 4.2.7)."""

from __future__ import annotations

from tests.conformance import commands as c
from tests.conformance.device import CHECK_CONDITION, GOOD, Device
from tests.conformance.pages import ModePageKeeper, log_parameters
from tests.conformance.recording import FILEMARK, block, follows, object_number, set_block_length
from tests.conformance.requirements import requires
from tests.conformance.sense import (
    EARLY_WARNING,
    NO_SENSE,
    PROGRAMMABLE_EARLY_WARNING,
    VOLUME_OVERFLOW,
    Code,
    SenseData,
)

BLOCK_BYTES = 32768
BOP, EOP, BPEW = 0x80, 0x40, 0x01
EXTENSION = (0x10, 0x01)
# More than twice the small tape of a library that is not ours (README.md): 160 MiB.
BLOCKS_MAX = 5 * 1024


def write_until(tape: Device, *expected: Code) -> tuple[int, SenseData]:
    """Write blocks until one of them ends with one of these; return how many were written before.

    On the way each may end with EOM and no sense key; its additional sense code has its own test.
    """
    for number in range(BLOCKS_MAX):
        response = tape.run(c.write(block(number, BLOCK_BYTES)))
        if response.status == CHECK_CONDITION:
            sense = SenseData.decode(response.sense, response.data, response.residual)
            if sense.code in expected or (sense.end_of_medium and EARLY_WARNING in expected):
                return number, sense
            assert (sense.key, sense.end_of_medium) == (NO_SENSE, True), sense
        else:
            assert response.status == GOOD
    raise AssertionError("the tape has no end")


def test_early_warning_is_told_with_eom(small_tape: Device) -> None:
    """SSC-5 6.8: NO SENSE, END-OF-PARTITION/MEDIUM DETECTED, EOM one."""
    _, sense = write_until(small_tape, EARLY_WARNING)
    assert sense.end_of_medium
    assert sense.code == EARLY_WARNING


def test_at_early_warning_everything_was_written(small_tape: Device) -> None:
    """SSC-5 6.8: INFORMATION zero, or not valid: the block is on the medium."""
    written, sense = write_until(small_tape, EARLY_WARNING)
    assert not sense.information
    small_tape.good(c.space_6(c.BLOCKS, -1))
    assert small_tape.good(c.read(BLOCK_BYTES)) == block(written, BLOCK_BYTES)


def test_behind_early_warning_each_write_tells_it_again(small_tape: Device) -> None:
    """SSC-5 6.8: every write between early warning and the end of the partition."""
    write_until(small_tape, EARLY_WARNING)
    sense = small_tape.check(c.write(b"closing label"), EARLY_WARNING)
    assert sense.end_of_medium


def test_behind_early_warning_filemarks_tell_it_too(small_tape: Device) -> None:
    """SSC-5 6.9: WRITE FILEMARKS: EOM one, the filemarks written."""
    written, _ = write_until(small_tape, EARLY_WARNING)
    small_tape.check(c.write_filemarks(1), EARLY_WARNING)
    small_tape.good(c.space_6(c.FILEMARKS, -1))
    assert follows(small_tape) == FILEMARK
    assert object_number(small_tape) == written + 2


def test_a_full_partition_is_a_volume_overflow(small_tape: Device) -> None:
    """SSC-5 6.8: VOLUME OVERFLOW, EOM one, INFORMATION what was not written (variable block)."""
    _, sense = write_until(small_tape, VOLUME_OVERFLOW)
    assert sense.end_of_medium
    assert sense.information == BLOCK_BYTES


def test_an_overflow_leaves_what_was_written_readable(small_tape: Device) -> None:
    """SSC-5 6.8: blocks before the end are on the medium."""
    written, _ = write_until(small_tape, VOLUME_OVERFLOW)
    small_tape.good(c.space_6(c.BLOCKS, -1))
    assert small_tape.good(c.read(BLOCK_BYTES)) == block(written - 1, BLOCK_BYTES)
    assert object_number(small_tape) == written


def test_an_overflow_of_fixed_blocks_counts_those_not_written(small_tape: Device) -> None:
    """SSC-5 6.8: INFORMATION TRANSFER LENGTH minus the blocks written, while FIXED is one."""
    written, _ = write_until(small_tape, EARLY_WARNING)
    set_block_length(small_tape, BLOCK_BYTES)
    before = object_number(small_tape)
    assert before == written + 1
    count = 64
    sense = small_tape.check(c.write_fixed(bytes(count * BLOCK_BYTES), count), VOLUME_OVERFLOW)
    assert sense.information == count - (object_number(small_tape) - before)


def test_information_counts_one_fixed_block_as_one(small_tape: Device) -> None:
    """SSC-5 6.8: ... also where there is but one."""
    write_until(small_tape, VOLUME_OVERFLOW)
    set_block_length(small_tape, BLOCK_BYTES)
    sense = small_tape.check(c.write_fixed(bytes(BLOCK_BYTES), 1), VOLUME_OVERFLOW)
    assert sense.information == 1


def test_behind_early_warning_position_has_eop(small_tape: Device) -> None:
    """SSC-5 7.8.2: EOP one between early warning and the end of the partition."""
    write_until(small_tape, EARLY_WARNING)
    assert small_tape.good(c.read_position())[0] & EOP


def test_before_early_warning_position_has_no_eop(small_tape: Device) -> None:
    """SSC-5 7.8.2: EOP zero."""
    small_tape.good(c.write(block(0)))
    assert not small_tape.good(c.read_position())[0] & (EOP | BOP)


def test_reads_behind_early_warning_tell_nothing(small_tape: Device) -> None:
    """SSC-5 6.4: REW zero in the Device Configuration page: no EOM for READ at early warning."""
    write_until(small_tape, EARLY_WARNING)
    small_tape.good(c.space_6(c.BLOCKS, -1))
    assert small_tape.run(c.read(BLOCK_BYTES)).status == GOOD


def test_after_a_rewind_there_is_no_warning(small_tape: Device) -> None:
    """SSC-5 4.2.7: the warning belongs to the position, not to the volume."""
    write_until(small_tape, EARLY_WARNING)
    small_tape.good(c.rewind())
    small_tape.good(c.write(block(0)))


@requires(log_page=0x17)
def test_a_full_volume_has_nothing_left(small_tape: Device) -> None:
    """SSC-5 8.2: volume statistics 0204h, what remains to early warning, in megabytes."""
    write_until(small_tape, VOLUME_OVERFLOW)
    assert int.from_bytes(log_parameters(small_tape, 0x17)[0x0204][4:8], "big") == 0


@requires("MODE SENSE(10)", mode_page=EXTENSION)
def test_programmable_early_warning_comes_once_before_early_warning(small_tape: Device) -> None:
    """SSC-5 4.2.7: NO SENSE, PROGRAMMABLE EARLY WARNING DETECTED at the entry of its zone."""
    keeper = ModePageKeeper(small_tape)
    keeper.change(EXTENSION, 7, 2)
    try:
        first, sense = write_until(small_tape, PROGRAMMABLE_EARLY_WARNING)
        assert not sense.end_of_medium
        after, then = write_until(small_tape, EARLY_WARNING, PROGRAMMABLE_EARLY_WARNING)
        assert then.code == EARLY_WARNING
        assert first > after > 0
    finally:
        keeper.restore()


@requires("MODE SENSE(10)", mode_page=EXTENSION)
def test_in_the_programmable_zone_position_has_bpew(small_tape: Device) -> None:
    """SSC-5 7.8.2: BPEW one beyond programmable early warning, EOP still zero."""
    keeper = ModePageKeeper(small_tape)
    keeper.change(EXTENSION, 7, 2)
    try:
        write_until(small_tape, PROGRAMMABLE_EARLY_WARNING)
        flags = small_tape.good(c.read_position())[0]
        assert flags & BPEW
        assert not flags & EOP
    finally:
        keeper.restore()


@requires("MODE SENSE(10)", mode_page=EXTENSION)
def test_without_a_size_there_is_no_programmable_early_warning(small_tape: Device) -> None:
    """SSC-5 8.3: PEWS zero: no programmable early warning zone."""
    assert write_until(small_tape, EARLY_WARNING, PROGRAMMABLE_EARLY_WARNING)[1].code == (
        EARLY_WARNING
    )
