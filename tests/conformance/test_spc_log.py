"""LOG SENSE, LOG SELECT and the pages of a drive (SPC-5 6.7, 6.8, 7.3; SSC-5 8.2)."""

from __future__ import annotations

import struct

import pytest

from tests.conformance import commands as c
from tests.conformance.device import Device
from tests.conformance.pages import log_number, log_parameters
from tests.conformance.recording import block, follows, record
from tests.conformance.requirements import requires
from tests.conformance.sense import (
    INVALID_FIELD_IN_CDB,
    LOG_PARAMETERS_CHANGED,
    WRITE_PROTECTED,
)

pytestmark = requires("LOG SENSE")
MEBIBYTE = 1 << 20
PAGES: tuple[int, ...] = (
    0x02,
    0x03,
    0x0C,
    0x0D,
    0x10,
    0x11,
    0x12,
    0x13,
    0x14,
    0x16,
    0x17,
    0x18,
    0x1B,
    0x2E,
)
PAGES += (0x30, 0x31, 0x32, 0x37)
WRITE_PROTECT_FLAG = 9
TAPE_DIAGNOSTIC = 0x16


def listed(drive: Device) -> list[int]:
    return list(drive.good(c.log_sense(0x00))[4:])


def test_supported_pages_are_listed_in_ascending_order(drive: Device) -> None:
    """SPC-5 7.3.20: page codes from 00h, ascending."""
    codes = listed(drive)
    assert codes[0] == 0x00
    assert codes == sorted(set(codes))


@requires(log_page=(0x00, 0xFF))
def test_supported_subpages_are_listed_in_ascending_order(drive: Device) -> None:
    """SPC-5 7.3.21: pairs of page and subpage code; 00h/FFh is one of them."""
    data = drive.good(c.log_sense(0x00, 0xFF))
    assert data[0] & 0x40
    assert data[1] == 0xFF
    pairs = list(zip(data[4::2], data[5::2], strict=True))
    assert pairs == sorted(set(pairs))
    assert (0x00, 0xFF) in pairs


def test_every_listed_page_can_be_read(drive: Device) -> None:
    """SPC-5 7.3.20: the list is of the pages that are supported."""
    for code in listed(drive)[1:]:
        log_parameters(drive, code)


@pytest.mark.parametrize(
    "code", [pytest.param(code, marks=requires(log_page=code), id=f"{code:02X}h") for code in PAGES]
)
def test_a_page_has_parameters_in_ascending_order(tape: Device, code: int) -> None:
    """SPC-5 7.3.2: PAGE LENGTH and each PARAMETER LENGTH are true, codes ascend."""
    # Page 16h has a parameter for each failure, so that none is right as well.
    assert log_parameters(tape, code) or code == TAPE_DIAGNOSTIC


def test_a_page_that_is_not_there_is_refused(drive: Device) -> None:
    """SPC-5 6.8: INVALID FIELD IN CDB."""
    sense = drive.check(c.log_sense(0x3D), INVALID_FIELD_IN_CDB)
    assert sense.field_pointer is None or sense.field_pointer.byte == 2


def test_a_subpage_that_is_not_there_is_refused(drive: Device) -> None:
    """SPC-5 6.8: INVALID FIELD IN CDB."""
    sense = drive.check(c.log_sense(0x0C, 0x55), INVALID_FIELD_IN_CDB)
    assert sense.field_pointer is None or sense.field_pointer.byte in (2, 3)


def test_a_page_is_cut_to_the_allocation_length(drive: Device) -> None:
    """SPC-5 4.2.5.6: PAGE LENGTH is not adjusted."""
    whole = drive.good(c.log_sense(0x0C))
    assert drive.good(c.log_sense(0x0C, length=7)) == whole[:7]


def test_parameter_pointer_begins_with_that_parameter(drive: Device) -> None:
    """SPC-5 6.8: parameters from the one with that code on."""
    data = drive.good(c.log_sense(0x0C, pointer=2))
    assert int.from_bytes(data[4:6], "big") == 2


def test_a_pointer_beyond_the_last_parameter_is_refused(drive: Device) -> None:
    """SPC-5 6.8: INVALID FIELD IN CDB, the pointer at byte 5."""
    sense = drive.check(c.log_sense(0x0C, pointer=0xFFFE), INVALID_FIELD_IN_CDB)
    assert sense.field_pointer is None or sense.field_pointer.byte in (5, 6)


@requires(log_page=0x02)
@pytest.mark.parametrize("page", [0x02, 0x03])
def test_error_counters_have_the_uncorrected_errors(drive: Device, page: int) -> None:
    """SPC-5 7.3.8: parameter 0006h, Total uncorrected errors."""
    assert 0x0006 in log_parameters(drive, page)


@requires(log_page=0x0C)
def test_bytes_from_the_initiator_are_counted(tape: Device) -> None:
    """SSC-5 8.2.2: parameter 0000h, data bytes received from WRITE commands."""
    before = log_number(tape, 0x0C, 0x0000)
    for number in range(3):
        tape.good(c.write(block(number, 5000)))
    assert log_number(tape, 0x0C, 0x0000) - before == 15000


@requires(log_page=0x0C)
def test_bytes_to_the_initiator_are_counted(tape: Device) -> None:
    """SSC-5 8.2.2: parameter 0003h, data bytes transferred during READ commands."""
    record(tape, 0, 1, 2)
    before = log_number(tape, 0x0C, 0x0003)
    for _ in range(3):
        follows(tape)
    assert log_number(tape, 0x0C, 0x0003) - before == 3 * 1024


@requires(log_page=0x11)
def test_very_high_frequency_data_tells_a_mounted_volume(tape: Device) -> None:
    """ADC-4 6.1.2: parameter 0000h, 4 bytes; MPRSNT and MTHRD in byte 1."""
    data = log_parameters(tape, 0x11)[0x0000]
    assert len(data) == 4
    assert data[1] & 0x10
    assert data[1] & 0x02


@requires("LOAD UNLOAD", log_page=0x11)
def test_very_high_frequency_data_tells_an_unmounted_volume(tape: Device) -> None:
    """ADC-4 6.1.2: MTHRD and MOUNTED zero after an unload."""
    tape.good(c.load_unload(0))
    data = log_parameters(tape, 0x11)[0x0000]
    assert not data[1] & 0x03
    tape.good(c.load_unload(c.LOAD))


@requires(log_page=0x12)
def test_tape_alert_response_is_one_parameter_of_eight_bytes(drive: Device) -> None:
    """ADC-4 6.1.3: parameter 0000h, flags 1 to 64, flag 1 in the first bit; page length 0Ch."""
    parameters = log_parameters(drive, 0x12)
    assert list(parameters) == [0]
    assert len(parameters[0]) == 8


@requires(log_page=0x17)
def test_volume_statistics_are_valid_with_a_volume(tape: Device) -> None:
    """SSC-5 8.2.10: parameter 0000h, Page valid."""
    assert log_number(tape, 0x17, 0x0000) == 1


@requires("LOAD UNLOAD", log_page=0x17)
def test_volume_statistics_are_not_valid_without_a_volume(tape: Device) -> None:
    """SSC-5 8.2.10: Page valid zero."""
    tape.good(c.load_unload(0))
    assert log_number(tape, 0x17, 0x0000) == 0
    tape.good(c.load_unload(c.LOAD))


@requires(log_page=0x17)
@pytest.mark.parametrize("code", [0x0202, 0x0203, 0x0204])
def test_volume_statistics_of_partitions_are_whole_records(tape: Device, code: int) -> None:
    """SSC-5 8.2.10: records of length 07h, partition number and a value in megabytes."""
    records = log_parameters(tape, 0x17)[code]
    assert records
    for at in range(0, len(records), 8):
        length, _, partition, _ = struct.unpack_from(">BBHI", records, at)
        assert (length, partition) == (7, at // 8)


@requires(log_page=0x17)
def test_what_is_used_and_what_remains_make_the_capacity(tape: Device) -> None:
    """SSC-5 8.2.10: 0202h native capacity, 0203h used, 0204h to early warning."""
    for _ in range(4):
        tape.good(c.write(bytes(MEBIBYTE)))
    parameters = log_parameters(tape, 0x17)
    capacity, used, left = (
        int.from_bytes(parameters[code][4:8], "big") for code in (0x0202, 0x0203, 0x0204)
    )
    assert 3 <= used <= 5
    assert used + left <= capacity + 1


@requires(log_page=0x17)
def test_the_volume_is_named_by_its_barcode(tape: Device) -> None:
    """SSC-5 8.2.10: 0040h volume serial number, 0042h volume barcode; ASCII."""
    parameters = log_parameters(tape, 0x17)
    for code in (0x0040, 0x0042):
        if code in parameters:
            assert all(0x20 <= byte <= 0x7E for byte in parameters[code])


@requires(log_page=0x31)
def test_tape_capacity_has_its_four_parameters(tape: Device) -> None:
    """LTO: 0001h, 0002h remaining, 0003h, 0004h maximum capacity of two partitions, in MiB."""
    parameters = log_parameters(tape, 0x31)
    assert {1, 2, 3, 4} <= set(parameters)
    assert log_number(tape, 0x31, 1) <= log_number(tape, 0x31, 3)


@requires(log_page=0x2E)
def test_tape_alert_has_sixty_four_flags(drive: Device) -> None:
    """SSC-5 8.2.3: parameters 0001h to 0040h, one byte each, bit 0 the flag."""
    flags = log_parameters(drive, 0x2E)
    assert list(flags) == list(range(1, 65))
    assert all(len(value) == 1 and value[0] in (0, 1) for value in flags.values())


@requires(log_page=0x2E)
def test_a_refused_write_sets_the_write_protect_flag(protected_tape: Device) -> None:
    """SSC-5 annex A: flag 09h, write protect: a write to a protected volume."""
    log_parameters(protected_tape, 0x2E)
    protected_tape.check(c.write(b"x"), WRITE_PROTECTED)
    assert log_parameters(protected_tape, 0x2E)[WRITE_PROTECT_FLAG] == b"\x01"


@requires(log_page=0x2E)
def test_reading_the_flags_clears_them(protected_tape: Device) -> None:
    """SSC-5 4.2.20: a flag is deactivated when the page was read (TAPLSD zero)."""
    protected_tape.check(c.write(b"x"), WRITE_PROTECTED)
    log_parameters(protected_tape, 0x2E)
    assert log_parameters(protected_tape, 0x2E)[WRITE_PROTECT_FLAG] == b"\x00"


@requires(log_page=0x12)
def test_the_response_page_shows_the_same_flags(protected_tape: Device) -> None:
    """ADC-4 6.1.3: flag 09h is bit 7 of the second byte; reading it clears nothing."""
    protected_tape.check(c.write(b"x"), WRITE_PROTECTED)
    for _ in range(2):
        assert log_parameters(protected_tape, 0x12)[0x0000][1] & 0x80


@requires(log_page=0x0D)
def test_the_temperature_is_two_bytes(drive: Device) -> None:
    """SPC-5 7.3.22: parameter 0000h, a reserved byte and the temperature (FFh: not known)."""
    assert len(log_parameters(drive, 0x0D)[0x0000]) == 2


@requires(log_page=0x10)
def test_self_test_results_have_twenty_parameters(drive: Device) -> None:
    """SPC-5 7.3.19: parameters 0001h to 0014h, 16 bytes each."""
    results = log_parameters(drive, 0x10)
    assert list(results) == list(range(1, 21))
    assert all(len(value) == 16 for value in results.values())


@requires(log_page=0x1B)
def test_compression_ratios_are_there(tape: Device) -> None:
    """SSC-5 8.2.12: 0000h read and 0001h write ratio, times 100."""
    parameters = log_parameters(tape, 0x1B)
    assert {0x0000, 0x0001} <= set(parameters)


@requires("LOG SELECT", log_page=0x0C)
def test_pcr_sets_counters_to_zero(tape: Device) -> None:
    """SPC-5 6.7: PCR one: all accumulated values to their default."""
    tape.good(c.write(bytes(4096)))
    tape.good(c.log_select(pcr=True))
    assert log_number(tape, 0x0C, 0x0000) == 0


@requires("LOG SELECT")
def test_a_reset_of_counters_tells_the_other_initiators(tape: Device, other: Device) -> None:
    """SPC-5 6.7: unit attention LOG PARAMETERS CHANGED for every other I_T nexus."""
    other.attentions()
    tape.good(c.log_select(pcr=True))
    assert other.attentions() == [LOG_PARAMETERS_CHANGED]
    assert tape.attentions() == []


@requires("LOG SELECT")
def test_pcr_with_a_parameter_list_is_refused(tape: Device) -> None:
    """SPC-5 6.7: PCR one and PARAMETER LIST LENGTH not zero: INVALID FIELD IN CDB."""
    parameters = b"\x0c\0\0\0"
    tape.check(c.log_select(pcr=True, parameters=parameters), INVALID_FIELD_IN_CDB)
