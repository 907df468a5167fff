"""What a drive says of its commands, its clock and itself: REPORT SUPPORTED OPERATION CODES and
TASK MANAGEMENT FUNCTIONS, timestamps, diagnostics, buffers, PREVENT ALLOW (SPC-5 6)."""

from __future__ import annotations

import pytest

from tests.conformance import commands as c
from tests.conformance.device import CHECK_CONDITION, GOOD, Device
from tests.conformance.requirements import requires
from tests.conformance.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_PARAMETER_LIST,
    MEDIUM_REMOVAL_PREVENTED,
    PARAMETER_LIST_LENGTH_ERROR,
    TIMESTAMP_CHANGED,
    SenseData,
)

operation_codes = requires("REPORT SUPPORTED OPERATION CODES")
timestamps = requires("REPORT TIMESTAMP", "SET TIMESTAMP")
NOT_SUPPORTED, SUPPORTED = 1, 3
CDB_BYTES_BY_GROUP = {0: 6, 1: 10, 2: 10, 4: 16, 5: 12}
# SSC-5 table 13: the commands that are mandatory for a drive with implicit addresses.
MANDATORY = {
    "TEST UNIT READY": (0x00, None),
    "REWIND": (0x01, None),
    "REQUEST SENSE": (0x03, None),
    "READ BLOCK LIMITS": (0x05, None),
    "READ(6)": (0x08, None),
    "WRITE(6)": (0x0A, None),
    "WRITE FILEMARKS(6)": (0x10, None),
    "SPACE(6)": (0x11, None),
    "INQUIRY": (0x12, None),
    "MODE SELECT(6)": (0x15, None),
    "ERASE(6)": (0x19, None),
    "MODE SENSE(6)": (0x1A, None),
    "LOAD UNLOAD": (0x1B, None),
    "SEND DIAGNOSTIC": (0x1D, None),
    "LOCATE(10)": (0x2B, None),
    "READ POSITION": (0x34, 0x00),
    "REPORT DENSITY SUPPORT": (0x44, None),
    "REPORT LUNS": (0xA0, None),
}


def descriptors(drive: Device, *, timeouts: bool = False) -> list[tuple[int, int | None, int]]:
    """Return all commands as operation code, service action or None, and CDB length."""
    data = drive.good(c.report_supported_operation_codes(timeouts=timeouts))
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    found = []
    at = 4
    while at < len(data):
        action = int.from_bytes(data[at + 2 : at + 4], "big") if data[at + 5] & 0x01 else None
        found.append((data[at], action, int.from_bytes(data[at + 6 : at + 8], "big")))
        assert bool(data[at + 5] & 0x02) == timeouts
        at += 20 if data[at + 5] & 0x02 else 8
    return found


def one_command(drive: Device, opcode: int, action: int | None, *, timeouts: bool = False) -> bytes:
    option = 1 if action is None else 2
    return drive.good(
        c.report_supported_operation_codes(option, opcode, action or 0, timeouts=timeouts)
    )


@operation_codes
def test_all_commands_are_descriptors_of_eight_bytes(drive: Device) -> None:
    """SPC-5 6.34.2: REPORTING OPTIONS 000b without RCTD."""
    assert descriptors(drive)


@operation_codes
def test_all_commands_with_timeouts_are_descriptors_of_twenty_bytes(drive: Device) -> None:
    """SPC-5 6.34.2, 6.34.4: RCTD one: CTDP one and a timeouts descriptor of 12 bytes."""
    assert descriptors(drive, timeouts=True) == descriptors(drive)


@operation_codes
def test_cdb_lengths_are_those_of_their_group(drive: Device) -> None:
    """SPC-5 4.2.5.1, 6.34.2: CDB LENGTH."""
    for opcode, _, length in descriptors(drive):
        assert length == CDB_BYTES_BY_GROUP.get(opcode >> 5, length)


@operation_codes
def test_service_actions_are_listed_one_by_one(drive: Device) -> None:
    """SPC-5 6.34.2: SERVACTV one where the operation code has service actions."""
    actions = [action for opcode, action, _ in descriptors(drive) if opcode == 0x34]
    assert 0x00 in actions
    assert None not in actions


@operation_codes
def test_each_command_is_told_by_itself_too(drive: Device) -> None:
    """SPC-5 6.34.3: SUPPORT 011b, CDB SIZE, and usage data that begin with the operation code."""
    for opcode, action, length in descriptors(drive):
        data = one_command(drive, opcode, action)
        assert data[1] & 0x07 == SUPPORTED
        assert int.from_bytes(data[2:4], "big") == length == len(data) - 4
        assert data[4] == opcode
        if action is not None and opcode not in (0x5E, 0x5F):
            assert data[5] & 0x1F in (action, 0x1F)


@operation_codes
def test_a_command_by_itself_tells_its_timeouts(drive: Device) -> None:
    """SPC-5 6.34.4: descriptor length 000Ah behind the usage data."""
    data = one_command(drive, 0x08, None, timeouts=True)
    assert data[1] & 0x80
    assert len(data) == 4 + 6 + 12
    assert int.from_bytes(data[10:12], "big") == 0x0A


@operation_codes
def test_a_command_that_is_not_there_is_told_so(drive: Device) -> None:
    """SPC-5 6.34.3: SUPPORT 001b."""
    assert one_command(drive, 0x02, None)[1] & 0x07 == NOT_SUPPORTED


@operation_codes
def test_a_service_action_that_is_not_there_is_told_so(drive: Device) -> None:
    """SPC-5 6.34.3: SUPPORT 001b."""
    assert one_command(drive, 0x34, 0x1E)[1] & 0x07 == NOT_SUPPORTED


@operation_codes
def test_option_one_for_a_code_with_service_actions_is_refused(drive: Device) -> None:
    """SPC-5 table 216: REPORTING OPTIONS 001b: INVALID FIELD IN CDB."""
    drive.check(c.report_supported_operation_codes(1, 0x34), INVALID_FIELD_IN_CDB)


@operation_codes
def test_option_two_for_a_code_without_service_actions_is_refused(drive: Device) -> None:
    """SPC-5 table 216: REPORTING OPTIONS 010b: INVALID FIELD IN CDB."""
    drive.check(c.report_supported_operation_codes(2, 0x08), INVALID_FIELD_IN_CDB)


@operation_codes
@pytest.mark.parametrize("option", [4, 7])
def test_a_reserved_option_is_refused(drive: Device, option: int) -> None:
    """SPC-5 table 216: REPORTING OPTIONS 100b to 111b are reserved."""
    drive.check(c.report_supported_operation_codes(option, 0x08), INVALID_FIELD_IN_CDB)


@operation_codes
def test_operation_codes_are_cut_to_the_allocation_length(drive: Device) -> None:
    """SPC-5 4.2.5.6: COMMAND DATA LENGTH is not adjusted."""
    whole = drive.good(c.report_supported_operation_codes())
    assert drive.good(c.report_supported_operation_codes(length=12)) == whole[:12]


@operation_codes
@pytest.mark.parametrize("name", MANDATORY)
def test_a_mandatory_command_is_there(drive: Device, name: str) -> None:
    """SSC-5 table 13: mandatory for sequential-access devices."""
    rows = {(opcode, action) for opcode, action, _ in descriptors(drive)}
    opcode, action = MANDATORY[name]
    assert (opcode, action) in rows or (opcode, None) in rows


# -- task management functions ---------------------------------------------------------------
@requires("REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS")
def test_the_mandatory_task_management_functions_are_there(drive: Device) -> None:
    """SPC-5 6.35, SAM-5 7: ABORT TASK and LOGICAL UNIT RESET."""
    data = drive.good(c.report_supported_task_management())
    assert len(data) == 4
    assert data[0] & 0x80
    assert data[0] & 0x08


@requires("REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS")
def test_extended_task_management_data_are_sixteen_bytes(drive: Device) -> None:
    """SPC-5 6.35: REPD one: additional length 0Ch."""
    data = drive.good(c.report_supported_task_management(extended=True))
    assert len(data) == 16
    assert data[3] == 0x0C


# -- timestamp -------------------------------------------------------------------------------
def clock(drive: Device) -> tuple[int, int]:
    """Return origin and milliseconds of REPORT TIMESTAMP."""
    data = drive.good(c.report_timestamp())
    assert int.from_bytes(data[:2], "big") == 0x0A
    assert len(data) == 12
    return data[2] & 0x07, int.from_bytes(data[4:10], "big")


@timestamps
def test_the_timestamp_is_six_bytes_of_milliseconds(drive: Device) -> None:
    """SPC-5 6.37: TIMESTAMP PARAMETER DATA LENGTH 000Ah, ORIGIN 0 to 3."""
    origin, _ = clock(drive)
    assert origin in (0, 2, 3)


@timestamps
def test_a_timestamp_that_was_set_is_reported(drive: Device) -> None:
    """SPC-5 5.3, 6.45: ORIGIN 010b, and the time goes on from there."""
    moment = 1_700_000_000_000
    drive.good(c.set_timestamp(moment))
    origin, now = clock(drive)
    assert origin == 2
    assert moment <= now < moment + 60_000


@timestamps
def test_a_set_timestamp_tells_the_other_initiators(drive: Device, other: Device) -> None:
    """SPC-5 6.45: unit attention TIMESTAMP CHANGED for every other I_T nexus."""
    other.attentions()
    drive.good(c.set_timestamp(1_700_000_000_000))
    assert other.attentions() == [TIMESTAMP_CHANGED]
    assert drive.attentions() == []


@timestamps
def test_a_timestamp_list_cut_short_is_refused(drive: Device) -> None:
    """SPC-5 6.45: PARAMETER LIST LENGTH less than the timestamp's: PARAMETER LIST LENGTH ERROR."""
    cdb = bytes.fromhex("a4 0f 00000000 00000004 0000")
    drive.check(c.raw(cdb, data_out=bytes(4)), PARAMETER_LIST_LENGTH_ERROR)


# -- diagnostics and buffers -----------------------------------------------------------------
@requires("SEND DIAGNOSTIC")
def test_the_default_self_test_passes(drive: Device) -> None:
    """SPC-5 6.42: SELFTEST one: GOOD where the unit is well."""
    drive.good(c.send_diagnostic())


@requires("SEND DIAGNOSTIC")
def test_a_self_test_with_a_code_is_refused(drive: Device) -> None:
    """SPC-5 6.42: SELFTEST one and SELF-TEST CODE not 000b: INVALID FIELD IN CDB."""
    drive.check(c.send_diagnostic(flags=0x24), INVALID_FIELD_IN_CDB)


@requires("RECEIVE DIAGNOSTIC RESULTS")
def test_supported_diagnostic_pages_are_listed(drive: Device) -> None:
    """SPC-5 7.2.10: page 00h, PAGE LENGTH, then page codes in ascending order."""
    data = drive.good(c.receive_diagnostic(0x00))
    assert data[0] == 0x00
    codes = list(data[4:])
    assert int.from_bytes(data[2:4], "big") == len(codes)
    assert codes[0] == 0x00
    assert codes == sorted(set(codes))


@requires("RECEIVE DIAGNOSTIC RESULTS")
def test_a_diagnostic_page_that_is_not_there_is_refused(drive: Device) -> None:
    """SPC-5 6.28: PCV one, PAGE CODE not supported: INVALID FIELD IN CDB."""
    drive.check(c.receive_diagnostic(0x7F), INVALID_FIELD_IN_CDB)


@requires("READ BUFFER")
def test_the_buffer_descriptor_is_four_bytes(drive: Device) -> None:
    """SPC-5 6.18: MODE 03h: OFFSET BOUNDARY and BUFFER CAPACITY."""
    assert len(drive.good(c.read_buffer(0x03))) == 4


@requires("READ BUFFER", "WRITE BUFFER")
def test_a_buffer_gives_back_what_was_written(drive: Device) -> None:
    """SPC-5 6.18, 6.49: MODE 02h, data."""
    data = bytes(range(64))
    drive.good(c.write_buffer(0x02, data))
    assert drive.good(c.read_buffer(0x02, length=64)) == data


@requires("READ BUFFER", "WRITE BUFFER")
def test_the_echo_buffer_gives_back_what_was_written(drive: Device) -> None:
    """SPC-5 6.18, 6.49: MODE 0Ah, data to and from the echo buffer; 0Bh its descriptor."""
    descriptor = drive.good(c.read_buffer(0x0B))
    capacity = int.from_bytes(descriptor[2:4], "big") & 0x1FFF
    data = bytes(range(min(64, capacity)))
    drive.good(c.write_buffer(0x0A, data))
    assert drive.good(c.read_buffer(0x0A, length=len(data))) == data


@requires("READ BUFFER")
def test_a_buffer_mode_that_is_not_there_is_refused(drive: Device) -> None:
    """SPC-5 6.18: INVALID FIELD IN CDB."""
    drive.check(c.read_buffer(0x1B), INVALID_FIELD_IN_CDB)


@requires("READ BUFFER")
def test_a_buffer_that_is_not_there_is_refused(drive: Device) -> None:
    """SPC-5 6.18: an unsupported BUFFER ID in a data mode: INVALID FIELD IN CDB."""
    drive.check(c.read_buffer(0x02, buffer=0xFE), INVALID_FIELD_IN_CDB)


# -- PREVENT ALLOW MEDIUM REMOVAL ------------------------------------------------------------
@requires("PREVENT ALLOW MEDIUM REMOVAL", "LOAD UNLOAD")
def test_a_prevented_removal_refuses_the_unload(tape: Device) -> None:
    """SPC-5 6.14: MEDIUM REMOVAL PREVENTED, and the volume stays ready."""
    tape.good(c.prevent_allow(1))
    tape.check(c.load_unload(0), MEDIUM_REMOVAL_PREVENTED)
    tape.good(c.test_unit_ready())


@requires("PREVENT ALLOW MEDIUM REMOVAL", "LOAD UNLOAD")
def test_an_allowed_removal_unloads(tape: Device) -> None:
    """SPC-5 6.14: PREVENT 00b ends the prevention."""
    tape.good(c.prevent_allow(1))
    tape.good(c.prevent_allow(0))
    tape.good(c.load_unload(0))
    tape.good(c.load_unload(c.LOAD))


@requires("PREVENT ALLOW MEDIUM REMOVAL", "LOAD UNLOAD")
def test_removal_is_prevented_while_any_nexus_prevents_it(tape: Device, other: Device) -> None:
    """SPC-5 6.14: until every nexus that prevented has allowed."""
    other.good(c.prevent_allow(1))
    tape.good(c.prevent_allow(1))
    tape.good(c.prevent_allow(0))
    tape.check(c.load_unload(0), MEDIUM_REMOVAL_PREVENTED)
    other.good(c.prevent_allow(0))
    tape.good(c.load_unload(0))
    tape.good(c.load_unload(c.LOAD))


@requires("PREVENT ALLOW MEDIUM REMOVAL", "LOAD UNLOAD")
def test_a_lost_nexus_prevents_no_longer(tape: Device, other: Device) -> None:
    """SPC-5 6.14: an I_T nexus loss ends its prevention."""
    other.good(c.prevent_allow(1))
    other.session.logout()
    tape.wait(c.load_unload(0), lambda response: response.status == GOOD, 10.0)
    tape.good(c.load_unload(c.LOAD))


@requires("PREVENT ALLOW MEDIUM REMOVAL")
@pytest.mark.parametrize("value", [2, 3])
def test_obsolete_prevent_values_are_refused(tape: Device, value: int) -> None:
    """SPC-5 6.14: PREVENT 10b and 11b are obsolete."""
    tape.check(c.prevent_allow(value), INVALID_FIELD_IN_CDB)


# -- illegal CDB bits ------------------------------------------------------------------------
@pytest.mark.parametrize(
    "command",
    [
        c.test_unit_ready(),
        c.rewind(),
        c.read_block_limits(),
        c.read_position(),
        c.report_luns(),
    ],
    ids=lambda command: command.name,
)
def test_naca_is_refused_or_supported(tape: Device, command: c.Command) -> None:
    """SAM-5 5.2: NACA one where NORMACA is zero: INVALID FIELD IN CDB."""
    normal_aca = tape.good(c.inquiry())[3] & 0x20
    response = tape.run(command.but(len(command.cdb) - 1, 0x04))
    if not normal_aca:
        assert response.status == CHECK_CONDITION
        assert SenseData.decode(response.sense).code == INVALID_FIELD_IN_CDB


def test_a_parameter_list_field_error_is_of_the_list(tape: Device) -> None:
    """SPC-5 4.4.2.4.2: C/D zero points into the parameter list, one into the CDB."""
    sense = tape.check(
        c.mode_select_6(bytes((0, 0, 0x10, 0)) + b"\x3c\x02\0\0"), INVALID_FIELD_IN_PARAMETER_LIST
    )
    assert sense.field_pointer is None or not sense.field_pointer.in_cdb
    sense = tape.check(c.mode_sense_6(0x3C), INVALID_FIELD_IN_CDB)
    assert sense.field_pointer is None or sense.field_pointer.in_cdb


@requires("MANAGEMENT PROTOCOL IN")
def test_the_list_of_management_protocols_names_itself(drive: Device) -> None:
    """SPC-5 6.10: protocol 00h, the supported protocols, whose list begins with 00h."""
    data = drive.good(c.management_protocol_in())
    length = int.from_bytes(data[6:8], "big")
    assert len(data) == 8 + length
    assert length >= 1
    assert data[8] == 0x00
