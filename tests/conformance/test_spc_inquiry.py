"""INQUIRY and vital product data of a drive (SPC-5 6.6, 7.7; SSC-5 8.5)."""

from __future__ import annotations

import pytest

from tests.conformance import commands as c
from tests.conformance.device import Device
from tests.conformance.requirements import requires
from tests.conformance.sense import INVALID_FIELD_IN_CDB, MEDIUM_NOT_PRESENT

DESIGNATOR_HEADER_BYTES = 4


def page(drive: Device, code: int) -> bytes:
    """Return a VPD page's bytes after its header, the header checked."""
    data = drive.good(c.inquiry(code, 4096))
    assert data[1] == code
    assert int.from_bytes(data[2:4], "big") == len(data) - 4
    return data[4:]


def designators(drive: Device) -> list[tuple[int, int, int, bytes]]:
    """Return page 83h as (association, type, code set, designator)."""
    body = page(drive, 0x83)
    found = []
    while body:
        length = body[3]
        found.append((body[1] >> 4 & 3, body[1] & 0x0F, body[0] & 0x0F, body[4 : 4 + length]))
        body = body[DESIGNATOR_HEADER_BYTES + length :]
    return found


def test_the_peripheral_device_type_is_sequential_access(drive: Device) -> None:
    """SPC-5 6.6.2: PERIPHERAL DEVICE TYPE 01h, qualifier 000b for a connected unit."""
    assert drive.good(c.inquiry())[0] == 0x01


def test_the_medium_is_removable(drive: Device) -> None:
    """SPC-5 6.6.2: RMB set to one says that the medium is removable."""
    assert drive.good(c.inquiry())[1] & 0x80


def test_response_data_format_is_two(drive: Device) -> None:
    """SPC-5 6.6.2: RESPONSE DATA FORMAT shall be set to 2h."""
    assert drive.good(c.inquiry())[3] & 0x0F == 2


def test_the_version_is_a_published_spc(drive: Device) -> None:
    """SPC-5 table 149: VERSION 03h (SPC) to 07h (SPC-5)."""
    assert 0x03 <= drive.good(c.inquiry())[2] <= 0x07


def test_additional_length_counts_all_that_follows_it(drive: Device) -> None:
    """SPC-5 6.6.2: ADDITIONAL LENGTH is the length of the remaining standard INQUIRY data."""
    data = drive.good(c.inquiry())
    assert data[4] == len(data) - 5
    assert len(data) >= 36


@pytest.mark.parametrize(("start", "end"), [(8, 16), (16, 32), (32, 36)])
def test_identification_fields_are_left_aligned_ascii(drive: Device, start: int, end: int) -> None:
    """SPC-5 4.3.1: ASCII fields hold 20h to 7Eh, left-aligned, spaces behind."""
    field = drive.good(c.inquiry())[start:end]
    assert all(0x20 <= byte <= 0x7E for byte in field)
    assert field[0] != 0x20


@pytest.mark.parametrize("length", [5, 36])
def test_standard_data_is_cut_to_the_allocation_length(drive: Device, length: int) -> None:
    """SPC-5 4.2.5.6: truncation by ALLOCATION LENGTH shall not be considered an error."""
    assert drive.good(c.inquiry(length=length)) == drive.good(c.inquiry())[:length]


def test_additional_length_is_not_adjusted_by_truncation(drive: Device) -> None:
    """SPC-5 6.6.2: the relationship to the CDB's ALLOCATION LENGTH is not changed."""
    assert drive.good(c.inquiry(length=5))[4] == drive.good(c.inquiry())[4]


def test_allocation_length_zero_transfers_nothing(drive: Device) -> None:
    """SPC-5 4.2.5.6: an allocation length of zero is no error and transfers no data."""
    assert drive.good(c.inquiry(length=0)) == b""


def test_a_page_code_without_evpd_is_refused(drive: Device) -> None:
    """SPC-5 6.6.1: PAGE CODE not zero with EVPD zero: INVALID FIELD IN CDB."""
    sense = drive.check(c.inquiry().but(2, 0x80), INVALID_FIELD_IN_CDB)
    assert sense.field_pointer is None or sense.field_pointer.byte == 2


def test_a_vpd_page_that_is_not_there_is_refused(drive: Device) -> None:
    """SPC-5 6.6.1: a vital product data page that is not implemented: INVALID FIELD IN CDB."""
    sense = drive.check(c.inquiry(0x7F), INVALID_FIELD_IN_CDB)
    assert sense.field_pointer is None or sense.field_pointer.byte == 2


def test_cmddt_is_obsolete_and_refused(drive: Device) -> None:
    """SPC-3 and later: CMDDT is obsolete."""
    drive.check(c.inquiry().but(1, 0x02), INVALID_FIELD_IN_CDB)


def test_a_unit_that_is_not_there_has_qualifier_three(drive: Device) -> None:
    """SPC-5 table 146: 7Fh where the device server cannot support a unit at this LUN."""
    response = drive.session.execute(c.inquiry().cdb, data_in_bytes=255, lun=200)
    assert response.status == 0
    assert response.data[0] == 0x7F


def test_vpd_pages_are_listed_in_ascending_order(drive: Device) -> None:
    """SPC-5 7.7.16: the supported page list, in ascending order, from 00h."""
    listed = page(drive, 0x00)
    assert list(listed) == sorted(set(listed))
    assert listed[0] == 0x00


def test_every_listed_vpd_page_can_be_read(drive: Device) -> None:
    """SPC-5 7.7.16: the list is of the pages that are supported."""
    for code in page(drive, 0x00):
        assert drive.good(c.inquiry(code, 4096))[0] == 0x01
        page(drive, code)


def test_a_vpd_page_is_cut_to_the_allocation_length(drive: Device) -> None:
    """SPC-5 4.2.5.6, 7.7.1: PAGE LENGTH is not adjusted by truncation."""
    whole = drive.good(c.inquiry(0x83, 4096))
    assert drive.good(c.inquiry(0x83, 8)) == whole[:8]


def test_the_mandatory_vpd_pages_are_there(drive: Device) -> None:
    """SPC-5 7.7.1: Supported VPD Pages and Device Identification are mandatory."""
    assert {0x00, 0x83} <= set(page(drive, 0x00))


@requires(vpd_page=0x80)
def test_the_unit_serial_number_is_ascii(drive: Device) -> None:
    """SPC-5 7.7.18: PRODUCT SERIAL NUMBER, ASCII."""
    serial = page(drive, 0x80)
    assert serial
    assert all(0x20 <= byte <= 0x7E for byte in serial)


def test_the_unit_has_a_designator_of_its_own(drive: Device) -> None:
    """SPC-5 7.7.6.2.2: at least one of T10 vendor ID, EUI-64, NAA or SCSI name, association 0."""
    assert any(
        association == 0 and kind in (1, 2, 3, 8) for association, kind, _, _ in designators(drive)
    )


def test_designators_agree_with_their_code_set(drive: Device) -> None:
    """SPC-5 table 485: code set 2 is printable ASCII, 1 binary."""
    for _, _, code_set, designator in designators(drive):
        assert designator
        if code_set == 2:
            assert all(0x20 <= byte <= 0x7E for byte in designator)


def test_naa_designators_have_the_length_of_their_format(drive: Device) -> None:
    """SPC-5 7.7.6.6: NAA 2, 3 and 5 are 8 bytes long, NAA 6 is 16."""
    for _, kind, _, designator in designators(drive):
        if kind == 3:
            assert len(designator) == (16 if designator[0] >> 4 == 6 else 8)


@requires(vpd_page=0x80)
def test_the_t10_designator_begins_with_the_vendor(drive: Device) -> None:
    """SPC-5 7.7.6.4: T10 VENDOR IDENTIFICATION, then what makes it unique."""
    vendor = drive.good(c.inquiry())[8:16]
    for association, kind, _, designator in designators(drive):
        if (association, kind) == (0, 1):
            assert designator.startswith(vendor)


@requires(vpd_page=0x83)
def test_the_target_port_is_designated(drive: Device) -> None:
    """SPC-5 7.7.6.2.3: for the target port, a designator with association 01b."""
    assert any(association == 1 for association, _, _, _ in designators(drive))


@requires(vpd_page=0x85)
def test_management_network_addresses_are_whole_descriptors(drive: Device) -> None:
    """SPC-5 7.7.10: descriptors of 4 bytes and a NETWORK ADDRESS, a multiple of four long."""
    body = page(drive, 0x85)
    while body:
        length = int.from_bytes(body[2:4], "big")
        assert length % 4 == 0
        assert len(body) >= 4 + length
        body = body[4 + length :]


@requires(vpd_page=0x86)
def test_extended_inquiry_is_sixty_four_bytes(drive: Device) -> None:
    """SPC-5 7.7.8: PAGE LENGTH 003Ch."""
    assert len(page(drive, 0x86)) == 0x3C


@requires(vpd_page=0x87)
def test_mode_page_policies_are_of_pages_that_exist(drive: Device) -> None:
    """SPC-5 7.7.11: descriptors of four bytes; 3Fh/FFh stands for all other pages."""
    body = page(drive, 0x87)
    assert len(body) % 4 == 0
    for at in range(0, len(body), 4):
        code, subpage = body[at] & 0x3F, body[at + 1]
        if (code, subpage) != (0x3F, 0xFF):
            drive.good(c.mode_sense_10(code, subpage))


@requires(vpd_page=0x88)
def test_scsi_ports_have_a_relative_port_and_a_name(drive: Device) -> None:
    """SPC-5 7.7.14: RELATIVE PORT IDENTIFIER not zero, and the port's designators."""
    body = page(drive, 0x88)
    assert body
    while body:
        assert int.from_bytes(body[2:4], "big") != 0
        initiator_bytes = int.from_bytes(body[6:8], "big")
        at = 8 + initiator_bytes + 4
        port_bytes = int.from_bytes(body[at - 2 : at], "big")
        assert port_bytes
        body = body[at + port_bytes :]


@requires(vpd_page=0x90)
def test_protocol_specific_unit_information_is_of_iscsi(drive: Device) -> None:
    """SPC-5 7.7.12: descriptors name the protocol, 5h for iSCSI."""
    body = page(drive, 0x90)
    while body:
        assert body[2] & 0x0F == 5
        body = body[8 + int.from_bytes(body[6:8], "big") :]


@requires(vpd_page=0xB0)
def test_sequential_access_capabilities_show_no_worm_for_a_plain_volume(tape: Device) -> None:
    """SSC-5 8.5: WORM (byte 4, bit 0) is set for a mounted WORM volume."""
    assert page(tape, 0xB0)[0] & 0x01 == 0


@requires(vpd_page=0xB1)
def test_the_manufacturer_serial_number_is_ascii(drive: Device) -> None:
    """SSC-5 8.5: MANUFACTURER-ASSIGNED SERIAL NUMBER, ASCII."""
    serial = page(drive, 0xB1)
    assert serial
    assert all(0x20 <= byte <= 0x7E for byte in serial)


@requires(vpd_page=0xB2)
def test_supported_tape_alert_flags_are_eight_bytes(drive: Device) -> None:
    """SSC-5 8.5: 64 flags, PAGE LENGTH 0008h."""
    assert len(page(drive, 0xB2)) == 8


@requires(vpd_page=0xB3)
def test_the_automation_serial_number_is_ascii(drive: Device) -> None:
    """SSC-5 8.5: AUTOMATION DEVICE SERIAL NUMBER, that of the changer."""
    assert all(0x20 <= byte <= 0x7E for byte in page(drive, 0xB3))


@requires(vpd_page=0xB4)
def test_the_data_transfer_element_address_fits(drive: Device) -> None:
    """SSC-5 8.5: the element address under which the changer knows this drive."""
    body = page(drive, 0xB4)
    assert 2 <= len(body) <= 4


@requires(vpd_page=0xB5)
def test_methods_of_block_protection_follow_four_reserved_bytes(drive: Device) -> None:
    """SSC-5 8.5: descriptors from byte 8 on, the length of each before it."""
    body = page(drive, 0xB5)
    assert body[:4] == bytes(4)
    at = 4
    while at < len(body):
        method, information_bytes = body[at + 1], body[at + 2] & 0x3F
        assert method in (1, 2, 0xF0)
        assert information_bytes == 4
        at += 1 + body[at]
    assert at == len(body) > 4


@requires("LOAD UNLOAD")
def test_inquiry_is_good_without_a_volume(tape: Device) -> None:
    """SPC-5 6.6.1: INQUIRY data shall be returned without media access."""
    tape.good(c.load_unload(0))
    tape.check(c.test_unit_ready(), MEDIUM_NOT_PRESENT)
    tape.good(c.inquiry())
    tape.good(c.load_unload(c.LOAD))
