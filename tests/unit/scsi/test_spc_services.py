"""What SPC gives every device beside its own commands: clock, names, ports, tests, log pages."""

from __future__ import annotations

import struct

import pytest

from tapectl.scsi.logical_unit import LogicalUnit
from tapectl.scsi.nonvolatile import VolatileMemory
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.ssc import TapeDrive
from tests.support.scsi_initiator import Initiator
from tests.support.units import make_changer, make_drive

DATA, DESCRIPTOR, ECHO, ECHO_DESCRIPTOR = 0x02, 0x03, 0x0A, 0x0B


@pytest.fixture(params=[make_drive, make_changer], ids=["drive", "changer"])
def unit(request: pytest.FixtureRequest) -> LogicalUnit:
    made: LogicalUnit = request.param()
    return made


@pytest.fixture
def host(unit: LogicalUnit) -> Initiator:
    return Initiator(unit)


def maintenance(opcode: int, action: int, length: int, last: int = 0) -> bytes:
    return struct.pack(">BB4xIBx", opcode, action, length, last)


# REPORT SUPPORTED OPERATION CODES.


def test_cdb_usage_data_hold_the_service_action(host):
    for opcode, action in ((0x5E, 3), (0xA3, 0x0C), (0x5F, 7)):
        cdb = struct.pack(">BBBBHI2x", 0xA3, 0x0C, 2, opcode, action, 255)
        usage = host.good(cdb)[4:]
        assert usage[0] == opcode
        assert usage[1] & 0x1F == action


def test_timeouts_come_with_one_command_too(host):
    data = host.good("a30c81000000000000ff0000")
    assert data[1] == 0x80 | 0x03
    assert data[4:10] == bytes(6)
    nominal, recommended = struct.unpack(">II", data[14:22])
    assert (nominal, recommended > 0) == (0, True)


def test_attentions_come_before_supported_commands(unit):
    # SAM-6 5.14: INQUIRY, REPORT LUNS and REQUEST SENSE alone pass an attention.
    host = Initiator(unit)
    unit.logical_unit_reset()
    assert host.check(maintenance(0xA3, 0x0C, 255)).key == 6
    host.good(maintenance(0xA3, 0x0C, 255))


def test_service_actions_that_are_not_there(host):
    for opcode, action in ((0xA3, 0x11), (0xA3, 0x1F), (0xA4, 0x0A)):
        refused = host.check(maintenance(opcode, action, 255))
        assert refused.code == (5, 0x24, 0)
        assert refused.specific == b"\xcc\0\x01"


def test_supported_task_management_functions_with_the_extended_reply(host):
    data = host.good("a30d80000000000000100000")
    assert len(data) == 16
    assert data[3] == 12


def test_no_management_protocol_is_there_but_the_list_of_them(host):
    assert host.good(maintenance(0xA3, 0x10, 255)) == bytes(6) + b"\0\1\0"
    assert host.good(maintenance(0xA3, 0x10, 8)) == bytes(6) + b"\0\1"
    refused = host.check("a3101000000000000010")
    assert refused.code == (5, 0x24, 0)
    assert refused.specific == b"\xc0\0\x02"
    assert host.check("a3100000000100000010").specific == b"\xc0\0\x03"


# Timestamps.


class Clock:
    now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


def timestamp(host: Initiator) -> tuple[int, int]:
    """Return origin and milliseconds."""
    data = host.good(maintenance(0xA3, 0x0F, 255))
    assert data[:2] == b"\0\x0a"
    assert len(data) == 12
    return data[2] & 7, int.from_bytes(data[4:10], "big")


def test_the_clock_is_right_until_it_is_set_and_goes_on_then():
    clock = Clock()
    unit = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD5"], serial="TD00000001", now_ms=clock)
    host, other = Initiator(unit), Initiator(unit, "other")
    assert timestamp(host) == (3, clock.now)
    host.good(maintenance(0xA4, 0x0F, 12), bytes(4) + (1000).to_bytes(6, "big") + bytes(2))
    assert other.check("00").code == (6, 0x2A, 0x10)
    clock.now += 5
    assert timestamp(host) == (2, 1005)


@pytest.mark.parametrize("length", [1, 11, 13])
def test_a_timestamp_has_12_bytes(host, length):
    assert host.check(maintenance(0xA4, 0x0F, length), bytes(length)).code == (5, 0x1A, 0)
    assert timestamp(host)[0] == 3


# Identifying information.


@pytest.mark.parametrize("make", [make_drive, make_changer])
def test_names_are_kept(make):
    memory = VolatileMemory()
    unit = make(memory)
    host, other = Initiator(unit), Initiator(unit, "other")
    assert host.good(maintenance(0xA3, 5, 255)) == bytes(4)
    host.good(maintenance(0xA4, 6, 5), b"\0rack")
    assert other.check("00").code == (6, 0x3F, 5)
    host.good(maintenance(0xA4, 6, 9, 2 << 1), "büro 1\0".encode()[:9].ljust(9, b"\0"))

    host = Initiator(make(memory))
    assert host.good(maintenance(0xA3, 5, 255)) == b"\0\0\0\5\0rack"
    assert host.good(maintenance(0xA3, 5, 255, 2 << 1))[4:] == "büro 1\0\0".encode()
    assert host.good(maintenance(0xA3, 5, 6)) == b"\0\0\0\5\0r"
    host.good(maintenance(0xA4, 6, 0))
    assert host.good(maintenance(0xA3, 5, 255)) == bytes(4)


def test_kinds_of_names(host):
    kinds = host.good(maintenance(0xA3, 5, 255, 0x7F << 1))
    assert kinds == bytes.fromhex("0000 0008 0000 0200 0400 0100")
    assert host.check(maintenance(0xA3, 5, 255, 1 << 1)).code == (5, 0x24, 0)
    assert host.check(maintenance(0xA4, 6, 4, 0x7F << 1), bytes(4)).code == (5, 0x24, 0)
    assert host.check(maintenance(0xA4, 6, 513), bytes(513)).code == (5, 0x24, 0)
    assert host.check(maintenance(0xA4, 6, 3, 2 << 1), b"abc").code == (5, 0x26, 0)
    assert host.check(maintenance(0xA4, 6, 3, 2 << 1), b"\xff\xff\0").code == (5, 0x26, 0)


# Target ports.


def test_the_port_group_is_that_of_device_identification():
    host = Initiator(make_drive())
    assert host.good("12000000ff")[5] >> 4 & 3 == 1  # TPGS
    groups = host.good(maintenance(0xA3, 0x0A, 255))
    assert groups == bytes.fromhex("0000000c 00 01 0001 00 00 00 01 0000 0001")
    extended = host.good(maintenance(0xA3, 0x2A, 255))
    assert extended == bytes.fromhex("00000010 10000000") + groups[4:]
    page, at, found = host.good("12018300ff"), 4, {}
    while at < len(page):
        found[page[at + 1] & 0x0F] = page[at + 4 : at + 4 + page[at + 3]]
        at += 4 + page[at + 3]
    assert found[4] == groups[12:16]
    assert found[5] == b"\0\0" + groups[6:8]
    assert host.check(maintenance(0xA3, 0x4A, 255)).code == (5, 0x24, 0)


# Diagnostics.


def test_the_default_self_test_alone_is_there(host):
    host.good("1d04")
    for code in (1, 2, 4, 5, 6):
        assert host.check(bytes((0x1D, code << 5))).code == (5, 0x24, 0)


def test_the_list_of_diagnostic_pages(host):
    assert host.good("1c0100ffff").hex() == "000000020080"
    assert host.good("1c0000ffff").hex() == "000000020080"
    assert host.check("1c0140ffff").code == (5, 0x24, 0)
    host.good("1d10000004", bytes(4))


def test_a_dump_is_forced_and_read_to_its_end(host):
    # What LTFS does after an error; it takes any error here for a reason to begin again.
    host.good("1d10000008", bytes.fromhex("80000004 01600000"))
    assert host.good("3c030100000000000400") == bytes(4)


@pytest.mark.parametrize(
    ("cdb", "data", "code"),
    [
        ("1d00000004", "00000000", (5, 0x24, 0)),  # PF clear
        ("1d14000004", "00000000", (5, 0x24, 0)),  # a page with a self-test
        ("1d10000004", "40000000", (5, 0x26, 0)),
        ("1d10000004", "00000001", (5, 0x26, 0)),
        ("1d10000008", "8000000401", (5, 0x1A, 0)),
        ("1d10000003", "800000", (5, 0x1A, 0)),
    ],
)
def test_diagnostics_that_are_refused(host, cdb, data, code):
    assert host.check(cdb, bytes.fromhex(data)).code == code


# Buffers.


def buffer(opcode: int, mode: int, length: int, *, number: int = 0, offset: int = 0) -> bytes:
    return (
        bytes((opcode, mode, number))
        + offset.to_bytes(3, "big")
        + length.to_bytes(3, "big")
        + b"\0"
    )


def test_the_data_buffer_keeps_what_is_written_to_it(host):
    other = Initiator(host.unit, "other")
    size = int.from_bytes(host.good(buffer(0x3C, DESCRIPTOR, 4))[1:], "big")
    assert host.good(buffer(0x3C, DATA, size + 100)) == bytes(size)
    host.good(buffer(0x3B, DATA, 4, offset=size - 4), b"last")
    host.good(buffer(0x3B, DATA, 5), b"first")
    assert other.good(buffer(0x3C, DATA, 5)) == b"first"
    assert other.good(buffer(0x3C, DATA, 9, offset=size - 4)) == b"last"
    assert host.check(buffer(0x3B, DATA, 5, offset=size - 4), b"beyon").code == (5, 0x24, 0)
    assert host.check(buffer(0x3C, DATA, 1, offset=size + 1)).code == (5, 0x24, 0)
    assert host.check(buffer(0x3C, DATA, 1, number=1)).code == (5, 0x24, 0)


def test_each_nexus_has_an_echo_buffer(host):
    other = Initiator(host.unit, "other")
    assert host.good(buffer(0x3C, ECHO_DESCRIPTOR, 4)) == b"\x01\0\x10\0"
    assert host.check(buffer(0x3C, ECHO, 4)).code == (5, 0x2C, 0)
    host.good(buffer(0x3B, ECHO, 4), b"mine")
    other.good(buffer(0x3B, ECHO, 5), b"yours")
    assert host.good(buffer(0x3C, ECHO, 255)) == b"mine"
    host.unit.nexus_lost(host.nexus)
    assert host.check(buffer(0x3C, ECHO, 4)).code == (5, 0x2C, 0)
    assert other.check(buffer(0x3B, ECHO, 4097), bytes(4097)).code == (5, 0x24, 0)


@pytest.mark.parametrize("mode", [0x04, 0x05, 0x06, 0x07, 0x0D, 0x0E, 0x0F, 0x1A])
def test_microcode_is_not_taken(host, mode):
    before = host.good("12000000ff")
    assert host.check(buffer(0x3B, mode, 4), b"code").code == (5, 0x24, 0)
    assert host.good("12000000ff") == before
    assert host.check(buffer(0x3C, mode, 4)).code == (5, 0x24, 0)


# Log pages.


def log_sense(host: Initiator, page: int, control: int = 1, subpage: int = 0) -> bytes:
    return host.good(bytes((0x4D, 0, control << 6 | page, subpage, 0, 0, 0, 0xFF, 0xFF, 0)))


def log_select(control: int, page: int, data: bytes = b"", *, reset: bool = False) -> bytes:
    head = bytes((0x4C, 0x02 if reset else 0, control << 6 | page, 0, 0, 0, 0))
    return head + len(data).to_bytes(2, "big") + b"\0"


@pytest.fixture
def tape() -> Initiator:
    host = Initiator(make_drive())
    host.write(bytes(1000))
    return host


def test_counters_have_thresholds_that_are_never_met_and_defaults(tape):
    cumulative = log_sense(tape, 0x0C)
    assert cumulative[:8] == log_sense(tape, 0x0C, 0)[:8]
    assert set(log_sense(tape, 0x0C, 0)[8:16]) == {0xFF}
    assert log_sense(tape, 0x0C, 0) == log_sense(tape, 0x0C, 2)
    assert not any(log_sense(tape, 0x0C, 3)[8:16])
    assert len(log_sense(tape, 0x0C, 3)) == len(cumulative)


def test_lists_are_the_same_for_every_control(host):
    assert len({log_sense(host, 0x2E, control) for control in range(4)}) == 1
    assert len({log_sense(host, 0x00, control) for control in range(4)}) == 1


@pytest.mark.parametrize("flags", [0x01, 0x02])
def test_saving_and_changed_parameters_alone_are_refused(host, flags):
    assert host.check(bytes((0x4D, flags, 0x40, 0, 0, 0, 0, 0, 255, 0))).code == (5, 0x24, 0)


@pytest.mark.parametrize("cdb", [log_select(1, 0x0C, reset=True), log_select(3, 0x0C), "4c02"])
def test_counters_are_reset_by_page_and_all_at_once(tape, cdb):
    other = Initiator(tape.unit, "other")
    assert any(log_sense(tape, 0x0C)[8:16])
    tape.good(cdb)
    assert not any(log_sense(tape, 0x0C)[8:16])
    assert other.check("00").code == (6, 0x2A, 2)


def test_resetting_what_is_not_reset_tells_nobody(tape):
    other = Initiator(tape.unit, "other")
    tape.good(log_select(1, 0x11, reset=True))
    tape.good(log_select(0, 0x0C))
    other.good("00")
    assert any(log_sense(tape, 0x0C)[8:16])
    assert tape.check(log_select(1, 0x3C, reset=True)).code == (5, 0x24, 0)


def test_a_parameter_list_may_say_what_is_so(tape):
    page = log_sense(tape, 0x0C)
    tape.good(log_select(1, 0, page), page)
    changed = bytearray(page)
    changed[15] ^= 1
    assert tape.check(log_select(1, 0, page), bytes(changed)).code == (5, 0x26, 0)
    assert tape.check(log_select(1, 0, page, reset=True), page).code == (5, 0x24, 0)
    assert tape.check(log_select(1, 0x0C, page), page).code == (5, 0x24, 0)
    assert tape.check(log_select(1, 0, page), page[:-1]).code == (5, 0x1A, 0)
    assert log_sense(tape, 0x0C) == page


# Prevention.


def test_removal_is_prevented_for_each_nexus():
    unit = make_drive()
    one, two = Initiator(unit, "one"), Initiator(unit, "two")
    one.good("1e0000000100")
    two.good("1e0000000100")
    one.good("1e0000000000")
    assert one.check("1b").code == (5, 0x53, 2)
    unit.nexus_lost("two")
    one.good("1b")
    for persistent in (2, 3):  # obsolete
        assert one.check(bytes((0x1E, 0, 0, 0, persistent))).code == (5, 0x24, 0)
