"""ALLOCATION LENGTH of every command that returns parameter data (SPC-5 4.2.5.6)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance import commands as c
from tests.conformance.commands import Command
from tests.conformance.device import Device
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
