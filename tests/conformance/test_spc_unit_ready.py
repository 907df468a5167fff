"""TEST UNIT READY, REQUEST SENSE and unit attentions (SPC-5 6.39, 6.47; SAM-5 5.14)."""

from __future__ import annotations

from tests.conformance import commands as c
from tests.conformance.device import CHECK_CONDITION, Device
from tests.conformance.recording import set_block_length
from tests.conformance.requirements import requires
from tests.conformance.sense import (
    INVALID_FIELD_IN_CDB,
    INVALID_OPERATION_CODE,
    LOGICAL_UNIT_NOT_SUPPORTED,
    MEDIUM_NOT_PRESENT,
    MODE_PARAMETERS_CHANGED,
    NO_ADDITIONAL_SENSE,
    NOT_READY_TO_READY,
    UNIT_ATTENTION,
    SenseData,
)
from tests.support.initiator import Response


def of_parameter_data(response: Response) -> SenseData:
    assert response.status == 0
    return SenseData.decode(response.data)


def test_test_unit_ready_is_good_with_a_loaded_volume(tape: Device) -> None:
    """SPC-5 6.47: GOOD where a medium access command would be accepted."""
    tape.good(c.test_unit_ready())


@requires("LOAD UNLOAD")
def test_test_unit_ready_tells_that_the_medium_is_not_present(tape: Device) -> None:
    """SSC-5 4.2.3: NOT READY, MEDIUM NOT PRESENT after an unload."""
    tape.good(c.load_unload(0))
    tape.check(c.test_unit_ready(), MEDIUM_NOT_PRESENT)
    tape.good(c.load_unload(c.LOAD))


@requires("LOAD UNLOAD")
def test_medium_access_without_a_volume_is_not_ready(tape: Device) -> None:
    """SSC-5 4.2.3: commands that access the medium: NOT READY."""
    tape.good(c.load_unload(0))
    for command in (c.read(512), c.write(b"x"), c.rewind(), c.space_6(c.BLOCKS, 1), c.erase()):
        tape.check(command, MEDIUM_NOT_PRESENT)
    tape.good(c.load_unload(c.LOAD))


def test_request_sense_returns_no_sense_when_there_is_nothing_to_tell(tape: Device) -> None:
    """SPC-5 6.39: NO SENSE, NO ADDITIONAL SENSE INFORMATION as parameter data, with GOOD."""
    assert of_parameter_data(tape.run(c.request_sense())).code == NO_ADDITIONAL_SENSE


def test_request_sense_additional_length_is_true(tape: Device) -> None:
    """SPC-5 4.4.3: fixed format, ADDITIONAL SENSE LENGTH is of what follows it."""
    data = tape.good(c.request_sense())
    assert data[0] & 0x7F in (0x70, 0x71)
    assert data[7] == len(data) - 8


def test_request_sense_is_cut_to_the_allocation_length(tape: Device) -> None:
    """SPC-5 4.2.5.6: truncated without an error."""
    assert len(tape.good(c.request_sense(8))) == 8


def test_request_sense_in_descriptor_format_when_desc_is_set(tape: Device) -> None:
    """SPC-5 6.39: DESC one: descriptor format, or INVALID FIELD IN CDB where not supported."""
    response = tape.run(c.request_sense(descriptors=True))
    if response.status == CHECK_CONDITION:
        assert SenseData.decode(response.sense).code == INVALID_FIELD_IN_CDB
    else:
        assert response.data[0] & 0x7F == 0x72


def test_autosense_leaves_nothing_for_request_sense(tape: Device) -> None:
    """SAM-5 5.13: sense data that went with the status are cleared."""
    tape.check(c.inquiry(0x7F), INVALID_FIELD_IN_CDB)
    assert of_parameter_data(tape.run(c.request_sense())).code == NO_ADDITIONAL_SENSE


@requires("LOAD UNLOAD")
def test_request_sense_tells_not_ready_as_parameter_data(tape: Device) -> None:
    """SPC-5 6.39: GOOD, and the sense that TEST UNIT READY would have."""
    tape.good(c.load_unload(0))
    assert of_parameter_data(tape.run(c.request_sense())).code == MEDIUM_NOT_PRESENT
    tape.good(c.load_unload(c.LOAD))


def test_an_operation_code_that_is_not_there_is_refused(drive: Device) -> None:
    """SPC-5 4.2.5.1: INVALID COMMAND OPERATION CODE."""
    drive.check(c.raw("02 00 00 00 00 00"), INVALID_OPERATION_CODE)
    drive.check(c.raw("ff" + "00" * 15), INVALID_OPERATION_CODE)


def test_a_unit_that_is_not_there_is_refused(drive: Device) -> None:
    """SPC-5 4.2.5.1, SAM-5 5.12: LOGICAL UNIT NOT SUPPORTED for an incorrect LUN."""
    response = drive.session.execute(c.test_unit_ready().cdb, lun=200)
    assert response.status == CHECK_CONDITION
    assert SenseData.decode(response.sense).code == LOGICAL_UNIT_NOT_SUPPORTED


def test_request_sense_to_a_unit_that_is_not_there_is_good(drive: Device) -> None:
    """SAM-5 5.12: REQUEST SENSE returns LOGICAL UNIT NOT SUPPORTED as data, with GOOD."""
    response = drive.session.execute(c.request_sense().cdb, data_in_bytes=252, lun=200)
    assert of_parameter_data(response).code == LOGICAL_UNIT_NOT_SUPPORTED


def test_a_mode_select_tells_the_other_initiators_once(tape: Device, other: Device) -> None:
    """SPC-5 6.9: unit attention MODE PARAMETERS CHANGED for every other I_T nexus."""
    other.attentions()
    set_block_length(tape, 512)
    assert other.attentions() == [MODE_PARAMETERS_CHANGED]
    other.good(c.test_unit_ready())


def test_a_mode_select_does_not_tell_its_own_initiator(tape: Device) -> None:
    """SPC-5 6.9: ... except the I_T nexus on which the MODE SELECT command was received."""
    set_block_length(tape, 512)
    assert tape.attentions() == []


def test_an_attention_stops_a_command_which_then_has_not_run(tape: Device, other: Device) -> None:
    """SAM-5 5.14: CHECK CONDITION, and the command is not performed."""
    tape.good(c.write(b"first"))
    other.attentions()
    set_block_length(tape, 512)
    other.check(c.write_filemarks(1), MODE_PARAMETERS_CHANGED)
    set_block_length(tape, 0)
    tape.good(c.rewind())
    assert tape.good(c.read(5)) == b"first"
    other.attentions()


def test_inquiry_neither_reports_nor_clears_an_attention(tape: Device, other: Device) -> None:
    """SAM-5 5.14: INQUIRY is performed, the unit attention condition stays."""
    other.attentions()
    set_block_length(tape, 512)
    other.good(c.inquiry())
    assert other.attentions() == [MODE_PARAMETERS_CHANGED]


def test_report_luns_neither_reports_nor_clears_an_attention(tape: Device, other: Device) -> None:
    """SAM-5 5.14: REPORT LUNS is performed, the unit attention condition stays."""
    other.attentions()
    set_block_length(tape, 512)
    other.good(c.report_luns())
    assert other.attentions() == [MODE_PARAMETERS_CHANGED]


def test_request_sense_takes_an_attention(tape: Device, other: Device) -> None:
    """SAM-5 5.14: REQUEST SENSE reports it as parameter data and clears it."""
    other.attentions()
    set_block_length(tape, 512)
    assert of_parameter_data(other.run(c.request_sense())).key == UNIT_ATTENTION
    assert other.attentions() == []


@requires("LOAD UNLOAD")
def test_a_load_tells_the_other_initiators(tape: Device, other: Device) -> None:
    """SSC-5 7.4: NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED, for other I_T nexuses."""
    tape.good(c.load_unload(0))
    other.attentions()
    tape.good(c.load_unload(c.LOAD))
    assert NOT_READY_TO_READY in other.attentions()


def test_report_luns_lists_this_unit(drive: Device) -> None:
    """SPC-5 6.33: LUN LIST LENGTH, then eight bytes for each unit."""
    data = drive.good(c.report_luns())
    length = int.from_bytes(data[:4], "big")
    assert length == len(data) - 8
    assert bytes((0, drive.lun)) + bytes(6) in [data[at : at + 8] for at in range(8, len(data), 8)]


def test_report_luns_length_is_not_adjusted_by_truncation(drive: Device) -> None:
    """SPC-5 6.33: LUN LIST LENGTH is that of the whole list."""
    whole = drive.good(c.report_luns())
    assert drive.good(c.report_luns(length=16)) == whole[:16]


def test_report_luns_with_a_reserved_selection_is_refused(drive: Device) -> None:
    """SPC-5 6.33: SELECT REPORT 03h to 0Fh are reserved."""
    drive.check(c.report_luns(select=0x0F), INVALID_FIELD_IN_CDB)
