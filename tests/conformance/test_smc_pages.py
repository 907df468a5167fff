"""Mode and log pages of a media changer (SMC-3 7.2, 7.3), and what SPC asks of every unit."""

from __future__ import annotations

import struct

import pytest

from tests.conformance import commands as c
from tests.conformance.device import Device
from tests.conformance.library import (
    DATA_TRANSFER,
    IMPORT_EXPORT,
    STORAGE,
    TRANSPORT,
    Library,
    exchange_medium,
    move_medium,
    read_element_status,
)
from tests.conformance.pages import DEFAULT, SAVED, log_parameters, mode_page
from tests.conformance.requirements import requires
from tests.conformance.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETER_LIST,
    INVALID_OPERATION_CODE,
    SAVING_PARAMETERS_NOT_SUPPORTED,
    SOURCE_ELEMENT_EMPTY,
)

ADDRESSES, GEOMETRY, CAPABILITIES = (0x1D, 0), (0x1E, 0), (0x1F, 0)
addresses_page = requires(mode_page=0x1D)
STATISTICS, ELEMENT_STATISTICS, TAPE_ALERT = 0x14, 0x15, 0x2E
MOVES, PICKS, PLACES = 0x00, 0x01, 0x03


@addresses_page
def test_element_addresses_are_those_of_the_elements(library: Library) -> None:
    """SMC-3 7.3.4: first address and number of each element type."""
    words = struct.unpack(">8H", mode_page(library.changer, ADDRESSES)[2:18])
    for kind in (TRANSPORT, STORAGE, IMPORT_EXPORT, DATA_TRANSFER):
        rows = library.elements(kind)
        assert words[2 * kind - 1] == len(rows)
        if rows:
            assert words[2 * kind - 2] == rows[0].address


@addresses_page
@pytest.mark.parametrize("dbd", [False, True])
def test_a_changer_has_no_block_descriptor(changer: Device, dbd: bool) -> None:
    """With DBD or without: MODE DATA LENGTH 23, BLOCK DESCRIPTOR LENGTH zero, then page 1Dh."""
    data = changer.good(c.mode_sense_6(0x1D, dbd=dbd))
    assert (data[0], data[3], data[4] & 0x3F, data[5]) == (23, 0, 0x1D, 18)


@addresses_page
def test_mode_sense_10_tells_the_same(changer: Device) -> None:
    """SPC-5 6.13: the same page behind a longer header."""
    six = changer.good(c.mode_sense_6(0x1D, dbd=True))[4:]
    ten = changer.good(c.mode_sense_10(0x1D, dbd=True))[8:]
    assert six == ten


@requires(mode_page=0x1E)
def test_there_is_a_geometry_descriptor_for_each_transport(library: Library) -> None:
    """SMC-3 7.3.6: two bytes a transport, its number in its set in the second."""
    page = mode_page(library.changer, GEOMETRY)
    transports = len(library.addresses[TRANSPORT])
    assert page[1] == 2 * transports
    assert list(page[3::2]) == list(range(transports))


@requires("MOVE MEDIUM", mode_page=0x1F)
def test_the_moves_of_the_capabilities_page_can_be_made(library: Library) -> None:
    """SMC-3 7.3.3: ST -> ST set means that MOVE MEDIUM from storage to storage is supported."""
    page = mode_page(library.changer, CAPABILITIES)
    assert page[1] == 0x12
    assert page[5] & 0x02
    (full,), (empty,) = library.full_slots(), library.empty_slots()
    library.changer.good(move_medium(full, empty))


@requires(mode_page=0x1F)
def test_what_stores_volumes_is_told(library: Library) -> None:
    """STORST: storage elements store volumes."""
    assert mode_page(library.changer, CAPABILITIES)[2] & 0x02


@requires("EXCHANGE MEDIUM", mode_page=0x1F)
def test_the_exchanges_of_the_capabilities_page_can_be_made(library: Library) -> None:
    """ST <> ST set: EXCHANGE MEDIUM between storage elements is supported."""
    if not mode_page(library.changer, CAPABILITIES)[13] & 0x02:
        pytest.skip("storage elements are not exchanged")
    first, second = library.full_slots(2)
    library.changer.good(exchange_medium(first, second, first))
    library.changer.good(exchange_medium(first, second, first))


@addresses_page
def test_the_default_addresses_are_the_current_ones(changer: Device) -> None:
    """Addresses that cannot be assigned are always the default ones."""
    assert mode_page(changer, ADDRESSES, DEFAULT) == mode_page(changer, ADDRESSES)


@requires("MODE SELECT(6)", mode_page=0x1D)
def test_the_addresses_as_they_are_can_be_selected(changer: Device) -> None:
    """SPC-5 6.10: a value that is not changeable may be sent as it is."""
    changer.good(c.mode_select_6(bytes(4) + mode_page(changer, ADDRESSES)))


@requires("MODE SELECT(10)", mode_page=0x1D)
def test_other_addresses_cannot_be_selected(changer: Device) -> None:
    """A parameter that is not changeable: INVALID FIELD IN PARAMETER LIST, nothing is changed."""
    page = mode_page(changer, ADDRESSES)
    other = page[:7] + bytes((page[7] ^ 1,)) + page[8:]
    changer.check(c.mode_select_10(bytes(8) + other), INVALID_FIELD_IN_PARAMETER_LIST)
    assert mode_page(changer, ADDRESSES) == page


@requires("MODE SELECT(6)", mode_page=0x1D)
def test_a_block_descriptor_is_refused(changer: Device) -> None:
    """A changer has none: INVALID FIELD IN PARAMETER LIST."""
    parameters = bytes((0, 0, 0, 8)) + bytes(8) + mode_page(changer, ADDRESSES)
    changer.check(c.mode_select_6(parameters), INVALID_FIELD_IN_PARAMETER_LIST)


@addresses_page
def test_a_page_that_is_not_there_is_refused(changer: Device) -> None:
    """Page 11h is a tape drive's."""
    changer.check(c.mode_sense_6(0x11), INVALID_FIELD_IN_CDB)


@addresses_page
def test_addresses_are_not_saved(changer: Device) -> None:
    """PC 11b of a page that is not saved: SAVING PARAMETERS NOT SUPPORTED."""
    changer.check(c.mode_sense_6(0x1D, control=SAVED), SAVING_PARAMETERS_NOT_SUPPORTED)


@requires("MOVE MEDIUM", log_page=STATISTICS)
def test_every_move_is_counted(library: Library) -> None:
    """SMC-3 7.2.4: number of moves, of picks and of places."""
    before = statistics(library.changer)
    (full,), (empty,) = library.full_slots(), library.empty_slots()
    library.changer.good(move_medium(full, empty))
    after = statistics(library.changer)
    assert [after[code] - before[code] for code in (MOVES, PICKS, PLACES)] == [1, 1, 1]


@requires("MOVE MEDIUM", log_page=STATISTICS)
def test_a_refused_move_is_not_counted(library: Library) -> None:
    """Nothing was picked or placed."""
    source, destination = library.empty_slots(2)
    before = statistics(library.changer)
    library.changer.check(move_medium(source, destination), SOURCE_ELEMENT_EMPTY)
    assert statistics(library.changer) == before


@requires("MOVE MEDIUM", log_page=ELEMENT_STATISTICS)
def test_each_element_has_its_places_and_picks(library: Library) -> None:
    """SMC-3 7.2.3: a parameter an element, its code the element address."""
    (full,), (empty,) = library.full_slots(), library.empty_slots()
    library.changer.good(move_medium(full, empty))
    before = log_parameters(library.changer, ELEMENT_STATISTICS)
    library.changer.good(move_medium(empty, full))
    after = log_parameters(library.changer, ELEMENT_STATISTICS)

    def counts(values: dict[int, bytes], address: int) -> tuple[int, ...]:
        return struct.unpack_from(">6I", values[address])

    assert counts(after, full)[0] == counts(before, full)[0] + 1
    assert counts(after, empty)[2] == counts(before, empty)[2] + 1


@requires(log_page=TAPE_ALERT)
def test_tape_alert_has_all_its_flags(changer: Device) -> None:
    """SMC-3 7.2.6: parameters 0001h to 0040h, one byte each; none is set in a library that is
    well."""
    flags = log_parameters(changer, TAPE_ALERT)
    assert sorted(flags) == list(range(1, 65))
    assert set(flags.values()) == {b"\0"}


def statistics(changer: Device) -> dict[int, int]:
    parameters = log_parameters(changer, STATISTICS)
    return {code: int.from_bytes(value, "big") for code, value in parameters.items()}


def test_a_changer_is_a_removable_media_changer(changer: Device) -> None:
    """SPC-5 6.7: PERIPHERAL DEVICE TYPE 08h, RMB set."""
    data = changer.good(c.inquiry())
    assert (data[0], data[1] & 0x80) == (0x08, 0x80)


@requires(vpd_page=0x83)
def test_the_changers_serial_number_is_in_its_identification(changer: Device) -> None:
    """SPC-5 7.7.6: the T10 vendor ID designator is unique by the serial number."""
    serial_page = changer.good(c.inquiry(0x80))
    serial = serial_page[4 : 4 + serial_page[3]].strip()
    assert serial
    assert serial in changer.good(c.inquiry(0x83))


def test_a_changer_without_moving_parts_is_ready(changer: Device) -> None:
    """SPC-5 6.47."""
    changer.good(c.test_unit_ready())


@pytest.mark.parametrize("opcode", [0x08, 0x0A, 0x10, 0x11])
def test_commands_of_tape_drives_are_not_there(changer: Device, opcode: int) -> None:
    """READ, WRITE, WRITE FILEMARKS and SPACE: INVALID COMMAND OPERATION CODE."""
    changer.check(c.raw(bytes((opcode, 0, 0, 0, 1, 0))), INVALID_OPERATION_CODE)


@requires("RESERVE(6)")
@pytest.mark.parametrize("opcode", [0x16, 0x56])
def test_single_elements_are_not_reserved(changer: Device, opcode: int) -> None:
    """ELEMENT set: element reservations are obsolete (SMC-2), INVALID FIELD IN CDB."""
    cdb = bytes((opcode, 0x01)) + bytes(4 if opcode == 0x16 else 8)
    changer.check(c.raw(cdb), INVALID_FIELD_IN_CDB)


@requires("REPORT SUPPORTED OPERATION CODES")
def test_a_changers_commands_are_listed(changer: Device) -> None:
    """SPC-5 6.34.2: every command that the changer has."""
    data = changer.good(c.report_supported_operation_codes())
    listed = {data[at] for at in range(4, len(data), 8)}
    assert listed >= {0x00, 0x03, 0x07, 0x12, 0x1A, 0xA0, 0xA5, 0xB8}


@requires("REPORT SUPPORTED OPERATION CODES")
def test_the_usage_of_a_command_names_its_fields(changer: Device) -> None:
    """SPC-5 6.34.3: one bits where the device server looks."""
    data = changer.good(c.report_supported_operation_codes(1, 0xB8))
    assert data[1] & 0x07 == 3
    usage = data[4 : 4 + int.from_bytes(data[2:4], "big")]
    assert (usage[0], usage[2:6], usage[7:10]) == (0xB8, b"\xff" * 4, b"\xff" * 3)


@requires("MODE SELECT(6)", mode_page=0x0A)
def test_sense_in_descriptor_format_can_be_chosen(library: Library) -> None:
    """D_SENSE of the Control mode page set: response code 72h."""
    control = mode_page(library.changer, (0x0A, 0))
    chosen = control[:2] + bytes((control[2] | 0x04,)) + control[3:]
    library.changer.good(c.mode_select_6(bytes(4) + chosen))
    sense = library.changer.check(read_element_status(0x5), INVALID_FIELD_IN_CDB)
    library.changer.good(c.mode_select_6(bytes(4) + control))
    assert sense.response_code == 0x72


@requires(log_page=0x07)
def test_error_events_are_text(changer: Device) -> None:
    """SPC-5 7.3.13: each parameter is an ASCII string that describes one error event."""
    for text in log_parameters(changer, 0x07).values():
        assert text.decode("ascii").isprintable()
