"""Partitions, FORMAT MEDIUM and SET CAPACITY (SSC-5 4.2.5, 7.2, 7.13)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conformance import commands as c
from tests.conformance.commands import LONG_FORM
from tests.conformance.device import Device
from tests.conformance.pages import log_parameters, mode_page, select_page
from tests.conformance.recording import END, FILEMARK, block, follows, object_number, record
from tests.conformance.requirements import requires
from tests.conformance.sense import (
    BEGINNING_OF_PARTITION,
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETER_LIST,
    POSITION_PAST_BEGINNING_OF_MEDIUM,
)

formats = requires("FORMAT MEDIUM", mode_page=0x11)
MEDIUM_PARTITION = (0x11, 0x00)
DEFAULT_FORMAT, PARTITION_FORMAT, DEFAULT_THEN_PARTITION = range(3)
# Flags of page 11h: IDP with PSUM 11b, units of 10^9 bytes.
INITIATOR_DEFINED, SCALED, GIGABYTES = 0x20, 0x18, 9
FIXED_PARTITIONS, SELECTED_PARTITIONS = 0x80, 0x40
BOP = 0x80
REMAINING_SIZE = 0xFFFF


def geometry(
    tape: Device, *, additional: int = 1, flags: int = INITIATOR_DEFINED | SCALED
) -> bytes:
    """Return page 11h for so many additional partitions of 1 GB each behind a large one."""
    page = bytearray(mode_page(tape, MEDIUM_PARTITION))
    page[3] = additional
    page[4] = page[4] & 0x04 | flags
    page[6] = page[6] & 0xF0 | GIGABYTES
    sizes = [REMAINING_SIZE] + [1] * additional
    del page[8 + 2 * len(sizes) :]
    page[8:] = b"".join(size.to_bytes(2, "big") for size in sizes)
    page[1] = len(page) - 2
    return bytes(page)


def partition_of(tape: Device) -> int:
    return tape.good(c.read_position())[1]


def capacity(tape: Device, partition: int = 0) -> int:
    """Return attribute 0001h of a partition, in MiB."""
    data = tape.good(c.read_attribute(first=0x0001, partition=partition))
    return int.from_bytes(data[9:17], "big")


@pytest.fixture
def formatted(tape: Device) -> Iterator[Device]:
    """The drive with the scratch tape, which is made one partition again after the test."""
    yield tape
    tape.attentions()
    tape.run(c.locate_10(0, partition=0))
    tape.run(c.rewind())
    tape.good(c.format_medium(DEFAULT_FORMAT))
    tape.good(c.rewind())


@pytest.fixture
def two(formatted: Device) -> Device:
    """The drive with the scratch tape in two partitions, blank, at the beginning of the first."""
    formatted.good(select_page(geometry(formatted)))
    formatted.good(c.format_medium(PARTITION_FORMAT))
    return formatted


@formats
def test_a_plain_volume_has_no_additional_partition(tape: Device) -> None:
    """SSC-5 8.3: ADDITIONAL PARTITIONS DEFINED zero."""
    assert mode_page(tape, MEDIUM_PARTITION)[3] == 0


@formats
def test_a_format_makes_the_partitions_of_the_page(two: Device) -> None:
    """SSC-5 7.2: FORMAT 1h: partitions as the Medium Partition page defines them."""
    assert mode_page(two, MEDIUM_PARTITION)[3] == 1


@formats
def test_the_page_tells_the_sizes_of_the_partitions(two: Device) -> None:
    """SSC-5 8.3: PARTITION SIZE of each, in the units of PSUM."""
    page = mode_page(two, MEDIUM_PARTITION)
    sizes = [int.from_bytes(page[at : at + 2], "big") for at in (8, 10)]
    assert sizes[0] > sizes[1] > 0


@formats
def test_a_format_ends_at_the_beginning_of_partition_zero(two: Device) -> None:
    """SSC-5 7.2: the logical position is BOP 0."""
    assert partition_of(two) == 0
    assert two.good(c.read_position())[0] & BOP


@formats
def test_a_format_leaves_nothing_recorded(formatted: Device) -> None:
    """SSC-5 7.2: all data is lost."""
    record(formatted, 0, FILEMARK, 2)
    formatted.good(c.format_medium(DEFAULT_FORMAT))
    assert follows(formatted) == END


@formats
def test_new_partitions_are_blank(two: Device) -> None:
    """SSC-5 7.2: each begins with end-of-data."""
    for partition in (0, 1):
        two.good(c.locate_10(0, partition=partition))
        assert follows(two) == END


@formats
@requires("LOCATE(10)", "LOCATE(16)")
@pytest.mark.parametrize("locate", [c.locate_10, c.locate_16], ids=["LOCATE(10)", "LOCATE(16)"])
def test_locate_changes_the_partition(two: Device, locate: Callable[..., c.Command]) -> None:
    """SSC-5 6.3, 7.5: CP one: to PARTITION."""
    two.good(locate(0, partition=1))
    assert partition_of(two) == 1
    two.good(locate(0, partition=0))
    assert partition_of(two) == 0


@formats
def test_locate_without_cp_stays_in_its_partition(two: Device) -> None:
    """SSC-5 6.3: CP zero: PARTITION is ignored."""
    two.good(c.locate_10(0, partition=1))
    two.good(c.write(block(0)))
    two.good(c.locate_10(0).but(8, 0))
    assert partition_of(two) == 1


@formats
def test_partitions_hold_data_of_their_own(two: Device) -> None:
    """SSC-5 4.2.5: each has its own beginning, data and end-of-data."""
    two.good(c.write(block(1)))
    two.good(c.locate_10(0, partition=1))
    two.good(c.write(block(2)))
    two.good(c.write(block(3)))
    two.good(c.locate_10(0, partition=0))
    assert [follows(two) for _ in range(2)] == [1, END]
    two.good(c.locate_10(0, partition=1))
    assert [follows(two) for _ in range(3)] == [2, 3, END]


@formats
def test_a_write_in_one_partition_takes_nothing_of_another(two: Device) -> None:
    """SSC-5 4.2.5: overwriting ends the data of its own partition only."""
    two.good(c.write(block(1)))
    two.good(c.write(block(2)))
    two.good(c.locate_10(0, partition=1))
    two.good(c.write(block(3)))
    two.good(c.locate_10(0, partition=1))
    two.good(c.write(block(4)))
    two.good(c.locate_10(0, partition=0))
    assert [follows(two) for _ in range(3)] == [1, 2, END]


@formats
def test_objects_are_numbered_in_each_partition(two: Device) -> None:
    """SSC-5 4.2.9: from zero at each BOP; the long form tells the partition."""
    two.good(c.write(block(1)))
    two.good(c.locate_10(0, partition=1))
    assert object_number(two) == 0
    two.good(c.write(block(2)))
    data = two.good(c.read_position(LONG_FORM))
    assert int.from_bytes(data[4:8], "big") == 1
    assert int.from_bytes(data[8:16], "big") == 1


@formats
def test_rewind_goes_to_the_beginning_of_its_partition(two: Device) -> None:
    """SSC-5 7.12: BOP of the current partition."""
    two.good(c.locate_10(0, partition=1))
    two.good(c.write(block(5)))
    two.good(c.rewind())
    assert partition_of(two) == 1
    assert follows(two) == 5


@formats
def test_space_stops_at_the_beginning_of_its_partition(two: Device) -> None:
    """SSC-5 6.6: BEGINNING-OF-PARTITION/MEDIUM DETECTED."""
    two.good(c.locate_10(0, partition=1))
    two.good(c.write(block(5)))
    two.check(c.space_6(c.BLOCKS, -3), BEGINNING_OF_PARTITION)
    assert partition_of(two) == 1


@formats
@requires("LOAD UNLOAD")
def test_partitions_and_their_data_outlive_an_unload(two: Device) -> None:
    """SSC-5 4.2.5: they are on the volume; a load goes to partition 0."""
    two.good(c.write(block(1)))
    two.good(c.locate_10(0, partition=1))
    two.good(c.write(block(2)))
    two.good(c.load_unload(0))
    two.good(c.load_unload(c.LOAD))
    assert partition_of(two) == 0
    assert follows(two) == 1
    two.good(c.locate_10(0, partition=1))
    assert follows(two) == 2


@formats
@requires("READ ATTRIBUTE")
def test_each_partition_has_its_own_capacity(two: Device) -> None:
    """SPC-5 7.4.2.2: 0001h is of the partition that was asked for."""
    assert capacity(two, 0) > capacity(two, 1) > 0


@formats
@requires("READ ATTRIBUTE")
def test_the_partition_list_counts_them(two: Device) -> None:
    """SPC-5 6.17.5: NUMBER OF PARTITIONS AVAILABLE."""
    assert two.good(c.read_attribute(c.PARTITION_LIST))[:4] == b"\0\x02\0\x02"


@formats
@requires("WRITE ATTRIBUTE")
def test_each_partition_has_its_own_coherency_information(two: Device) -> None:
    """SPC-5 7.4.2.4: 080Ch, volume coherency information, a partition."""
    for partition in (0, 1):
        value = b"\x08\x0c\x00\x00\x46" + bytes((partition + 1,)) * 70
        two.good(c.write_attribute(value, partition=partition))
    for partition in (0, 1):
        data = two.good(c.read_attribute(first=0x080C, partition=partition))
        assert data[9:79] == bytes((partition + 1,)) * 70


@formats
@requires(log_page=0x17)
def test_volume_statistics_have_a_record_a_partition(two: Device) -> None:
    """SSC-5 8.2: 0202h native capacity of each partition."""
    assert len(log_parameters(two, 0x17)[0x0202]) == 16


@formats
def test_fixed_partitions_are_made_by_the_drive(formatted: Device) -> None:
    """SSC-5 8.3: FDP one: the sizes are the drive's."""
    formatted.good(select_page(geometry(formatted, flags=FIXED_PARTITIONS | SCALED)))
    formatted.good(c.format_medium(PARTITION_FORMAT))
    assert mode_page(formatted, MEDIUM_PARTITION)[3] == 1


@formats
def test_selected_partitions_are_of_a_number(formatted: Device) -> None:
    """SSC-5 8.3: SDP one: ADDITIONAL PARTITIONS DEFINED, sizes by the drive."""
    formatted.good(select_page(geometry(formatted, flags=SELECTED_PARTITIONS | SCALED)))
    formatted.good(c.format_medium(PARTITION_FORMAT))
    assert mode_page(formatted, MEDIUM_PARTITION)[3] == 1


@formats
def test_the_default_format_makes_one_partition(two: Device) -> None:
    """SSC-5 7.2: FORMAT 0h: the default format."""
    two.good(c.format_medium(DEFAULT_FORMAT))
    assert mode_page(two, MEDIUM_PARTITION)[3] == 0
    two.check(c.locate_10(0, partition=1), INVALID_FIELD_IN_CDB)


@formats
def test_a_format_away_from_the_beginning_is_refused(formatted: Device) -> None:
    """SSC-5 7.2: not at BOP 0: POSITION PAST BEGINNING OF MEDIUM, nothing is lost."""
    record(formatted, 0, 1)
    assert follows(formatted) == 0
    formatted.check(c.format_medium(DEFAULT_FORMAT), POSITION_PAST_BEGINNING_OF_MEDIUM)
    assert follows(formatted) == 1


@formats
def test_a_reserved_format_is_refused(formatted: Device) -> None:
    """SSC-5 7.2: FORMAT 3h to 7h are reserved."""
    formatted.check(c.format_medium(5), INVALID_FIELD_IN_CDB)


@formats
def test_a_format_with_a_parameter_list_is_refused(formatted: Device) -> None:
    """SSC-5 7.2: TRANSFER LENGTH other than zero is vendor specific: INVALID FIELD IN CDB."""
    formatted.check(c.format_medium(0, data=bytes(4)), INVALID_FIELD_IN_CDB)


@formats
def test_more_partitions_than_the_volume_can_have_are_refused(formatted: Device) -> None:
    """SSC-5 8.3: beyond MAXIMUM ADDITIONAL PARTITIONS: INVALID FIELD IN PARAMETER LIST."""
    page = bytearray(geometry(formatted))
    page[3] = page[2] + 1
    formatted.check(select_page(bytes(page)), INVALID_FIELD_IN_PARAMETER_LIST)


# -- SET CAPACITY ----------------------------------------------------------------------------
@pytest.fixture
def resized(tape: Device) -> Iterator[Device]:
    """The drive with the scratch tape, whole again after the test."""
    yield tape
    tape.good(c.rewind())
    tape.good(c.set_capacity(0xFFFF))


@requires("SET CAPACITY", "READ ATTRIBUTE")
def test_a_smaller_capacity_is_told(resized: Device) -> None:
    """SSC-5 7.13: CAPACITY PROPORTION VALUE, in 65535ths."""
    whole = capacity(resized)
    resized.good(c.set_capacity(0x8000))
    assert whole * 0.4 < capacity(resized) < whole * 0.6


@requires("SET CAPACITY", "READ ATTRIBUTE")
def test_the_whole_capacity_comes_back(resized: Device) -> None:
    """SSC-5 7.13: FFFFh: all of it."""
    whole = capacity(resized)
    resized.good(c.set_capacity(0x4000))
    resized.good(c.set_capacity(0xFFFF))
    assert capacity(resized) == whole


@requires("SET CAPACITY", "READ ATTRIBUTE", "LOAD UNLOAD")
def test_a_capacity_outlives_an_unload(resized: Device) -> None:
    """SSC-5 7.13: the capacity is the volume's."""
    resized.good(c.set_capacity(0x8000))
    small = capacity(resized)
    resized.good(c.load_unload(0))
    resized.good(c.load_unload(c.LOAD))
    assert capacity(resized) == small


@requires("SET CAPACITY")
def test_a_capacity_is_set_at_the_beginning_only(resized: Device) -> None:
    """SSC-5 7.13: not at BOP 0: POSITION PAST BEGINNING OF MEDIUM."""
    record(resized, 0, 1)
    assert follows(resized) == 0
    resized.check(c.set_capacity(0x8000), POSITION_PAST_BEGINNING_OF_MEDIUM)
    assert follows(resized) == 1


@requires("SET CAPACITY")
def test_a_set_capacity_leaves_nothing_recorded(resized: Device) -> None:
    """SSC-5 7.13: all data is lost."""
    record(resized, 0, 1)
    resized.good(c.set_capacity(0x8000))
    assert follows(resized) == END
