"""What may not be overwritten: protected and WORM volumes, append-only mode (SSC-5 4.2.12, 4.2.17,
4.2.27, 7.1)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance import commands as c
from tests.conformance.commands import Command
from tests.conformance.device import Device
from tests.conformance.pages import ModePageKeeper, log_parameters, mode_page
from tests.conformance.recording import END, FILEMARK, block, follows, object_number, record
from tests.conformance.requirements import requires
from tests.conformance.sense import WORM_OVERWRITE_ATTEMPTED, WRITE_PROTECTED

EXTENSION = (0x10, 0x01)
WRITE_MODE_BYTE, APPEND_ONLY, WRITE_MODE = 5, 0x10, 0xF0
CURRENT_POSITION, FORMAT = 1, 2


# -- write protection ------------------------------------------------------------------------
@pytest.mark.parametrize(
    "command",
    [
        c.write(b"x"),
        c.write_filemarks(1),
        pytest.param(c.erase(), marks=requires("ERASE(6)")),
        pytest.param(c.erase(long=True), marks=requires("ERASE(6)"), id="ERASE(6) long"),
        pytest.param(c.format_medium(), marks=requires("FORMAT MEDIUM")),
        pytest.param(c.set_capacity(0x8000), marks=requires("SET CAPACITY")),
        pytest.param(
            c.write_attribute(b"\x08\x00\x01\x00\x08VENDOR  "), marks=requires("WRITE ATTRIBUTE")
        ),
    ],
    ids=lambda command: command.name,
)
def test_a_protected_volume_refuses(protected_tape: Device, command: Command) -> None:
    """SSC-5 4.2.12: DATA PROTECT, WRITE PROTECTED."""
    protected_tape.check(command, WRITE_PROTECTED)


def test_a_protected_volume_can_be_read(protected_tape: Device) -> None:
    """SSC-5 4.2.12: only what would change it is refused."""
    assert follows(protected_tape) in (END, FILEMARK) or object_number(protected_tape) == 1


def test_a_protected_volume_takes_a_synchronisation(protected_tape: Device) -> None:
    """SSC-5 6.9: WRITE FILEMARKS with count 0 writes nothing."""
    protected_tape.good(c.write_filemarks(0))


def test_the_mode_header_tells_write_protection(protected_tape: Device) -> None:
    """SSC-5 8.3.1: WP one."""
    assert protected_tape.good(c.mode_sense_6(0))[2] & 0x80


@requires(log_page=0x11)
def test_very_high_frequency_data_tells_write_protection(protected_tape: Device) -> None:
    """ADC-4 6.1.2: WRTP one."""
    assert log_parameters(protected_tape, 0x11)[0x0000][0] & 0x08


@requires("REPORT DENSITY SUPPORT")
def test_the_density_of_a_protected_volume_is_not_writable(protected_tape: Device) -> None:
    """SSC-5 7.11.3: WRTOK zero for a volume that cannot be written."""
    data = protected_tape.good(c.report_density_support(media=True))
    assert not data[6] & 0x80


# -- WORM ------------------------------------------------------------------------------------
@pytest.fixture
def worm(worm_tape: Device) -> Device:
    """The drive with a WORM tape that holds at least two blocks, at its beginning."""
    worm_tape.good(c.space_6(c.END))
    number = object_number(worm_tape)
    worm_tape.good(c.write(block(number)))
    worm_tape.good(c.write(block(number + 1)))
    worm_tape.good(c.write_filemarks(0))
    worm_tape.good(c.rewind())
    return worm_tape


def test_a_worm_volume_takes_appended_blocks(worm: Device) -> None:
    """SSC-5 4.2.17: writing at end-of-data."""
    worm.good(c.space_6(c.END))
    number = object_number(worm)
    worm.good(c.write(block(number)))
    worm.good(c.space_6(c.BLOCKS, -1))
    assert follows(worm) == number


@pytest.mark.parametrize(
    "command",
    [
        c.write(b"x"),
        c.write_filemarks(1),
        pytest.param(c.erase(), marks=requires("ERASE(6)")),
        pytest.param(c.format_medium(), marks=requires("FORMAT MEDIUM")),
    ],
    ids=lambda command: command.name,
)
def test_a_worm_volume_refuses_an_overwrite(worm: Device, command: Command) -> None:
    """SSC-5 4.2.17: DATA PROTECT, WORM MEDIUM - OVERWRITE ATTEMPTED, and nothing is changed."""
    worm.check(command, WORM_OVERWRITE_ATTEMPTED)
    worm.good(c.rewind())
    assert follows(worm) == 0


@requires("MODE SENSE(10)", mode_page=0x1D)
def test_the_medium_configuration_of_a_worm_volume_tells_so(worm: Device) -> None:
    """SSC-5 8.3: WORMM one."""
    assert mode_page(worm, (0x1D, 0))[2] & 0x01


@requires(vpd_page=0xB0)
def test_sequential_access_capabilities_of_a_worm_volume_tell_so(worm: Device) -> None:
    """SSC-5 8.4: WORM one."""
    assert worm.good(c.inquiry(0xB0))[4] & 0x01


@requires("READ ATTRIBUTE")
def test_the_medium_type_of_a_worm_volume_tells_so(worm: Device) -> None:
    """SPC-5 7.4.2.3: 0408h: 80h, write-once."""
    assert worm.good(c.read_attribute(first=0x0408))[9] == 0x80


# -- append-only mode ------------------------------------------------------------------------
appends = requires("MODE SENSE(10)", "ALLOW OVERWRITE", mode_page=EXTENSION)
DATA_PROTECT = 0x7


@pytest.fixture
def append_only(tape: Device, mode_pages: ModePageKeeper) -> Iterator[Device]:
    """The drive with three blocks on the scratch tape, in append-only mode, at the beginning."""
    record(tape, 0, 1, 2)
    mode_pages.change(EXTENSION, WRITE_MODE_BYTE, APPEND_ONLY, WRITE_MODE)
    yield tape
    tape.run(c.allow_overwrite(0))


def refused(tape: Device, command: Command) -> None:
    """The standard's sense key; which additional sense code, drives do not agree on."""
    response = tape.run(command)
    assert response.status == 0x02, command.name
    assert response.sense[2] & 0x0F == DATA_PROTECT


@appends
@pytest.mark.parametrize(
    "command", [c.write(b"x"), c.write_filemarks(1), c.erase()], ids=lambda command: command.name
)
def test_append_only_mode_refuses_an_overwrite(append_only: Device, command: Command) -> None:
    """SSC-5 4.2.27: DATA PROTECT, and nothing is changed."""
    refused(append_only, command)
    append_only.good(c.rewind())
    assert [follows(append_only) for _ in range(4)] == [0, 1, 2, END]


@appends
def test_append_only_mode_takes_appended_blocks(append_only: Device) -> None:
    """SSC-5 4.2.27: at end-of-data."""
    append_only.good(c.space_6(c.END))
    append_only.good(c.write(block(3)))
    append_only.good(c.rewind())
    assert [follows(append_only) for _ in range(5)] == [0, 1, 2, 3, END]


@appends
def test_an_allowed_overwrite_is_made(append_only: Device) -> None:
    """SSC-5 7.1: ALLOW OVERWRITE 1h, at the current position."""
    assert follows(append_only) == 0
    append_only.good(c.allow_overwrite(CURRENT_POSITION, 1))
    append_only.good(c.write(block(9)))
    append_only.good(c.rewind())
    assert [follows(append_only) for _ in range(3)] == [0, 9, END]


@appends
def test_an_overwrite_is_allowed_once(append_only: Device) -> None:
    """SSC-5 7.1: the write consumes the allowance."""
    append_only.good(c.allow_overwrite(CURRENT_POSITION, 0))
    append_only.good(c.write(block(9)))
    append_only.good(c.rewind())
    refused(append_only, c.write(b"x"))


@appends
def test_an_allowance_for_another_position_is_refused(append_only: Device) -> None:
    """SSC-5 7.1: PARTITION and LOGICAL OBJECT IDENTIFIER not the position: ILLEGAL REQUEST."""
    response = append_only.run(c.allow_overwrite(CURRENT_POSITION, 2))
    assert response.status == 0x02
    assert response.sense[2] & 0x0F == 0x5
    refused(append_only, c.write(b"x"))


@appends
def test_an_allowance_can_be_taken_back(append_only: Device) -> None:
    """SSC-5 7.1: ALLOW OVERWRITE 0h."""
    append_only.good(c.allow_overwrite(CURRENT_POSITION, 0))
    append_only.good(c.allow_overwrite(0))
    refused(append_only, c.write(b"x"))


@appends
@requires("FORMAT MEDIUM")
def test_append_only_mode_refuses_a_format(append_only: Device) -> None:
    """SSC-5 4.2.27: FORMAT MEDIUM takes everything away; 2h allows it."""
    refused(append_only, c.format_medium())
    append_only.good(c.allow_overwrite(FORMAT))
    append_only.good(c.format_medium())
    assert follows(append_only) == END


@requires("ALLOW OVERWRITE")
def test_a_reserved_allowance_is_refused(tape: Device) -> None:
    """SSC-5 7.1: ALLOW OVERWRITE 3h to Fh are reserved."""
    response = tape.run(c.allow_overwrite(7))
    assert response.status == 0x02
    assert response.sense[2] & 0x0F == 0x5
