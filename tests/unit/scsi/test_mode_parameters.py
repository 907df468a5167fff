"""MODE SENSE and MODE SELECT (SPC-5 6.11 to 6.14): masks, controls, saving, lists of any length."""

from __future__ import annotations

import pytest

from tapectl.scsi.logical_unit import LogicalUnit
from tapectl.scsi.nonvolatile import NonvolatileMemoryError, VolatileMemory
from tests.support.scsi_initiator import Initiator
from tests.support.units import make_changer, make_drive

CURRENT, CHANGEABLE, DEFAULT, SAVED = range(4)
PF, SP, RTD = 0x10, 0x01, 0x02


@pytest.fixture(params=[make_drive, make_changer], ids=["drive", "changer"])
def unit(request: pytest.FixtureRequest) -> LogicalUnit:
    made: LogicalUnit = request.param()
    return made


@pytest.fixture
def tape() -> Initiator:
    return Initiator(make_drive())


def sense(host: Initiator, code: int, subpage: int = 0, control: int = CURRENT) -> bytes:
    """Return pages alone, from MODE SENSE(10) without block descriptor."""
    cdb = bytes((0x5A, 0x08, control << 6 | code, subpage, 0, 0, 0, 0xFF, 0xFF, 0))
    return host.good(cdb)[8:]


def select(pages: bytes, flags: int = PF) -> tuple[bytes, bytes]:
    """Return the CDB and the list of a MODE SELECT(10) without block descriptor."""
    data = bytes((0, 0, 0, 0x10, 0, 0, 0, 0)) + pages
    return bytes((0x55, flags, 0, 0, 0, 0, 0)) + len(data).to_bytes(2, "big") + b"\0", data


def split(pages: bytes) -> dict[tuple[int, int], bytes]:
    """Take pages apart, by code and subpage; the values are the bytes after the header."""
    found, at = {}, 0
    while at < len(pages):
        code = pages[at] & 0x3F
        if pages[at] & 0x40:
            subpage, length = pages[at + 1], int.from_bytes(pages[at + 2 : at + 4], "big")
            at += 4
        else:
            subpage, length = 0, pages[at + 1]
            at += 2
        found[code, subpage] = pages[at : at + length]
        at += length
    assert at == len(pages)
    return found


def exceptions(flags: int, method: int, number: int = 0) -> bytes:
    body = bytes((flags, method)) + bytes(4) + number.to_bytes(4, "big", signed=True)
    return bytes((0x1C, len(body))) + body


def test_the_drive_has_the_pages_that_an_lto_drive_has(tape):
    pages = split(sense(tape, 0x3F, 0xFF))
    assert list(pages) == sorted(pages)
    wanted = {(code, 0) for code in (0x01, 0x02, 0x0A, 0x0F, 0x10, 0x11, 0x1A, 0x1C, 0x1D)}
    assert wanted | {(0x0A, 1), (0x0A, 0xF0), (0x10, 1)} <= set(pages)
    assert {subpage for _, subpage in split(sense(tape, 0x3F))} == {0}
    assert set(split(sense(tape, 0x0A, 0xFF))) == {(0x0A, 0), (0x0A, 1), (0x0A, 0xF0)}


def test_every_control_shows_pages_of_the_same_length(unit):
    host = Initiator(unit)
    shapes = [
        {key: len(body) for key, body in split(sense(host, 0x3F, 0xFF, control)).items()}
        for control in (CURRENT, CHANGEABLE, DEFAULT)
    ]
    assert shapes[0] == shapes[1] == shapes[2]


def test_what_was_read_may_be_written_back(unit):
    host = Initiator(unit)
    other = Initiator(unit, "other")
    for key, body in split(sense(host, 0x3F, 0xFF)).items():
        page = sense(host, *key)
        assert page.endswith(body)
        host.good(*select(page))
    other.good("00")


def test_every_changeable_bit_can_be_changed_and_no_other(tape):
    # Bits whose combinations are checked have tests of their own.
    for key in ((0x01, 0), (0x0A, 0), (0x0A, 1), (0x0F, 0), (0x1A, 0)):
        page = sense(tape, *key)
        mask = sense(tape, *key, CHANGEABLE)
        header = 4 if key[1] else 2
        for index in range(header, len(page)):
            for bit in range(8):
                changed = bytearray(page)
                changed[index] ^= 1 << bit
                if mask[index] >> bit & 1:
                    tape.good(*select(bytes(changed)))
                    assert sense(tape, *key) == changed
                    tape.good(*select(page))
                else:
                    refused = tape.check(*select(bytes(changed)))
                    assert refused.code == (5, 0x26, 0)
                    assert refused.specific == b"\x80" + (8 + index).to_bytes(2, "big")


def test_defaults_are_shown_beside_what_is_set(tape):
    page = bytearray(sense(tape, 0x0F))
    page[2] &= 0x7F
    tape.good(*select(bytes(page)))
    assert sense(tape, 0x0F) == page
    assert sense(tape, 0x0F, 0, DEFAULT)[2] & 0x80


@pytest.mark.parametrize("extra", [1, 3, 14])
def test_zeros_after_the_last_page_are_passed_over(tape, extra):
    tape.good(*select(sense(tape, 0x0F) + bytes(extra)))


def test_a_page_may_be_longer_with_zeros(tape):
    page = bytearray(sense(tape, 0x10)) + bytes(4)
    page[1] += 4
    tape.good(*select(bytes(page)))
    page[-1] = 1
    assert tape.check(*select(bytes(page))).code == (5, 0x26, 0)


def test_a_page_may_have_the_length_that_it_had_in_an_older_standard(tape):
    tape.good(*select(bytes.fromhex("0a06 06 00 00 00 0000")))  # SCSI-2's control page, D_SENSE
    assert sense(tape, 0x0A)[2] & 0x04
    short = tape.send(*select(bytes.fromhex("0a05 02 00 00 00 00")))
    assert short.sense[0] == 0x72
    assert short.sense[1:4] == b"\x05\x26\0"


@pytest.mark.parametrize(
    ("pages", "code"),
    [
        ("0f0d" + "00" * 13, (5, 0x26, 0)),
        ("2e02 0000", (5, 0x26, 0)),
        ("0f0e c080", (5, 0x1A, 0)),
        ("0f", (5, 0x1A, 0)),
        ("4a 01", (5, 0x1A, 0)),
        ("00 00 0f0e", (5, 0x26, 0)),
    ],
)
def test_lists_that_are_refused_change_nothing(tape, pages, code):
    before = sense(tape, 0x3F, 0xFF)
    head = bytearray(sense(tape, 0x0A))
    head[2] |= 0x04
    assert tape.check(*select(bytes(head) + bytes.fromhex(pages))).code == code
    assert sense(tape, 0x3F, 0xFF) == before


def test_a_list_without_parameters_changes_nothing(unit):
    Initiator(unit).good("1510")
    Initiator(unit).good("5510")
    assert Initiator(unit).check("1510000004", b"\0\0").code == (5, 0x1A, 0)
    assert Initiator(unit).check(bytes((0x15, PF | RTD))).code == (5, 0x24, 0)


def test_the_changer_has_no_block_descriptor():
    host = Initiator(make_changer())
    data = bytes((0, 0, 0, 8)) + bytes(8)
    assert host.check(bytes((0x15, PF, 0, 0, len(data), 0)), data).code == (5, 0x26, 0)


# Saving.


@pytest.mark.parametrize("make", [make_drive, make_changer])
def test_saved_values_are_there_after_power_loss(make):
    memory = VolatileMemory()
    host = Initiator(make(memory))
    page = sense(host, 0x1C)
    assert page[0] == 0x9C  # PS
    assert sense(host, 0x1C, 0, SAVED) == page
    host.good(*select(exceptions(0, 3), PF | SP))
    host.good(*select(exceptions(0, 4)))  # not saved
    assert sense(host, 0x1C, 0, SAVED)[3] == 3

    host = Initiator(make(memory))
    assert sense(host, 0x1C)[2:4] == b"\0\x03"
    assert sense(host, 0x1C, 0, DEFAULT) == page


def test_a_reset_goes_back_to_the_saved_values(tape):
    tape.good(*select(exceptions(0, 3), PF | SP))
    tape.good(*select(exceptions(0, 4)))
    tape.unit.logical_unit_reset()
    tape.check("00")
    assert sense(tape, 0x1C)[3] == 3


def test_pages_that_cannot_be_saved_are_not(tape):
    page = bytearray(sense(tape, 0x0A))
    assert not page[0] & 0x80
    page[2] |= 0x04
    refused = tape.check(*select(bytes(page), PF | SP))
    assert refused.code == (5, 0x24, 0)
    assert refused.specific == b"\xc8\0\x01"
    assert not sense(tape, 0x0A)[2] & 0x04
    for code in (0x0A, 0x3F):
        cdb = bytes((0x5A, 8, SAVED << 6 | code, 0, 0, 0, 0, 0xFF, 0xFF, 0))
        assert tape.check(cdb).code == (5, 0x39, 0)


class FullMemory(VolatileMemory):
    def put(self, name: str, value: bytes | None) -> None:  # noqa: ARG002
        raise NonvolatileMemoryError(name)


def test_what_cannot_be_saved_is_not_selected_either():
    host = Initiator(make_drive(FullMemory()))
    before = sense(host, 0x1C)
    assert host.check(*select(exceptions(0, 3), PF | SP)).code == (4, 0x44, 0)
    assert sense(host, 0x1C) == before


# Informational exceptions.

FLAG_9 = 9


def alerts(host: Initiator) -> set[int]:
    page, found, at = host.good("4d006e00000000ffff00"), set(), 4
    while at < len(page):
        if page[at + 4]:
            found.add(int.from_bytes(page[at : at + 2], "big"))
        at += 4 + page[at + 3]
    return found


def test_alerts_are_polled_by_default(unit):
    host = Initiator(unit)
    assert sense(host, 0x1C)[2] & 0x08  # DEXCPT
    unit.alerts.add(FLAG_9)
    host.good("00")
    assert alerts(host) == {FLAG_9}


def test_a_test_sets_and_clears_one_flag(unit):
    host = Initiator(unit)
    host.good(*select(exceptions(0x04, 0, FLAG_9), PF | SP))
    for control in (CURRENT, SAVED):
        assert sense(host, 0x1C, 0, control)[2:] == bytes(10)  # the test is done
    assert alerts(host) == {FLAG_9}
    host.good(*select(exceptions(0x04, 0, FLAG_9)))
    host.good(*select(exceptions(0x04, 0, -FLAG_9)))
    assert alerts(host) == set()
    host.good(*select(exceptions(0x04, 0, 32767)))
    assert alerts(host)


@pytest.mark.parametrize(("method", "key"), [(3, None), (4, 1), (5, 0)])
def test_an_exception_ends_one_command_of_each_nexus_that_had_no_error(unit, method, key):
    one, two = Initiator(unit, "one"), Initiator(unit, "two")
    one.good(*select(exceptions(0, method)))
    two.check("00")  # MODE PARAMETERS CHANGED
    unit.alerts.add(FLAG_9)
    for host in (one, two):
        assert host.check("ff").code == (5, 0x20, 0)
        if key is not None:
            found, data = host.check_data("1a083f00ff")
            assert found.code == (key, 0x5D, 0)
            assert data
        host.good("00")


def test_recovered_errors_are_reported_where_the_error_recovery_page_says_so(tape):
    page = bytearray(sense(tape, 0x01))
    page[2] |= 0x04  # PER
    tape.good(*select(bytes(page) + exceptions(0, 3)))
    tape.unit.alerts.add(FLAG_9)
    assert tape.check("00").code == (1, 0x5D, 0)


def test_an_exception_as_unit_attention(unit):
    host = Initiator(unit)
    host.good(*select(exceptions(0, 2)))
    unit.alerts.add(FLAG_9)
    assert host.check("00").code == (6, 0x5D, 0)
    host.good("00")


def test_an_exception_on_request(unit):
    host = Initiator(unit)
    host.good(*select(exceptions(0, 6)))
    unit.alerts.add(FLAG_9)
    host.good("00")
    data = host.good("0300000012")
    assert (data[2], data[12], data[13]) == (0, 0x5D, 0)
    assert host.good("0300000012")[12] == 0


def test_a_false_exception(unit):
    host = Initiator(unit)
    host.good(*select(exceptions(0, 5)))
    host.good("00")
    told = host.check(*select(exceptions(0x04, 5, 0)))
    assert told.code == (0, 0x5D, 0xFF)
    assert alerts(host) == set()


@pytest.mark.parametrize(
    "page",
    [
        exceptions(0x0C, 0, 1),  # TEST with DEXCPT
        exceptions(0x04, 0, 65),
        exceptions(0x04, 0, -65),
        exceptions(0x00, 1),  # obsolete
        exceptions(0x00, 7),
        exceptions(0x80, 0),  # PERF
    ],
)
def test_exceptions_that_are_refused(unit, page):
    host = Initiator(unit)
    assert host.check(*select(page)).code == (5, 0x26, 0)
    assert alerts(host) == set()
