"""LOAD UNLOAD, REPORT DENSITY SUPPORT, READ MEDIA SERIAL NUMBER (SSC-5 7.4, 7.11; SPC-5)."""

from __future__ import annotations

import pytest

from tests.conformance import commands as c
from tests.conformance.device import CHECK_CONDITION, GOOD, Device
from tests.conformance.recording import FILEMARK, block, follows, record
from tests.conformance.requirements import requires
from tests.conformance.sense import (
    INVALID_FIELD_IN_CDB,
    MEDIUM_NOT_PRESENT,
    SenseData,
)

loads = requires("LOAD UNLOAD")
densities = requires("REPORT DENSITY SUPPORT")
DESCRIPTOR_BYTES = 52


# -- LOAD UNLOAD -----------------------------------------------------------------------------
@loads
@pytest.mark.parametrize("immediate", [False, True])
def test_an_unloaded_volume_is_not_ready(tape: Device, immediate: bool) -> None:
    """SSC-5 7.4: LOAD zero: unloaded."""
    tape.good(c.load_unload(0, immediate=immediate))
    tape.wait(c.test_unit_ready(), lambda response: response.status == CHECK_CONDITION, 30.0)
    tape.check(c.test_unit_ready(), MEDIUM_NOT_PRESENT)
    tape.good(c.load_unload(c.LOAD))


@loads
@pytest.mark.parametrize("immediate", [False, True])
def test_a_loaded_volume_is_ready(tape: Device, immediate: bool) -> None:
    """SSC-5 7.4: LOAD one: the volume is loaded."""
    tape.good(c.load_unload(0))
    tape.good(c.load_unload(c.LOAD, immediate=immediate))
    tape.wait(c.test_unit_ready(), lambda response: response.status == GOOD, 30.0)


@loads
def test_a_volume_is_loaded_at_its_beginning(tape: Device) -> None:
    """SSC-5 7.4: positioned at BOP of the default partition."""
    record(tape, 0, 1)
    assert follows(tape) == 0
    tape.good(c.load_unload(0))
    tape.good(c.load_unload(c.LOAD))
    assert follows(tape) == 0


@loads
def test_a_load_of_a_loaded_volume_goes_to_its_beginning(tape: Device) -> None:
    """SSC-5 7.4: LOAD one while it is loaded."""
    record(tape, 0, 1)
    assert follows(tape) == 0
    tape.good(c.load_unload(c.LOAD))
    assert follows(tape) == 0


@loads
def test_an_unload_keeps_what_was_written(tape: Device) -> None:
    """SSC-5 7.4: buffered objects are written before the unload."""
    tape.good(c.write(block(0)))
    tape.good(c.write_filemarks(1, immediate=True))
    tape.good(c.write(block(2)))
    tape.good(c.load_unload(0))
    tape.good(c.load_unload(c.LOAD))
    assert [follows(tape) for _ in range(3)] == [0, FILEMARK, 2]


@loads
def test_a_second_unload_is_good(tape: Device) -> None:
    """SSC-5 7.4: nothing is loaded any more."""
    tape.good(c.load_unload(0))
    tape.good(c.load_unload(0))
    tape.good(c.load_unload(c.LOAD))


@loads
def test_a_load_to_end_of_tape_is_refused(tape: Device) -> None:
    """SSC-5 7.4: EOT one and LOAD one: INVALID FIELD IN CDB."""
    tape.check(c.load_unload(c.LOAD | c.EOT), INVALID_FIELD_IN_CDB)


@loads
def test_retension_is_no_error(tape: Device) -> None:
    """SSC-5 7.4: RETEN is ignored where it means nothing."""
    tape.good(c.load_unload(c.LOAD | c.RETENSION))
    assert tape.run(c.test_unit_ready()).status == GOOD


@loads
def test_the_nexus_that_loads_gets_no_attention(tape: Device) -> None:
    """SSC-5 7.4: the attention is for all other I_T nexuses."""
    tape.good(c.load_unload(0))
    tape.good(c.load_unload(c.LOAD))
    assert tape.attentions() == []


# -- REPORT DENSITY SUPPORT ------------------------------------------------------------------
def density_descriptors(data: bytes) -> list[bytes]:
    """Take AVAILABLE DENSITY SUPPORT LENGTH, which counts two reserved bytes too, apart."""
    assert int.from_bytes(data[:2], "big") == len(data) - 2
    body = data[4:]
    return [body[at : at + DESCRIPTOR_BYTES] for at in range(0, len(body), DESCRIPTOR_BYTES)]


@densities
def test_densities_are_descriptors_of_fifty_two_bytes(drive: Device) -> None:
    """SSC-5 7.11.3: a density support data block descriptor, DLV zero."""
    rows = density_descriptors(drive.good(c.report_density_support()))
    assert rows
    assert all(len(row) == DESCRIPTOR_BYTES and not row[2] & 0x01 for row in rows)


@densities
def test_densities_ascend_by_their_primary_code(drive: Device) -> None:
    """SSC-5 7.11.3: in numerical ascending order of PRIMARY DENSITY CODE."""
    codes = [row[0] for row in density_descriptors(drive.good(c.report_density_support()))]
    assert codes == sorted(codes)


@densities
def test_one_density_is_the_default(drive: Device) -> None:
    """SSC-5 7.11.3: DEFLT one in one descriptor."""
    rows = density_descriptors(drive.good(c.report_density_support()))
    assert sum(bool(row[2] & 0x20) for row in rows) == 1


@densities
def test_the_default_density_can_be_written(drive: Device) -> None:
    """SSC-5 7.11.3: WRTOK one."""
    rows = density_descriptors(drive.good(c.report_density_support()))
    assert all(row[2] & 0x80 for row in rows if row[2] & 0x20)


@densities
def test_density_texts_are_ascii(drive: Device) -> None:
    """SSC-5 7.11.3: ASSIGNING ORGANIZATION, DENSITY NAME, DESCRIPTION; left-aligned."""
    for row in density_descriptors(drive.good(c.report_density_support())):
        assert all(0x20 <= byte <= 0x7E for byte in row[16:52])
        assert row[16] != 0x20


@densities
def test_the_density_of_the_volume_is_that_of_the_mode_header(tape: Device) -> None:
    """SSC-5 7.11: MEDIA one: densities of the mounted volume."""
    rows = density_descriptors(tape.good(c.report_density_support(media=True)))
    code = tape.good(c.mode_sense_6(0))[4]
    assert code in [row[0] for row in rows]


@densities
def test_the_capacity_of_the_volume_is_told_in_megabytes(tape: Device) -> None:
    """SSC-5 7.11.3: CAPACITY, in 10^6 bytes, not zero for a volume."""
    rows = density_descriptors(tape.good(c.report_density_support(media=True)))
    assert all(int.from_bytes(row[12:16], "big") for row in rows)


@densities
@loads
def test_the_density_of_no_volume_is_not_ready(tape: Device) -> None:
    """SSC-5 7.11: MEDIA one without a volume: NOT READY, MEDIUM NOT PRESENT."""
    tape.good(c.load_unload(0))
    tape.check(c.report_density_support(media=True), MEDIUM_NOT_PRESENT)
    tape.good(c.load_unload(c.LOAD))


@densities
def test_densities_are_cut_to_the_allocation_length(drive: Device) -> None:
    """SSC-5 7.11: AVAILABLE DENSITY SUPPORT LENGTH is not adjusted."""
    whole = drive.good(c.report_density_support())
    assert drive.good(c.report_density_support(length=20)) == whole[:20]


@densities
def test_medium_types_are_told_or_refused(drive: Device) -> None:
    """SSC-5 7.11: MEDIUM TYPE one: 56 byte descriptors, or INVALID FIELD IN CDB."""
    response = drive.run(c.report_density_support(medium_type=True))
    if response.status == GOOD:
        assert (len(response.data) - 4) % 56 == 0
    else:
        assert SenseData.decode(response.sense).code == INVALID_FIELD_IN_CDB


# -- serial number ---------------------------------------------------------------------------
@requires("READ MEDIA SERIAL NUMBER")
def test_the_serial_number_of_the_volume_is_a_multiple_of_four_long(tape: Device) -> None:
    """SPC-5 6.19: MEDIA SERIAL NUMBER LENGTH, a multiple of four; ASCII, padded."""
    data = tape.good(c.read_media_serial_number())
    length = int.from_bytes(data[:4], "big")
    assert length == len(data) - 4
    assert length
    assert length % 4 == 0
