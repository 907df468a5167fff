"""READ ATTRIBUTE and WRITE ATTRIBUTE: the medium auxiliary memory (SPC-5 6.17, 6.48, 7.4)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from tests.conformance import commands as c
from tests.conformance.device import Device
from tests.conformance.recording import block
from tests.conformance.requirements import requires
from tests.conformance.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETER_LIST,
    MEDIUM_NOT_PRESENT,
    PARAMETER_LIST_LENGTH_ERROR,
)

pytestmark = requires("READ ATTRIBUTE")
writes = requires("WRITE ATTRIBUTE")
BINARY, ASCII, TEXT = range(3)
READ_ONLY = 0x80
REMAINING_CAPACITY, MAXIMUM_CAPACITY = 0x0000, 0x0001
CHANGE_REFERENCE = 0x0009
VENDOR, NAME, VERSION, LABEL = 0x0800, 0x0801, 0x0802, 0x0803
HOST_BARCODE, COHERENCY = 0x0806, 0x080C
HOST_VENDOR_SPECIFIC = 0x1400
# Identifier, format and length of what an application may write (SPC-5 7.4.2.4).
HOST_ATTRIBUTES = {
    VENDOR: (ASCII, 8),
    NAME: (ASCII, 32),
    VERSION: (ASCII, 8),
    LABEL: (TEXT, 160),
    0x0804: (ASCII, 12),
    0x0805: (BINARY, 1),
    HOST_BARCODE: (ASCII, 32),
    0x0807: (TEXT, 80),
    0x0808: (TEXT, 160),
    0x080B: (ASCII, 16),
    COHERENCY: (BINARY, 70),
    HOST_VENDOR_SPECIFIC: (BINARY, 40),
}


def encode(identifier: int, form: int, value: bytes) -> bytes:
    return struct.pack(">HBH", identifier, form, len(value)) + value


def attributes(tape: Device, partition: int = 0) -> dict[int, tuple[int, bytes]]:
    """Return all attributes as identifier to (READ ONLY and FORMAT, value), checked for order."""
    data = tape.good(c.read_attribute(partition=partition))
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    found: dict[int, tuple[int, bytes]] = {}
    at = 4
    while at < len(data):
        identifier, form, length = struct.unpack_from(">HBH", data, at)
        assert identifier > max(found, default=-1), "identifiers shall ascend"
        found[identifier] = form, data[at + 5 : at + 5 + length]
        assert len(found[identifier][1]) == length
        at += 5 + length
    return found


@pytest.fixture
def memory(tape: Device) -> Iterator[Device]:
    """The drive with the scratch tape, without what the tests write into its memory."""

    def clear() -> None:
        for identifier, (form, _) in HOST_ATTRIBUTES.items():
            tape.run(c.write_attribute(encode(identifier, form, b"")))

    clear()
    yield tape
    clear()


# -- reading ---------------------------------------------------------------------------------
def test_available_data_counts_what_follows_it(tape: Device) -> None:
    """SPC-5 6.17.2: AVAILABLE DATA, without its own four bytes; ascending identifiers."""
    assert attributes(tape)


def test_attributes_are_cut_to_the_allocation_length(tape: Device) -> None:
    """SPC-5 4.2.5.6: AVAILABLE DATA is not adjusted."""
    whole = tape.good(c.read_attribute())
    assert tape.good(c.read_attribute(length=11)) == whole[:11]


def test_reading_begins_with_the_first_attribute_identifier(tape: Device) -> None:
    """SPC-5 6.17.1: FIRST ATTRIBUTE IDENTIFIER."""
    identifiers = sorted(attributes(tape))
    data = tape.good(c.read_attribute(first=identifiers[1]))
    assert int.from_bytes(data[4:6], "big") == identifiers[1]


def test_a_first_attribute_beyond_all_is_refused(tape: Device) -> None:
    """SPC-5 6.17.1: INVALID FIELD IN CDB."""
    sense = tape.check(c.read_attribute(first=0xFFFF), INVALID_FIELD_IN_CDB)
    assert sense.field_pointer is None or sense.field_pointer.byte == 8


def test_the_attribute_list_names_what_the_values_have(tape: Device) -> None:
    """SPC-5 6.17.3: service action 01h: identifiers only, ascending."""
    data = tape.good(c.read_attribute(c.ATTRIBUTE_LIST))
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    listed = [int.from_bytes(data[at : at + 2], "big") for at in range(4, len(data), 2)]
    assert listed == sorted(attributes(tape))


@pytest.mark.parametrize("action", [c.VOLUME_LIST, c.PARTITION_LIST])
def test_volume_and_partition_lists_have_a_first_and_a_count(tape: Device, action: int) -> None:
    """SPC-5 6.17.4, 6.17.5: AVAILABLE DATA 0002h, the first number, how many there are."""
    assert tape.good(c.read_attribute(action))[:4] == b"\0\x02\0\x01"


@requires("READ ATTRIBUTE SUPPORTED ATTRIBUTES")
def test_supported_attributes_contain_those_that_exist(tape: Device) -> None:
    """SPC-5 6.17.6: service action 05h."""
    data = tape.good(c.read_attribute(c.SUPPORTED_ATTRIBUTES))
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    listed = {int.from_bytes(data[at : at + 2], "big") for at in range(4, len(data), 2)}
    assert set(attributes(tape)) - {HOST_VENDOR_SPECIFIC} <= listed


@pytest.mark.parametrize("action", [0x04, 0x06, 0x1F])
def test_a_reserved_service_action_is_refused(tape: Device, action: int) -> None:
    """SPC-5 table 140: restricted and reserved service actions."""
    tape.check(c.read_attribute(action), INVALID_FIELD_IN_CDB)


def test_a_partition_that_is_not_there_is_refused(tape: Device) -> None:
    """SPC-5 6.17.1: PARTITION NUMBER not on the volume: INVALID FIELD IN CDB."""
    tape.check(c.read_attribute(partition=9), INVALID_FIELD_IN_CDB)


def test_capacities_are_eight_bytes(tape: Device) -> None:
    """SPC-5 7.4.2.2: 0000h remaining and 0001h maximum capacity, in MiB, read only."""
    found = attributes(tape)
    for identifier in (REMAINING_CAPACITY, MAXIMUM_CAPACITY):
        form, value = found[identifier]
        assert form & READ_ONLY
        assert len(value) == 8
    assert found[REMAINING_CAPACITY][1] <= found[MAXIMUM_CAPACITY][1]


def test_the_medium_type_of_a_plain_volume_is_data(tape: Device) -> None:
    """SPC-5 7.4.2.3: 0408h: 00h, data medium."""
    assert attributes(tape)[0x0408][1] == b"\0"


@requires("LOAD UNLOAD")
def test_there_are_no_attributes_without_a_volume(tape: Device) -> None:
    """SPC-5 6.17.1: NOT READY, MEDIUM NOT PRESENT."""
    tape.good(c.load_unload(0))
    tape.check(c.read_attribute(), MEDIUM_NOT_PRESENT)
    tape.good(c.load_unload(c.LOAD))


# -- writing ---------------------------------------------------------------------------------
@writes
@pytest.mark.parametrize("identifier", HOST_ATTRIBUTES, ids=lambda value: f"{value:04X}h")
def test_a_host_attribute_round_trips(memory: Device, identifier: int) -> None:
    """SPC-5 7.4.2.4: host type attributes may be written."""
    form, length = HOST_ATTRIBUTES[identifier]
    value = bytes(1 + at % 90 for at in range(length)) if form == BINARY else b"X" * length
    memory.good(c.write_attribute(encode(identifier, form, value)))
    assert attributes(memory)[identifier] == (form, value)


@writes
def test_an_attribute_of_length_zero_is_deleted(memory: Device) -> None:
    """SPC-5 6.48: ATTRIBUTE LENGTH zero: the attribute is in the nonexistent state."""
    memory.good(c.write_attribute(encode(NAME, ASCII, b"name".ljust(32))))
    memory.good(c.write_attribute(encode(NAME, ASCII, b"")))
    assert NAME not in attributes(memory)


@writes
def test_the_deletion_of_what_is_not_there_is_no_error(memory: Device) -> None:
    """SPC-5 6.48: ATTRIBUTE LENGTH zero of a nonexistent attribute."""
    memory.good(c.write_attribute(encode(NAME, ASCII, b"")))


@writes
def test_several_attributes_are_written_at_once(memory: Device) -> None:
    """SPC-5 6.48: a list of attributes, ascending."""
    both = encode(VENDOR, ASCII, b"VENDOR  ") + encode(VERSION, ASCII, b"1.0     ")
    memory.good(c.write_attribute(both))
    found = attributes(memory)
    assert (found[VENDOR][1], found[VERSION][1]) == (b"VENDOR  ", b"1.0     ")


@writes
@requires("LOAD UNLOAD")
def test_attributes_outlive_an_unload(memory: Device) -> None:
    """SPC-5 7.4.1: the memory is the cartridge's."""
    memory.good(c.write_attribute(encode(NAME, ASCII, b"kept".ljust(32))))
    memory.good(c.load_unload(0))
    memory.good(c.load_unload(c.LOAD))
    assert attributes(memory)[NAME][1] == b"kept".ljust(32)


@writes
def test_attributes_outlive_the_data(memory: Device) -> None:
    """SPC-5 7.4.1: writing the medium does not change host attributes."""
    memory.good(c.write_attribute(encode(NAME, ASCII, b"kept".ljust(32))))
    memory.good(c.write(block(0)))
    memory.good(c.rewind())
    assert attributes(memory)[NAME][1] == b"kept".ljust(32)


@writes
@pytest.mark.parametrize("identifier", [REMAINING_CAPACITY, 0x0400, 0x0408])
def test_a_read_only_attribute_is_refused(memory: Device, identifier: int) -> None:
    """SPC-5 6.48: INVALID FIELD IN PARAMETER LIST."""
    memory.check(
        c.write_attribute(encode(identifier, BINARY, bytes(8))), INVALID_FIELD_IN_PARAMETER_LIST
    )


@writes
def test_an_unknown_attribute_is_refused(memory: Device) -> None:
    """SPC-5 6.48: an unsupported attribute: INVALID FIELD IN PARAMETER LIST."""
    memory.check(c.write_attribute(encode(0x3FFF, BINARY, b"x")), INVALID_FIELD_IN_PARAMETER_LIST)


@writes
def test_an_attribute_of_another_format_is_refused(memory: Device) -> None:
    """SPC-5 6.48: FORMAT not that of the attribute: INVALID FIELD IN PARAMETER LIST."""
    memory.check(
        c.write_attribute(encode(NAME, TEXT, b"name".ljust(32))), INVALID_FIELD_IN_PARAMETER_LIST
    )


@writes
def test_an_attribute_that_is_too_long_is_refused(memory: Device) -> None:
    """SPC-5 6.48: ATTRIBUTE LENGTH: INVALID FIELD IN PARAMETER LIST."""
    memory.check(
        c.write_attribute(encode(NAME, ASCII, b"name".ljust(33))), INVALID_FIELD_IN_PARAMETER_LIST
    )


@writes
def test_a_refused_list_writes_none_of_it(memory: Device) -> None:
    """SPC-5 6.48: no attribute values are changed."""
    both = encode(VENDOR, ASCII, b"VENDOR  ") + encode(0x3FFF, BINARY, b"x")
    memory.check(c.write_attribute(both), INVALID_FIELD_IN_PARAMETER_LIST)
    assert VENDOR not in attributes(memory)


@writes
def test_attributes_out_of_order_are_refused(memory: Device) -> None:
    """SPC-5 6.48: attributes in ascending numerical order, else INVALID FIELD IN PARAMETER LIST."""
    both = encode(VERSION, ASCII, b"1.0     ") + encode(VENDOR, ASCII, b"VENDOR  ")
    memory.check(c.write_attribute(both), INVALID_FIELD_IN_PARAMETER_LIST)


@writes
def test_a_list_cut_short_is_refused(memory: Device) -> None:
    """SPC-5 6.48: an attribute truncated: PARAMETER LIST LENGTH ERROR."""
    command = c.write_attribute(encode(NAME, ASCII, b"name".ljust(32))[:-5])
    memory.check(command, PARAMETER_LIST_LENGTH_ERROR)


@writes
def test_an_empty_list_is_no_error(memory: Device) -> None:
    """SPC-5 6.48: PARAMETER LIST LENGTH zero."""
    memory.good(c.raw("8d 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00"))


@writes
def test_the_change_reference_changes_with_the_data(tape: Device) -> None:
    """SPC-5 7.4.2.2: 0009h volume change reference, 4 bytes, changed before the volume is."""
    form, before = attributes(tape)[CHANGE_REFERENCE]
    assert form & READ_ONLY
    assert len(before) == 4
    tape.good(c.write(block(0)))
    tape.good(c.write_filemarks(0))
    assert attributes(tape)[CHANGE_REFERENCE][1] != before


@writes
def test_the_change_reference_does_not_change_by_reading(tape: Device) -> None:
    """SPC-5 7.4.2.2: ... only when the volume changes."""
    tape.good(c.write(block(0)))
    tape.good(c.rewind())
    before = attributes(tape)[CHANGE_REFERENCE]
    tape.good(c.read(1024))
    assert attributes(tape)[CHANGE_REFERENCE] == before
