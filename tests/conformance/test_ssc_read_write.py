"""READ(6), WRITE(6), WRITE FILEMARKS(6), READ BLOCK LIMITS (SSC-5 6.4, 6.8, 6.9, 7.7)."""

from __future__ import annotations

import pytest

from tests.conformance import commands as c
from tests.conformance.device import Device
from tests.conformance.recording import (
    BLOCK_BYTES,
    END,
    FILEMARK,
    block,
    follows,
    record,
    set_block_length,
)
from tests.conformance.requirements import requires
from tests.conformance.sense import (
    END_OF_DATA,
    FILEMARK_DETECTED,
    INVALID_FIELD_IN_CDB,
    NO_ADDITIONAL_SENSE,
)

MEBIBYTE = 1 << 20


# -- variable blocks -------------------------------------------------------------------------
@pytest.mark.parametrize("size_bytes", [1, 2, 511, 512, 4097, 65536, MEBIBYTE])
def test_a_variable_block_comes_back_as_it_was_written(tape: Device, size_bytes: int) -> None:
    """SSC-5 6.4, 6.8: FIXED zero: one logical block of TRANSFER LENGTH bytes."""
    data = block(1, max(size_bytes, 4))[:size_bytes]
    tape.good(c.write(data))
    tape.good(c.rewind())
    assert tape.good(c.read(size_bytes)) == data


def test_the_largest_block_of_the_limits_can_be_written_and_read(tape: Device) -> None:
    """SSC-5 7.7: MAXIMUM BLOCK LENGTH LIMIT is the largest that WRITE takes."""
    largest = int.from_bytes(tape.good(c.read_block_limits())[1:4], "big")
    data = block(3) * (largest // BLOCK_BYTES) + bytes(largest % BLOCK_BYTES)
    tape.good(c.write(data))
    tape.good(c.rewind())
    assert tape.good(c.read(largest)) == data


def test_blocks_of_several_lengths_follow_each_other(tape: Device) -> None:
    """SSC-5 4.2.8: each logical block has its own length."""
    sizes = [10, 70000, 1, 512, 33]
    for number, size_bytes in enumerate(sizes):
        tape.good(c.write(block(number, max(size_bytes, 4))[:size_bytes]))
    tape.good(c.rewind())
    for number, size_bytes in enumerate(sizes):
        assert tape.good(c.read(size_bytes)) == block(number, max(size_bytes, 4))[:size_bytes]


def test_a_read_of_transfer_length_zero_moves_nothing(tape: Device) -> None:
    """SSC-5 6.4: TRANSFER LENGTH zero: no data, the logical position not changed, no error."""
    record(tape, 0, 1)
    assert tape.good(c.read(0)) == b""
    assert follows(tape) == 0


def test_a_write_of_transfer_length_zero_writes_nothing(tape: Device) -> None:
    """SSC-5 6.8: TRANSFER LENGTH zero is not an error, and the position is not changed."""
    record(tape, 0, 1)
    tape.good(c.write(b""))
    assert [follows(tape) for _ in range(3)] == [0, 1, END]


def test_a_shorter_block_is_an_incorrect_length(tape: Device) -> None:
    """SSC-5 6.4: ILI one, NO SENSE, INFORMATION the requested minus the actual length."""
    record(tape, 0)
    sense = tape.check(c.read(BLOCK_BYTES + 100), NO_ADDITIONAL_SENSE)
    assert sense.incorrect_length
    assert sense.information == 100


def test_a_shorter_block_is_transferred_whole(tape: Device) -> None:
    """SSC-5 6.4: ... the actual block is transferred, with CHECK CONDITION."""
    record(tape, 0)
    assert tape.check(c.read(BLOCK_BYTES + 100), NO_ADDITIONAL_SENSE).data == block(0)


def test_information_of_a_shorter_block_is_the_transport_residual(tape: Device) -> None:
    """SSC-5 6.4, RFC 7143 11.4.5.2: both count the bytes that did not come."""
    record(tape, 0)
    sense = tape.check(c.read(BLOCK_BYTES + 100), NO_ADDITIONAL_SENSE)
    assert sense.information == sense.residual == 100


def test_a_longer_block_is_an_incorrect_length_with_negative_information(tape: Device) -> None:
    """SSC-5 6.4: INFORMATION is negative (two's complement) for an overlength block."""
    record(tape, 0)
    sense = tape.check(c.read(100), NO_ADDITIONAL_SENSE)
    assert sense.incorrect_length
    assert sense.information == 100 - BLOCK_BYTES


def test_of_a_longer_block_what_was_asked_for_is_transferred(tape: Device) -> None:
    """SSC-5 6.4: only TRANSFER LENGTH bytes are transferred."""
    record(tape, 0)
    assert tape.check(c.read(100), NO_ADDITIONAL_SENSE).data == block(0)[:100]


@pytest.mark.parametrize("length", [100, BLOCK_BYTES + 100])
def test_after_an_incorrect_length_the_position_is_past_the_block(
    tape: Device, length: int
) -> None:
    """SSC-5 6.4: logical position after the block, on its EOP side."""
    record(tape, 0, 1)
    tape.check(c.read(length), NO_ADDITIONAL_SENSE)
    assert follows(tape) == 1


def test_sili_suppresses_a_shorter_block(tape: Device) -> None:
    """SSC-5 6.4: SILI one: no CHECK CONDITION for an underlength condition."""
    record(tape, 0)
    assert tape.good(c.read(BLOCK_BYTES + 100, sili=True)) == block(0)


def test_a_suppressed_shorter_block_leaves_a_transport_residual(tape: Device) -> None:
    """RFC 7143 11.4.5.1: underflow, and RESIDUAL COUNT the bytes that were not transferred."""
    record(tape, 0)
    assert tape.run(c.read(BLOCK_BYTES + 100, sili=True)).residual == 100


def test_sili_suppresses_a_longer_block_while_block_length_is_zero(tape: Device) -> None:
    """SSC-5 6.4: overlength is reported only if BLOCK LENGTH of the descriptor is nonzero."""
    record(tape, 0)
    assert tape.good(c.read(100, sili=True)) == block(0)[:100]


def test_sili_does_not_suppress_a_longer_block_with_a_block_length(tape: Device) -> None:
    """SSC-5 6.4: ... overlength condition exists and BLOCK LENGTH is nonzero: CHECK CONDITION."""
    record(tape, 0)
    set_block_length(tape, 100)
    sense = tape.check(c.read(100, sili=True), NO_ADDITIONAL_SENSE)
    assert sense.incorrect_length
    assert sense.information == 100 - BLOCK_BYTES


def test_a_read_at_a_filemark_transfers_nothing_and_passes_it(tape: Device) -> None:
    """SSC-5 6.4: FILEMARK DETECTED with FILEMARK one; position after the filemark."""
    record(tape, FILEMARK, 1)
    sense = tape.check(c.read(BLOCK_BYTES), FILEMARK_DETECTED)
    assert sense.filemark
    assert sense.data == b""
    assert follows(tape) == 1


def test_information_at_a_filemark_is_the_requested_length(tape: Device) -> None:
    """SSC-5 6.4: VALID one, INFORMATION the TRANSFER LENGTH while FIXED is zero."""
    record(tape, FILEMARK)
    assert tape.check(c.read(BLOCK_BYTES), FILEMARK_DETECTED).information == BLOCK_BYTES


def test_sili_does_not_suppress_a_filemark(tape: Device) -> None:
    """SSC-5 6.4: SILI concerns incorrect lengths alone."""
    record(tape, FILEMARK)
    assert tape.check(c.read(BLOCK_BYTES, sili=True), FILEMARK_DETECTED).filemark


def test_a_read_at_end_of_data_is_a_blank_check(tape: Device) -> None:
    """SSC-5 6.4: BLANK CHECK, END-OF-DATA DETECTED, VALID, INFORMATION the TRANSFER LENGTH."""
    record(tape, 0)
    assert follows(tape) == 0
    sense = tape.check(c.read(BLOCK_BYTES), END_OF_DATA)
    assert sense.information == BLOCK_BYTES
    assert sense.data == b""


def test_end_of_data_is_not_end_of_medium(tape: Device) -> None:
    """SSC-5 6.4: EOM is set at early warning or the end of the partition, not at end of data."""
    record(tape, 0)
    assert follows(tape) == 0
    assert not tape.check(c.read(BLOCK_BYTES), END_OF_DATA).end_of_medium


def test_end_of_data_is_met_as_often_as_it_is_read(tape: Device) -> None:
    """SSC-5 6.4: the position stays at end of data."""
    record(tape, 0)
    assert [follows(tape) for _ in range(3)] == [0, END, END]


def test_a_write_makes_what_was_behind_it_unreadable(tape: Device) -> None:
    """SSC-5 4.2.7: writing makes the position end of data; nothing after it can be read."""
    record(tape, 0, 1, 2, FILEMARK, 3)
    assert follows(tape) == 0
    tape.good(c.write(block(9)))
    tape.good(c.rewind())
    assert [follows(tape) for _ in range(3)] == [0, 9, END]


def test_a_write_after_reads_appends_where_the_reading_stopped(tape: Device) -> None:
    """SSC-5 4.2.7: READ and WRITE share one logical position."""
    record(tape, 0, 1)
    assert [follows(tape) for _ in range(2)] == [0, 1]
    tape.good(c.write(block(2)))
    tape.good(c.rewind())
    assert [follows(tape) for _ in range(4)] == [0, 1, 2, END]


@requires("READ BLOCK LIMITS")
def test_a_block_beyond_the_limit_is_refused(tape: Device) -> None:
    """SSC-5 6.8: TRANSFER LENGTH beyond MAXIMUM BLOCK LENGTH LIMIT: INVALID FIELD IN CDB."""
    largest = int.from_bytes(tape.good(c.read_block_limits())[1:4], "big")
    if largest == 0xFFFFFF:
        pytest.skip("every length that a CDB can hold is in the limits")
    tape.check(c.write(bytes(largest + 1)), INVALID_FIELD_IN_CDB)
    tape.good(c.rewind())


# -- fixed blocks ----------------------------------------------------------------------------
def test_fixed_blocks_come_back_as_they_were_written(tape: Device) -> None:
    """SSC-5 6.4, 6.8: FIXED one: TRANSFER LENGTH counts blocks of the descriptor's length."""
    set_block_length(tape, 512)
    data = b"".join(block(number, 512) for number in range(8))
    tape.good(c.write_fixed(data, 8))
    tape.good(c.rewind())
    assert tape.good(c.read_fixed(8, 512)) == data


def test_fixed_blocks_are_single_blocks_on_the_medium(tape: Device) -> None:
    """SSC-5 4.2.8.1: each is a logical block of its own, that a variable READ returns."""
    set_block_length(tape, 512)
    tape.good(c.write_fixed(block(0, 512) + block(1, 512), 2))
    tape.good(c.rewind())
    assert tape.good(c.read(512)) == block(0, 512)
    assert tape.good(c.read(512)) == block(1, 512)


def test_variable_blocks_of_that_length_can_be_read_as_fixed(tape: Device) -> None:
    """SSC-5 4.2.8: FIXED says how a command counts, not what is on the medium."""
    record(tape, 0, 1, 2)
    set_block_length(tape, BLOCK_BYTES)
    assert tape.good(c.read_fixed(3, BLOCK_BYTES)) == block(0) + block(1) + block(2)


@pytest.mark.parametrize("kind", ["read", "write"])
def test_fixed_without_a_block_length_is_refused(tape: Device, kind: str) -> None:
    """SSC-5 6.4, 6.8: FIXED one while BLOCK LENGTH is zero: INVALID FIELD IN CDB."""
    command = c.read_fixed(1, 512) if kind == "read" else c.write_fixed(bytes(512), 1)
    tape.check(command, INVALID_FIELD_IN_CDB)


def test_fixed_with_sili_is_refused(tape: Device) -> None:
    """SSC-5 6.4: "If the FIXED bit is set to one and the SILI bit is set to one ..." 5/24/00."""
    set_block_length(tape, 512)
    tape.check(c.read_fixed(1, 512, sili=True), INVALID_FIELD_IN_CDB)


def test_a_filemark_ends_a_fixed_read_with_the_count_of_blocks_not_read(tape: Device) -> None:
    """SSC-5 6.4: INFORMATION is TRANSFER LENGTH minus the blocks read, while FIXED is one."""
    record(tape, 0, 1, FILEMARK, 2)
    set_block_length(tape, BLOCK_BYTES)
    sense = tape.check(c.read_fixed(5, BLOCK_BYTES), FILEMARK_DETECTED)
    assert sense.filemark
    assert sense.information == 3


def test_a_fixed_read_stopped_by_a_filemark_transfers_the_blocks_before_it(tape: Device) -> None:
    """SSC-5 6.4: blocks before the filemark are transferred, and the filemark is passed."""
    record(tape, 0, 1, FILEMARK, 2)
    set_block_length(tape, BLOCK_BYTES)
    sense = tape.check(c.read_fixed(5, BLOCK_BYTES), FILEMARK_DETECTED)
    assert sense.data == block(0) + block(1)
    assert sense.residual == 3 * BLOCK_BYTES
    assert follows(tape) == 2


def test_end_of_data_ends_a_fixed_read_with_the_count_of_blocks_not_read(tape: Device) -> None:
    """SSC-5 6.4: BLANK CHECK, INFORMATION the blocks that were not read."""
    record(tape, 0, 1)
    set_block_length(tape, BLOCK_BYTES)
    sense = tape.check(c.read_fixed(5, BLOCK_BYTES), END_OF_DATA)
    assert sense.information == 3
    assert sense.data == block(0) + block(1)


@pytest.mark.parametrize("block_bytes", [BLOCK_BYTES // 2, BLOCK_BYTES * 2])
def test_a_block_of_another_length_ends_a_fixed_read(tape: Device, block_bytes: int) -> None:
    """SSC-5 6.4: ILI one, INFORMATION TRANSFER LENGTH minus the blocks read before it."""
    tape.good(c.write(block(0, block_bytes)))
    tape.good(c.write(block(1)))
    tape.good(c.write(block(2)))
    tape.good(c.rewind())
    set_block_length(tape, block_bytes)
    sense = tape.check(c.read_fixed(3, block_bytes), NO_ADDITIONAL_SENSE)
    assert sense.incorrect_length
    assert sense.information == 2
    assert sense.data[:block_bytes] == block(0, block_bytes)


def test_after_a_block_of_another_length_a_fixed_read_stands_behind_it(tape: Device) -> None:
    """SSC-5 6.4: the logical position is after the block of incorrect length."""
    record(tape, 0, 1)
    set_block_length(tape, 512)
    tape.check(c.read_fixed(2, 512), NO_ADDITIONAL_SENSE)
    assert follows(tape) == 1


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_fixed_transfer_of_no_blocks_moves_nothing(tape: Device, kind: str) -> None:
    """SSC-5 6.4, 6.8: TRANSFER LENGTH zero."""
    record(tape, 0)
    set_block_length(tape, 512)
    tape.good(c.read_fixed(0, 512) if kind == "read" else c.write_fixed(b"", 0))
    assert follows(tape) == 0


def test_unbuffered_writes_come_back_too(tape: Device) -> None:
    """SSC-5 8.3.1: BUFFERED MODE 0h: GOOD when the blocks are on the medium."""
    set_block_length(tape, 0, buffered=False)
    tape.good(c.write(block(0)))
    tape.good(c.write(block(1)))
    tape.good(c.rewind())
    assert [follows(tape) for _ in range(3)] == [0, 1, END]


# -- filemarks -------------------------------------------------------------------------------
def test_filemarks_are_written_one_by_one(tape: Device) -> None:
    """SSC-5 6.9: FILEMARK COUNT filemarks from the current position."""
    tape.good(c.write(block(0)))
    tape.good(c.write_filemarks(3))
    tape.good(c.write(block(1)))
    tape.good(c.rewind())
    read = [follows(tape) for _ in range(6)]
    assert read == [0, FILEMARK, FILEMARK, FILEMARK, 1, END]


def test_a_count_of_zero_writes_no_filemark(tape: Device) -> None:
    """SSC-5 6.9: count 0 synchronises and is no error; nothing is written."""
    record(tape, 0, 1)
    assert follows(tape) == 0
    tape.good(c.write_filemarks(0))
    assert [follows(tape) for _ in range(2)] == [1, END]


def test_filemarks_with_immed_are_written(tape: Device) -> None:
    """SSC-5 6.9: IMMED one: status as soon as the command is validated."""
    tape.good(c.write(block(0)))
    tape.good(c.write_filemarks(1, immediate=True))
    tape.good(c.write(block(1)))
    tape.good(c.rewind())
    assert [follows(tape) for _ in range(4)] == [0, FILEMARK, 1, END]


def test_a_filemark_makes_what_was_behind_it_unreadable(tape: Device) -> None:
    """SSC-5 4.2.7: a filemark is written like a block."""
    record(tape, 0, 1, 2)
    tape.good(c.write_filemarks(1))
    tape.good(c.rewind())
    assert [follows(tape) for _ in range(2)] == [FILEMARK, END]


def test_setmarks_are_obsolete(tape: Device) -> None:
    """SSC-2 and later: WSMK (byte 1, bit 1) is obsolete."""
    tape.check(c.write_filemarks(1).but(1, 0x02), INVALID_FIELD_IN_CDB)


# -- block limits ----------------------------------------------------------------------------
def test_block_limits_are_six_bytes(drive: Device) -> None:
    """SSC-5 7.7: GRANULARITY, MAXIMUM and MINIMUM BLOCK LENGTH LIMIT."""
    data = drive.good(c.read_block_limits())
    assert len(data) == 6
    largest, smallest = int.from_bytes(data[1:4], "big"), int.from_bytes(data[4:6], "big")
    assert largest == 0 or largest >= smallest


def test_block_limits_allow_blocks_of_a_mebibyte(drive: Device) -> None:
    """What backup programs write: the limit is at least 1 MiB, or there is none (0)."""
    largest = int.from_bytes(drive.good(c.read_block_limits())[1:4], "big")
    assert largest == 0 or largest >= MEBIBYTE


@requires("LOAD UNLOAD")
def test_block_limits_need_no_volume(tape: Device) -> None:
    """SSC-5 7.7: limits of the logical unit, not of a volume."""
    tape.good(c.load_unload(0))
    tape.good(c.read_block_limits())
    tape.good(c.load_unload(c.LOAD))
