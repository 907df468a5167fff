"""What both devices answer alike: identity, attentions, reservations, mode and log pages."""

from __future__ import annotations

import struct

import pytest

from tapectl.scsi.changer_personality import CHANGER_PERSONALITIES
from tapectl.scsi.logical_unit import LogicalUnit, Status
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.smc import MediaChanger
from tapectl.scsi.ssc import TapeDrive
from tests.support.memory_cartridge import MemoryCartridge
from tests.support.memory_library import MemoryLibrary
from tests.support.scsi_initiator import Initiator, ReceivedSense

IQN = "iqn.2025-01.test:gw-tapedrive-01"


def drive() -> TapeDrive:
    unit = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD5"], serial="TD00000001", target_name=IQN)
    unit.load(MemoryCartridge())
    return unit


def changer() -> MediaChanger:
    personality = CHANGER_PERSONALITIES["AWS-Gateway-VTL"]
    library = MemoryLibrary(personality.ranges(2, 4, 2))
    return MediaChanger(personality, library, serial="MC00000001")


@pytest.fixture(params=[drive, changer])
def unit(request: pytest.FixtureRequest) -> LogicalUnit:
    made: LogicalUnit = request.param()
    return made


@pytest.fixture
def tape() -> Initiator:
    return Initiator(drive())


def test_standard_inquiry(unit):
    data = Initiator(unit).good("12000000ff")
    assert data[0] in (0x01, 0x08)
    assert data[1] == 0x80
    assert data[4] == len(data) - 5
    assert data[3] & 0x0F == 2


def test_inquiry_names(tape):
    data = tape.good("12000000ff")
    assert data[8:36] == b"IBM     ULT3580-TD5     H5A1"
    assert data[32:36] >= b"B170"


def test_inquiry_is_cut_to_its_allocation_length(unit):
    assert len(Initiator(unit).good("1200000005")) == 5


def test_every_listed_vpd_page_names_itself(unit):
    host = Initiator(unit)
    listing = host.good("12010000ff")
    codes = listing[4:]
    assert {0x00, 0x80, 0x83} <= set(codes)
    assert sorted(codes) == list(codes)
    for code in codes:
        page = host.good(bytes((0x12, 1, code, 0, 255, 0)))
        assert page[1] == code
        assert page[0] == listing[0]
        assert struct.unpack_from(">H", page, 2)[0] == len(page) - 4


def test_an_unknown_vpd_page_is_refused(unit):
    sense = Initiator(unit).check("1201fe00ff")
    assert sense.code == (5, 0x24, 0)
    assert sense.specific == b"\xc0\0\x02"


def test_serial_numbers_agree(tape):
    assert tape.good("12018000ff")[4:] == b"TD00000001"
    page = tape.good("12018300ff")
    assert page[4:8] == bytes((2, 1, 0, 34))
    assert page[8:42] == b"IBM     ULT3580-TD5     TD00000001"
    assert IQN.encode() in page


def test_identifiers_of_two_drives_differ():
    pages = set()
    for serial in ("TD00000001", "TD00000002"):
        unit = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD5"], serial=serial)
        pages.add(Initiator(unit).good("12018300ff")[42:])
    assert len(pages) == 2


def test_other_luns(unit):
    host = Initiator(unit)
    assert host.good("12000000ff", lun=1)[0] == 0x7F
    assert len(host.good("a00000000000000000ff", lun=1)) == 16
    assert host.check("00", lun=1).code == (5, 0x25, 0)
    assert host.good("0300000012", lun=1)[12:14] == b"\x25\0"


def test_unknown_opcode_and_service_action(unit):
    host = Initiator(unit)
    assert host.check("ff").code == (5, 0x20, 0)
    assert host.check("a31e").code == (5, 0x24, 0)


def test_naca_is_refused(unit):
    assert Initiator(unit).check("000000000004").code == (5, 0x24, 0)


def test_report_luns_names_lun_0_alone(unit):
    data = Initiator(unit).good("a00000000000000000ff")
    assert data == b"\0\0\0\x08" + bytes(12)


def test_attentions_are_not_told_to_what_may_pass_them(unit):
    host = Initiator(unit)
    unit.logical_unit_reset()
    host.good("12000000ff")
    host.good("a00000000000000000ff")
    assert host.check("00").code == (6, 0x29, 3)
    host.good("00")


def test_request_sense_reports_and_clears_an_attention(unit):
    host = Initiator(unit)
    unit.logical_unit_reset()
    assert host.good("0300000012")[2:14].hex() == "06000000000a000000002903"
    host.good("00")
    assert host.good("0301000012")[:4].hex() == "72000000"


def test_reserve_6_keeps_others_out_until_released(unit):
    one, two = Initiator(unit, "one"), Initiator(unit, "two")
    one.good("16")
    one.good("00")
    assert two.send("00").status is Status.RESERVATION_CONFLICT
    assert two.send("16").status is Status.RESERVATION_CONFLICT
    two.good("12000000ff")
    two.good("17")  # of someone else's reservation: no error, no effect
    assert two.send("00").status is Status.RESERVATION_CONFLICT
    one.good("17")
    two.good("00")


def test_a_lost_nexus_loses_its_reservation(unit):
    one, two = Initiator(unit, "one"), Initiator(unit, "two")
    one.good("16")
    unit.nexus_lost("one")
    two.good("00")


def prout(action: int, *, kind: int = 3, key: int = 0, new: int = 0) -> tuple[bytes, bytes]:
    cdb = bytes((0x5F, action, kind, 0, 0, 0, 0, 0, 24, 0))
    return cdb, struct.pack(">QQ8x", key, new)


def test_persistent_reservation_from_registration_to_release(unit):
    one, two = Initiator(unit, "one,i,0x01"), Initiator(unit, "two")
    one.good(*prout(0, new=0xABC))
    one.good(*prout(1, key=0xABC))
    assert two.send("4c").status is Status.RESERVATION_CONFLICT
    two.good("00")
    keys = one.good("5e000000000000ffff")
    assert keys == struct.pack(">IIQ", 1, 8, 0xABC)
    held = one.good("5e010000000000ffff")
    assert held == struct.pack(">IIQ5xB2x", 1, 16, 0xABC, 3)
    assert b"one,i,0x01" in one.good("5e030000000000ffff")
    assert two.send(*prout(2, key=0)).status is Status.RESERVATION_CONFLICT
    one.good(*prout(2, key=0xABC))
    one.good(*prout(0, key=0xABC))
    assert one.good("5e000000000000ffff") == struct.pack(">II", 2, 0)
    two.good("4c")


def test_persistent_reservations_outlive_the_nexus(unit):
    one, two = Initiator(unit, "one"), Initiator(unit, "two")
    one.good(*prout(6, new=1))
    one.good(*prout(1, key=1))
    unit.nexus_lost("one")
    unit.logical_unit_reset()
    two.send("00")
    assert two.send("4c").status is Status.RESERVATION_CONFLICT


def test_preempting_takes_the_reservation_over(unit):
    one, two = Initiator(unit, "one"), Initiator(unit, "two")
    one.good(*prout(6, new=1))
    one.good(*prout(1, key=1))
    two.good(*prout(6, new=2))
    two.good(*prout(4, key=2, new=1))
    assert one.check("00").code == (6, 0x2A, 5)
    assert one.send("4c").status is Status.RESERVATION_CONFLICT
    two.good("4c")


def test_registrants_share_a_registrants_only_reservation(unit):
    one, two, three = (Initiator(unit, name) for name in ("one", "two", "three"))
    one.good(*prout(6, new=1))
    two.good(*prout(6, new=2))
    one.good(*prout(1, key=1, kind=6))
    two.good("4c")
    assert three.send("4c").status is Status.RESERVATION_CONFLICT
    one.good(*prout(2, key=1, kind=6))
    assert two.check("00").code == (6, 0x2A, 4)


def test_clear_tells_the_other_registrants(unit):
    one, two = Initiator(unit, "one"), Initiator(unit, "two")
    one.good(*prout(6, new=1))
    two.good(*prout(6, new=2))
    one.good(*prout(3, key=1))
    assert two.check("00").code == (6, 0x2A, 3)
    assert one.good("5e000000000000ffff")[4:] == bytes(4)


def test_write_exclusive_lets_others_read(tape):
    other = Initiator(tape.unit, "other")
    tape.good(*prout(6, new=1))
    tape.good(*prout(1, key=1, kind=1))
    assert other.check("0800000001").key == 8
    assert other.send("0a00000001", b"x").status is Status.RESERVATION_CONFLICT


def test_supported_opcodes_are_the_ones_that_are_executed(unit):
    host = Initiator(unit)
    data = host.good("a30c00000000 0000ffff")
    assert struct.unpack_from(">I", data)[0] == len(data) - 4
    for at in range(4, len(data), 8):
        opcode, _, action, _, flags, length = struct.unpack_from(">BBHBBH", data, at)
        option = 2 if flags & 1 else 1
        one = host.good(struct.pack(">BBBBHI", 0xA3, 0x0C, option, opcode, action, 255) + bytes(2))
        assert one[1] & 7 == 3
        assert struct.unpack_from(">H", one, 2)[0] == length
        assert one[4] == opcode
        assert len(one) == 4 + length


def test_supported_opcodes_with_timeouts(unit):
    data = Initiator(unit).good("a30c80000000 0000ffff")
    assert (len(data) - 4) % 20 == 0
    assert struct.unpack_from(">H", data, 12)[0] == 0x0A


def test_an_unsupported_opcode_is_reported_as_such(unit):
    assert Initiator(unit).good("a30c01ff0000 0000ffff") == bytes((0, 1, 0, 0))


def test_supported_task_management_functions(unit):
    assert Initiator(unit).good("a30d00000000 0000ffff").hex() == "da000000"


def mode_6(host: Initiator, code: int, flags: int = 0) -> bytes:
    return host.good(bytes((0x1A, flags, code, 0, 255, 0)))


def test_mode_sense_all_pages_are_whole(unit):
    host = Initiator(unit)
    for subpages in (0x00, 0xFF):
        data = host.good(bytes((0x5A, 0, 0x3F, subpages, 0, 0, 0, 0xFF, 0xFF, 0)))
        assert struct.unpack_from(">H", data)[0] == len(data) - 2
        at = 8 + struct.unpack_from(">H", data, 6)[0]
        while at < len(data):
            if data[at] & 0x40:
                assert subpages
                at += 4 + struct.unpack_from(">H", data, at + 2)[0]
            else:
                at += 2 + data[at + 1]
        assert at == len(data)


def test_changeable_values_are_as_long_as_the_current_ones(unit):
    host = Initiator(unit)
    assert len(mode_6(host, 0x3F)) == len(mode_6(host, 0x7F))
    assert host.check("1a00ff00ff").code == (5, 0x39, 0)


def test_an_unknown_mode_page_is_refused(unit):
    assert Initiator(unit).check("1a002e00ff").code == (5, 0x24, 0)


def test_mode_header_alone_is_what_st_asks_for(tape):
    data = tape.good("1a0000000c")
    assert data.hex() == "0b 58 10 08 58 000000 00 000000".replace(" ", "")


def test_block_length_is_selected_and_sensed(tape):
    tape.set_block_length(10240)
    assert tape.good("1a0000000c")[9:] == (10240).to_bytes(3, "big")


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("0000 20 00", (5, 0x26, 0)),  # buffered mode 2
        ("000010 08 46000000 00000000", (5, 0x26, 0)),  # another density
        ("000010 08 00000000 00800001", (5, 0x26, 0)),  # longer than the longest block
        ("000010 04 00000000", (5, 0x26, 0)),  # a block descriptor cut short
        ("000010 00 0f02 0000", (5, 0x26, 0)),  # a page of the wrong length
        ("000010 00 2e02 0000", (5, 0x26, 0)),  # no such page
        ("000010 00 0f0e c080", (5, 0x1A, 0)),  # a page cut short
        ("000010 08 0000", (5, 0x1A, 0)),
        ("0000", (5, 0x1A, 0)),
    ],
)
def test_wrong_mode_parameters_change_nothing(tape, parameters, code):
    before = mode_6(tape, 0x3F)
    data = bytes.fromhex(parameters)
    assert tape.check(bytes((0x15, 0x10, 0, 0, len(data), 0)), data).code == code
    assert mode_6(tape, 0x3F) == before


def test_a_bit_that_cannot_change_is_pointed_at(tape):
    data = bytearray(mode_6(tape, 0x10, 0x08))
    data[0] = 0
    data[4 + 3] ^= 0x01  # the active partition
    sense = tape.check(bytes((0x15, 0x10, 0, 0, len(data), 0)), bytes(data))
    assert sense.code == (5, 0x26, 0)
    assert sense.specific == b"\x80\0\x07"


def test_compression_is_switched_by_its_page_in_either_form(tape):
    data = bytearray(tape.good("5a000f000000 00ffff"))
    assert data[16:18] == b"\x0f\x0e"
    data[0:2] = b"\0\0"
    data[18] &= 0x7F
    tape.good(b"\x55\x10" + bytes(5) + len(data).to_bytes(2, "big"), bytes(data))
    assert mode_6(tape, 0x0F, 0x08)[6] == 0x40


def test_other_nexuses_hear_of_changed_mode_parameters(tape):
    other = Initiator(tape.unit, "other")
    tape.set_block_length(512)
    assert other.check("00").code == (6, 0x2A, 1)
    tape.set_block_length(512)
    other.good("00")
    tape.good("00")


def test_a_reset_restores_the_mode_parameters(tape):
    tape.set_block_length(512)
    tape.unit.logical_unit_reset()
    tape.check("00")
    assert tape.good("1a0000000c")[9:] == bytes(3)


def test_descriptor_sense_when_the_control_page_asks_for_it(tape):
    page = bytearray(mode_6(tape, 0x0A, 0x08))
    page[0] = 0
    page[6] |= 0x04
    tape.good(bytes((0x15, 0x10, 0, 0, len(page), 0)), bytes(page))
    reply = tape.send(Initiator.read_cdb(100))
    assert reply.sense.hex() == "7208000500 00000c 000a8000 0000000000000064".replace(" ", "")


def test_worm_shows_in_mode_and_vpd_pages():
    unit = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD5"], serial="TD00000001")
    unit.load(MemoryCartridge(worm=True))
    host = Initiator(unit)
    page = mode_6(host, 0x1D, 0x08)
    assert page[4:7].hex() == "1d1e01"
    assert page[1] == 0x5C
    assert host.good("1201b000ff")[4] == 1


def test_every_listed_log_page_is_whole(unit):
    host = Initiator(unit)
    listing = host.good("4d0040000000 00ffff")
    for code in listing[4:]:
        page = host.good(bytes((0x4D, 0, 0x40 | code, 0, 0, 0, 0, 0xFF, 0xFF, 0)))
        assert page[0] & 0x3F == code
        assert struct.unpack_from(">H", page, 2)[0] == len(page) - 4
        if code:
            at, codes = 4, []
            while at < len(page):
                codes.append(struct.unpack_from(">H", page, at)[0])
                at += 4 + page[at + 3]
            assert at == len(page)
            assert codes == sorted(codes)
    pairs = host.good("4d0040ff0000 00ffff")[4:]
    assert set(pairs[::2]) == set(listing[4:])


def test_log_pages_asked_for_by_the_guest_suites(tape):
    assert {0x02, 0x03, 0x0C, 0x11, 0x12, 0x17, 0x1B, 0x2E, 0x31} <= set(
        tape.good("4d0040000000 00ffff")[4:]
    )


def parameters(page: bytes) -> dict[int, bytes]:
    found, at = {}, 4
    while at < len(page):
        found[struct.unpack_from(">H", page, at)[0]] = page[at + 4 : at + 4 + page[at + 3]]
        at += 4 + page[at + 3]
    return found


def test_a_parameter_pointer_skips_and_refuses_what_is_beyond(tape):
    assert min(parameters(tape.good("4d006e0000 0020 ffff"))) == 0x20
    assert tape.check("4d006e0000ffff00ff").code == (5, 0x24, 0)


def test_bytes_are_counted_and_reset(tape):
    other = Initiator(tape.unit, "other")
    tape.write(bytes(1000))
    tape.rewind()
    tape.read(1000)
    page = parameters(tape.good("4d004c000000 00ffff"))
    assert int.from_bytes(page[0], "big") == int.from_bytes(page[3], "big") == 1000
    tape.good("4c02")
    assert int.from_bytes(parameters(tape.good("4d004c000000 00ffff"))[0], "big") == 0
    assert other.check("00").code == (6, 0x2A, 2)


def test_tape_alert_is_raised_by_its_event_and_cleared_by_reading():
    unit = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD5"], serial="TD00000001")
    unit.load(MemoryCartridge(write_protected=True))
    host = Initiator(unit)
    host.write(b"data")
    assert parameters(host.good("4d0052000000 00ffff"))[0].hex() == "0080000000000000"
    alerts = parameters(host.good("4d006e000000 00ffff"))
    assert len(alerts) == 64
    assert {code for code, value in alerts.items() if value != b"\0"} == {9}
    assert not any(v != b"\0" for v in parameters(host.good("4d006e000000 00ffff")).values())


def test_volume_statistics_of_the_mounted_volume(tape):
    page = parameters(tape.good("4d0057000000 00ffff"))
    assert page[0x0000] == b"\x01"
    assert page[0x0042].rstrip() == b"TAP001L5"
    assert page[0x0203][:4] == b"\x07\0\0\0"
    tape.good("1b")
    assert parameters(tape.good("4d0057000000 00ffff")) == {0: b"\0"}


def test_capacity_in_mebibytes(tape):
    page = parameters(tape.good("4d0071000000 00ffff"))
    assert int.from_bytes(page[3], "big") == 1024


def test_attributes_tell_barcode_and_capacity(tape):
    cdb = "8c00 00000000 0000 0000 0000ffff"
    data = tape.good(cdb)
    assert struct.unpack_from(">I", data)[0] == len(data) - 4
    assert b"TAP001L5".ljust(32) in data
    listing = tape.good("8c01 00000000 0000 0000 0000ffff")
    identifiers = struct.unpack(f">{(len(listing) - 4) // 2}H", listing[4:])
    assert list(identifiers) == sorted(identifiers)
    assert {0x0000, 0x0001, 0x0401, 0x0806} <= set(identifiers)
    assert len(tape.good("8c00 00000000 0000 0000 00000010")) == 16


def test_attributes_from_the_first_asked_for(tape):
    data = tape.good("8c01 00000000 0000 0400 0000ffff")
    assert struct.unpack_from(">H", data, 4)[0] == 0x0400
    assert tape.check("8c01 00000000 0000 ffff 0000ffff").code == (5, 0x24, 0)
    assert tape.check("8c00 0000000000 01 0000 0000ffff").code == (5, 0x24, 0)


def test_self_test(unit):
    host = Initiator(unit)
    host.good("1d04")
    assert host.check("1d20").code == (5, 0x24, 0)


def test_sense_encodes_what_does_not_fit_as_not_valid():
    from tapectl.scsi.sense import ASC, Sense, SenseKey

    sense = Sense(SenseKey.BLANK_CHECK, ASC.END_OF_DATA_DETECTED, information=1 << 40)
    assert ReceivedSense.decode(sense.encode_fixed()).information is None
