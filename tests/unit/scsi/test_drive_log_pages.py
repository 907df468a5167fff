"""What monitoring and backup programs read from a drive's log pages."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from tapectl.scsi.nonvolatile import VolatileMemory
from tapectl.scsi.personality import DRIVE_PERSONALITIES
from tapectl.scsi.ssc.alerts import TapeAlert
from tapectl.scsi.ssc.drive import TapeDrive
from tests.support.memory_cartridge import MemoryCartridge
from tests.support.scsi_initiator import Initiator

MB, MIB = 10**6, 1 << 20
HOUR_MS = 3600 * 1000
SAVED_PAGES = {0x00, 0x02, 0x03, 0x0C, 0x0D, 0x10, 0x11, 0x12, 0x13, 0x14, 0x16, 0x17, 0x18}
ALL_PAGES = SAVED_PAGES | {0x1B, 0x2E, 0x30, 0x31, 0x32, 0x37}


class Clock:
    """Milliseconds that go by when the test says so."""

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.ms


def lto6(barcode: str = "TAP001L6", **options: Any) -> MemoryCartridge:
    return MemoryCartridge(barcode, generation=6, **options)


def make_drive(memory: VolatileMemory | None = None, clock: Clock | None = None) -> TapeDrive:
    return TapeDrive(
        DRIVE_PERSONALITIES["IBM-ULT3580-TD6"],
        serial="TD00000001",
        memory=memory,
        now_ms=clock or Clock(),
    )


@pytest.fixture
def cartridge() -> MemoryCartridge:
    return lto6("TAP001L6", capacity_bytes=64 * MIB)


@pytest.fixture
def drive(cartridge: MemoryCartridge) -> TapeDrive:
    unit = make_drive()
    unit.load(cartridge)
    return unit


@pytest.fixture
def host(drive: TapeDrive) -> Initiator:
    return Initiator(drive)


def read_page(host: Initiator, page: int, subpage: int = 0) -> dict[int, bytes]:
    """Return the values of a page's cumulative parameters by code, as sg_logs takes it apart."""
    cdb = bytes((0x4D, 0, 0x40 | page, subpage, 0, 0, 0, 0xFF, 0xFF, 0))
    data = host.good(cdb)
    assert data[0] == page | (0x40 if subpage else 0)
    assert data[1] == subpage
    assert struct.unpack_from(">H", data, 2)[0] == len(data) - 4
    found, at = {}, 4
    while at < len(data):
        code, length = struct.unpack_from(">HxB", data, at)
        found[code] = data[at + 4 : at + 4 + length]
        at += 4 + length
    assert at == len(data)
    assert list(found) == sorted(found)
    return found


def number(value: bytes) -> int:
    return int.from_bytes(value, "big")


def flags(host: Initiator) -> set[int]:
    """Read the TapeAlert page, which clears what it tells."""
    return {code for code, value in read_page(host, 0x2E).items() if value != b"\0"}


def response(host: Initiator) -> set[int]:
    """Read the TapeAlert Response page as Proxmox does: 8 bytes, flag 1 first."""
    page = read_page(host, 0x12)
    assert list(page) == [0]
    assert len(page[0]) == 8
    bits = number(page[0])
    return {flag for flag in range(1, 65) if bits >> (64 - flag) & 1}


def test_every_page_that_lto_drives_have_is_listed(host):
    assert set(host.good("4d0040000000 00ffff")[4:]) == ALL_PAGES
    pairs = host.good("4d0040ff0000 00ffff")[4:]
    assert (0x37, 0x64) in set(zip(pairs[::2], pairs[1::2], strict=True))


@pytest.mark.parametrize("loaded", [True, False])
@pytest.mark.parametrize("page", sorted(ALL_PAGES - {0}))
def test_every_page_is_whole_with_a_volume_and_without(cartridge, page, loaded):
    unit = make_drive()
    if loaded:
        unit.load(cartridge)
    read_page(Initiator(unit), page)


def test_error_counters_have_the_bytes_processed_and_what_was_not_corrected(host, cartridge):
    host.write(bytes(3000))
    cartridge.fail_writes = True
    host.write(bytes(100))
    page = read_page(host, 0x02)
    assert list(page) == list(range(7))
    assert number(page[5]) == 3000
    assert number(page[6]) == 1
    assert number(read_page(host, 0x03)[6]) == 0


def test_sequential_access_counts_from_the_last_reset_and_a_life_on(host):
    host.write(bytes(4 * MB))
    page = read_page(host, 0x0C)
    assert [number(page[code]) for code in range(4)] == [4 * MB, 4 * MB, 0, 0]
    assert number(page[0x0004]) == number(page[0x0007]) == 4
    assert number(page[0x0005]) == 66
    assert number(page[0x0006]) == 0
    host.good("4c02")
    page = read_page(host, 0x0C)
    assert number(page[0]) == 0
    assert number(page[0x8000]) == 4
    assert number(page[0x8001]) == 1


def test_device_status_says_what_an_automation_device_would_see(host):
    page = read_page(host, 0x11)
    prevent_free, seated, activity, _ = page[0]
    assert len(page[0]) == 4
    assert not prevent_free & 0x80
    assert seated & 0x37 == 0x37
    assert activity == 0
    host.good("1e00000001")
    prevented, seated, _, _ = read_page(host, 0x11)[0]
    assert prevented & 0x80
    assert not seated & 0x20
    host.good("1e00000000")
    host.good("1b")
    first, second = read_page(host, 0x11)[0][:2]
    assert second & 0x13 == 0x10
    assert not first & 0x20


def test_device_statistics_are_those_of_a_life():
    memory, clock = VolatileMemory(), Clock()
    for _ in range(2):
        unit = make_drive(memory, clock)
        host = Initiator(unit)
        unit.load(lto6("TAP001L6", capacity_bytes=64 * MIB))
        host.write(bytes(1000))
        clock.ms += 2 * HOUR_MS
        unit.unload()
    host = Initiator(make_drive(memory, clock))
    page = read_page(host, 0x14)
    assert number(page[0x0000]) == 2  # loads
    assert number(page[0x0001]) == 0  # cleanings
    assert number(page[0x0002]) == 4  # hours with power
    assert number(page[0x000C]) == 3  # power cycles
    assert page[0x0040] == page[0x0041] == b"TD00000001"
    assert 0x0003 not in page  # nothing moves
    assert number(read_page(host, 0x0C)[0x8003]) == 4 * 3600


def test_loads_since_the_parameters_were_reset(drive, host):
    drive.unload()
    drive.load(lto6("TAP002L6"), attention=False)
    assert number(read_page(host, 0x14)[0x000D]) == 2
    host.send("4c02")
    assert number(read_page(host, 0x14)[0x000D]) == 0
    assert number(read_page(host, 0x14)[0x0000]) == 2


def test_diagnostic_data_keeps_what_failed_and_where():
    memory = VolatileMemory()
    unit = make_drive(memory)
    tape = lto6("TAP001L6", capacity_bytes=64 * MIB)
    unit.load(tape)
    host = Initiator(unit)
    host.write(bytes(100))
    tape.fail_writes = True
    host.write(bytes(100))
    tape.fail_writes = False
    host.rewind()
    tape.fail_reads = True
    for _ in range(2):
        host.check(host.read_cdb(100))
    unit.unload()

    page = read_page(Initiator(make_drive(memory)), 0x16)
    assert list(page) == [0, 1]
    newest, older = page[0], page[1]
    assert len(newest) == 68
    assert (newest[2], newest[3]) == (0x5A, 0x68)  # density, medium type
    assert newest[9] == 0x83  # REPEAT, MEDIUM ERROR
    assert (newest[10], newest[11], newest[24]) == (0x11, 0x00, 0x08)
    assert newest[28:60].rstrip() == b"TAP001L6"
    assert number(newest[62:]) == Clock().ms
    assert (older[9], older[10], older[24]) == (0x03, 0x0C, 0x0A)


def test_volume_statistics_of_this_mount_and_of_a_life(cartridge):
    clock = Clock()
    first = make_drive(clock=clock)
    first.load(cartridge)
    host = Initiator(first)
    host.write(bytes(3 * MB))
    host.rewind()
    host.read(3 * MB)
    first.unload()
    second = make_drive(clock=clock)
    second.load(cartridge)
    host = Initiator(second)
    host.write(bytes(2 * MB))
    clock.ms += 5000
    page = read_page(host, 0x17)
    # Codes and lengths as LTO drives have them.
    lengths = (4, 8, 4, 2, 2, 2, 8, 4, 2, 2, 2, 2, 2, 4, 4, 8, 8, 2, 2, 6, 6, 4, 4)
    assert [len(page[code]) for code in range(0x0001, 0x0018)] == list(lengths)
    assert number(page[0x0000]) == 1
    assert number(page[0x0001]) == 2
    assert number(page[0x0002]) == 3  # data sets that 5 MB fill
    assert number(page[0x000E]) == 2
    assert number(page[0x000F]) == 0
    assert number(page[0x0010]) == 5
    assert number(page[0x0011]) == 3
    assert number(page[0x0012]) == 100
    assert number(page[0x0014]) == number(page[0x0015]) == 5000
    assert number(page[0x0016]) == 64 * MIB // MB
    assert number(page[0x0017]) == 2
    assert page[0x0040] == page[0x0042] == b"TAP001L6".ljust(32)
    assert page[0x0045] == b"Ultrium-6"
    assert number(page[0x0080]) == number(page[0x0081]) == 0
    assert {0x0101, 0x0102} <= set(page)


def test_volume_statistics_without_a_volume_are_not_valid(drive, host):
    drive.unload()
    assert read_page(host, 0x17) == {0: b"\0"}


def records(value: bytes) -> list[tuple[int, int, int]]:
    """Length, partition and megabytes of each partition record."""
    return [struct.unpack_from(">BxHI", value, at) for at in range(0, len(value), 8)]


def test_partition_records_are_in_megabytes_and_tape_capacity_in_mebibytes(cartridge, host):
    cartridge.format([16 * MIB, 40 * MIB])
    host.write(bytes(5 * MB))
    page = read_page(host, 0x17)
    assert records(page[0x0202]) == [(7, 0, 16 * MIB // MB), (7, 1, 40 * MIB // MB)]
    assert records(page[0x0203]) == [(7, 0, 5), (7, 1, 0)]
    assert records(page[0x0204]) == [(7, 0, (16 * MIB - 5 * MB) // MB), (7, 1, 40 * MIB // MB)]
    capacity = read_page(host, 0x31)
    assert [number(capacity[code]) for code in (1, 2, 3, 4)] == [
        (16 * MIB - 5 * MB) // MIB, 40, 16, 40,
    ]  # fmt: skip
    cartridge.format([16 * MIB] * 4)
    assert list(read_page(host, 0x31)) == list(range(1, 9))
    assert len(records(read_page(host, 0x17)[0x0202])) == 4


def test_what_tapeinfo_asks_for_as_thresholds(drive, host):
    drive.alerts.add(TapeAlert.WRITE_PROTECT)
    capacity = host.good("4d0031000000 002000")
    assert [number(capacity[at : at + 4]) for at in (8, 16, 24, 32)] == [64, 0, 64, 0]
    alerts = host.good("4d002e000000 002000")
    assert [flag for flag in range(1, 65) if alerts[4 + 5 * (flag - 1) + 4]] == [9]


def test_usage_and_compression_have_the_older_pages_too(host):
    host.write(bytes(MB + 5))
    usage = read_page(host, 0x30)
    statistics = read_page(host, 0x17)
    assert usage == {code: statistics[code] for code in range(1, 0x0C)}
    newer = read_page(host, 0x1B)
    assert newer.pop(0x0100) == b"\x01"
    assert newer == read_page(host, 0x32)
    assert [number(newer[code]) for code in (1, 6, 7, 8, 9)] == [100, 1, 5, 1, 5]


def test_what_ltfs_asks_of_performance(host):
    assert len(read_page(host, 0x37)[0x0001]) == 1
    assert read_page(host, 0x37, 0x64) == {0x7113: bytes(4)}


def test_a_read_error_is_told_once_to_each_nexus_and_not_cleared_by_the_response(
    drive, host, cartridge
):
    other = Initiator(drive, "iqn.2025-01.test:two,i,0x02")
    host.write(bytes(100))
    host.rewind()
    cartridge.fail_reads = True
    host.check(host.read_cdb(100))
    damaged = {TapeAlert.HARD_ERROR, TapeAlert.MEDIA, TapeAlert.READ_FAILURE}
    assert response(host) == response(host) == damaged
    assert flags(host) == damaged
    assert flags(host) == response(host) == set()
    assert flags(other) == damaged
    host.check(host.read_cdb(100))
    assert flags(host) == damaged


def test_a_block_read_from_another_copy_is_a_warning_and_counted(host, cartridge):
    host.write(bytes(100))
    host.rewind()
    cartridge.recovered_reads = 1
    host.read(100)
    assert response(host) == {TapeAlert.READ_WARNING}
    assert flags(host) == {TapeAlert.READ_WARNING}
    assert flags(host) == set()
    page = read_page(host, 0x03)
    assert [number(page[code]) for code in range(7)] == [0, 1, 1, 1, 0, 100, 0]
    assert number(read_page(host, 0x17)[0x0008]) == 1


def test_the_flags_of_what_a_drive_refuses():
    unit = make_drive()
    unit.load(lto6("TAP001L6", write_protected=True))
    host = Initiator(unit)
    host.write(bytes(10))
    assert flags(host) == {TapeAlert.WRITE_PROTECT}
    host.good("1e00000001")
    host.check("1b")
    assert flags(host) == {TapeAlert.NO_REMOVAL}
    host.good("1e00000000")
    unit.unload()
    worm = lto6("TAP002L6", worm=True)
    unit.load(worm)
    host.send("00")
    host.write(bytes(10))
    host.rewind()
    host.write(bytes(10))
    assert flags(host) == {TapeAlert.WORM_MEDIUM_OVERWRITE_ATTEMPTED}


def test_a_load_clears_what_the_last_volume_caused_and_nothing_else(drive, host, cartridge):
    drive.alerts.hold({TapeAlert.PREDICTIVE_FAILURE})
    cartridge.fail_writes = True
    host.write(bytes(10))
    cartridge.fail_writes = False
    written = {TapeAlert.HARD_ERROR, TapeAlert.WRITE_FAILURE}
    assert response(host) == written | {TapeAlert.PREDICTIVE_FAILURE}
    drive.unload()
    assert response(host) == written | {TapeAlert.PREDICTIVE_FAILURE}
    drive.load(lto6("TAP002L6"), attention=False)
    assert response(host) == {TapeAlert.PREDICTIVE_FAILURE}


def test_a_condition_is_told_when_it_begins_and_gone_when_it_ends(drive, host):
    drive.alerts.hold({TapeAlert.DIAGNOSTICS_REQUIRED})
    drive.alerts.hold({TapeAlert.DIAGNOSTICS_REQUIRED})
    assert flags(host) == {TapeAlert.DIAGNOSTICS_REQUIRED}
    drive.alerts.hold({TapeAlert.DIAGNOSTICS_REQUIRED})
    assert flags(host) == set()
    drive.alerts.hold(())
    drive.alerts.hold({TapeAlert.DIAGNOSTICS_REQUIRED})
    assert flags(host) == {TapeAlert.DIAGNOSTICS_REQUIRED}


def test_device_status_says_that_a_flag_changed_until_the_response_was_read(drive, host):
    assert not read_page(host, 0x11)[0][3] & 0x01
    drive.alerts.add(TapeAlert.WRITE_PROTECT)
    assert read_page(host, 0x11)[0][3] & 0x01
    assert response(host) == {TapeAlert.WRITE_PROTECT}
    assert not read_page(host, 0x11)[0][3] & 0x01


def test_whoever_asks_for_the_length_first_is_told_all_the_same(drive, host):
    drive.alerts.add(TapeAlert.WRITE_PROTECT)
    assert len(host.good("4d006e000000 000004")) == 4
    assert flags(host) == {TapeAlert.WRITE_PROTECT}
    assert flags(host) == set()


def test_log_select_clears_the_flags(drive, host):
    drive.alerts.add(TapeAlert.WRITE_PROTECT)
    host.good("4c02")
    assert response(host) == set()


def test_the_memory_of_a_cartridge_has_its_last_loads_and_totals(cartridge):
    for serial in ("TD00000001", "TD00000002"):
        unit = TapeDrive(DRIVE_PERSONALITIES["IBM-ULT3580-TD6"], serial=serial)
        unit.load(cartridge)
        Initiator(unit).write(bytes(3 * MIB))
        unit.unload()

    def value(identifier: int) -> bytes:
        stored = cartridge.attribute(0, identifier)
        assert stored is not None
        return stored.value

    assert number(value(0x0003)) == 2
    assert value(0x020A) == b"IBM     TD00000002".ljust(40)
    assert value(0x020B) == b"IBM     TD00000001".ljust(40)
    assert cartridge.attribute(0, 0x020C) is None
    assert [number(value(identifier)) for identifier in range(0x0220, 0x0224)] == [6, 0, 3, 0]


def test_a_memory_that_cannot_be_written_costs_the_statistics_and_not_the_load(cartridge):
    unit = make_drive()
    cartridge.fail_attributes = True
    unit.load(cartridge)
    assert unit.threaded
    assert TapeAlert.MEMORY_CHIP_IN_CARTRIDGE_FAILURE in unit.alerts.active


def test_statistics_that_cannot_be_read_are_told_to_be_lost():
    memory = VolatileMemory()
    memory.put("lifetime", b"no JSON")
    unit = make_drive(memory)
    assert flags(Initiator(unit)) == {TapeAlert.LOST_STATISTICS}


def test_a_cleaning_is_counted():
    unit = make_drive()
    unit.load(MemoryCartridge("CLN001CU", cleaning=True))
    host = Initiator(unit)
    assert number(read_page(host, 0x14)[0x0001]) == 1
    assert TapeAlert.CLEANING_MEDIA in flags(host)
