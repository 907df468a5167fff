"""ALLOCATION LENGTH of every command that returns parameter data, and the transport's residuals
(SPC-5 4.2.5.6; RFC 7143 11.4.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.conformance import commands as c
from tests.conformance.commands import Command
from tests.conformance.device import CHECK_CONDITION, GOOD, Device
from tests.conformance.recording import BLOCK_BYTES, END, block, follows, record
from tests.conformance.requirements import requires

# Command by its allocation length; where it has one, the feature it needs.
CASES: dict[str, tuple[Callable[[int], Command], tuple[pytest.MarkDecorator, ...]]] = {
    "INQUIRY": (lambda length: c.inquiry(length=length), ()),
    "INQUIRY, VPD": (lambda length: c.inquiry(0x83, length), ()),
    "REQUEST SENSE": (c.request_sense, ()),
    "REPORT LUNS": (lambda length: c.report_luns(length=length), ()),
    "MODE SENSE(6)": (
        lambda length: c.mode_sense_6(0x3F, length=length),
        (requires("MODE SENSE(6)"),),
    ),
    "MODE SENSE(10)": (
        lambda length: c.mode_sense_10(0x3F, length=length),
        (requires("MODE SENSE(10)"),),
    ),
    "LOG SENSE": (lambda length: c.log_sense(0x0C, length=length), (requires("LOG SENSE"),)),
    "LOG SENSE, list": (lambda length: c.log_sense(0, length=length), (requires("LOG SENSE"),)),
    "PERSISTENT RESERVE IN, keys": (
        lambda length: c.persistent_reserve_in(c.READ_KEYS, length),
        (requires("PERSISTENT RESERVE IN"),),
    ),
    "PERSISTENT RESERVE IN, capabilities": (
        lambda length: c.persistent_reserve_in(c.REPORT_CAPABILITIES, length),
        (requires("PERSISTENT RESERVE IN"),),
    ),
    "REPORT SUPPORTED OPERATION CODES": (
        lambda length: c.report_supported_operation_codes(length=length),
        (requires("REPORT SUPPORTED OPERATION CODES"),),
    ),
    "REPORT SUPPORTED OPERATION CODES, one": (
        lambda length: c.report_supported_operation_codes(1, 0x08, length=length),
        (requires("REPORT SUPPORTED OPERATION CODES"),),
    ),
    "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS": (
        lambda length: c.report_supported_task_management(length=length),
        (requires("REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS"),),
    ),
    "RECEIVE DIAGNOSTIC RESULTS": (
        lambda length: c.receive_diagnostic(0, length),
        (requires("RECEIVE DIAGNOSTIC RESULTS"),),
    ),
    "READ BUFFER, descriptor": (
        lambda length: c.read_buffer(0x03, length=length),
        (requires("READ BUFFER"),),
    ),
    "READ POSITION, extended": (
        lambda length: c.read_position(c.EXTENDED_FORM, length),
        (requires("READ POSITION EXTENDED FORM"),),
    ),
    "REPORT DENSITY SUPPORT": (
        lambda length: c.report_density_support(length=length),
        (requires("REPORT DENSITY SUPPORT"),),
    ),
    "READ ATTRIBUTE, values": (
        lambda length: c.read_attribute(length=length),
        (requires("READ ATTRIBUTE"),),
    ),
    "READ ATTRIBUTE, list": (
        lambda length: c.read_attribute(c.ATTRIBUTE_LIST, length=length),
        (requires("READ ATTRIBUTE"),),
    ),
    "READ ATTRIBUTE, partitions": (
        lambda length: c.read_attribute(c.PARTITION_LIST, length=length),
        (requires("READ ATTRIBUTE"),),
    ),
    "READ MEDIA SERIAL NUMBER": (
        c.read_media_serial_number,
        (requires("READ MEDIA SERIAL NUMBER"),),
    ),
    "SECURITY PROTOCOL IN": (
        lambda length: c.security_protocol_in(0x20, 0x0010, length),
        (requires("SECURITY PROTOCOL IN"),),
    ),
}


@pytest.mark.parametrize(
    "make", [pytest.param(make, marks=marks, id=name) for name, (make, marks) in CASES.items()]
)
@pytest.mark.parametrize("length", [0, 1, 3])
def test_parameter_data_are_cut_to_the_allocation_length(
    tape: Device, make: Callable[[int], Command], length: int
) -> None:
    """SPC-5 4.2.5.6: what does not fit is not sent, and that is not an error."""
    whole = tape.good(make(128))
    assert tape.good(make(length)) == whole[:length]


# -- the transport's own account -------------------------------------------------------------
def test_data_that_are_fewer_than_expected_are_an_underflow(drive: Device) -> None:
    """RFC 7143 11.4.5.1: U one, RESIDUAL COUNT the bytes that were not sent."""
    data = drive.good(c.inquiry(length=255))
    response = drive.run(replace(c.inquiry(length=255), data_in_bytes=4096))
    assert response.data == data
    assert response.residual == 4096 - len(data)


def test_data_that_are_more_than_expected_are_an_overflow(drive: Device) -> None:
    """RFC 7143 11.4.5.2: O one, RESIDUAL COUNT the bytes that there was no room for."""
    data = drive.good(c.inquiry(length=255))
    response = drive.run(replace(c.inquiry(length=255), data_in_bytes=8))
    assert response.data == data[:8]
    assert response.residual == 8 - len(data)


def test_a_block_with_too_little_room_is_read_as_a_whole(tape: Device) -> None:
    """SSC-5 6.4, RFC 7143 11.4.5.2: the block is passed; what does not fit is an overflow."""
    record(tape, 0, 1)
    response = tape.run(c.read(BLOCK_BYTES, room=100))
    assert response.status == GOOD
    assert response.data == block(0)[:100]
    assert response.residual == 100 - BLOCK_BYTES
    assert follows(tape) == 1


def test_a_block_with_too_much_room_is_an_underflow(tape: Device) -> None:
    """RFC 7143 11.4.5.1: RESIDUAL COUNT by the expected length, not by that of the CDB."""
    record(tape, 0, 1)
    response = tape.run(c.read(BLOCK_BYTES, room=5 * BLOCK_BYTES))
    assert response.data == block(0)
    assert response.residual == 4 * BLOCK_BYTES


def test_more_data_out_than_the_cdb_asks_for_are_an_underflow(tape: Device) -> None:
    """RFC 7143 11.4.5.1: the block is as long as the CDB says."""
    command = replace(c.write(block(0)), data_out=block(0) + bytes(500))
    response = tape.run(command)
    assert (response.status, response.residual) == (GOOD, 500)
    tape.good(c.rewind())
    assert tape.good(c.read(BLOCK_BYTES)) == block(0)


def test_less_data_out_than_the_cdb_asks_for_writes_no_block(tape: Device) -> None:
    """RFC 7143 11.4.5.2: an overflow; a block is written whole or not at all."""
    record(tape, 0)
    assert follows(tape) == 0
    response = tape.run(replace(c.write(block(1)), data_out=block(1)[:500]))
    assert response.status == CHECK_CONDITION
    tape.good(c.rewind())
    assert [follows(tape) for _ in range(2)] == [0, END]
