"""Every identity of a tape drive, by its own table: what it says of itself and of its media."""

from __future__ import annotations

import struct

import pytest

from tapectl.scsi.media import CLEANINGS, LTO_MEDIA
from tapectl.scsi.personality import DRIVE_PERSONALITIES, Access, DrivePersonality
from tapectl.scsi.ssc.alerts import TapeAlert
from tapectl.scsi.ssc.drive import TapeDrive
from tapectl.scsi.ssc.vpd import Automation
from tests.support.memory_cartridge import MemoryCartridge
from tests.support.scsi_initiator import Initiator

IQN = "iqn.2026-11.io.tapectl:sgw-0-tapedrive-01"
SERIAL = "1FAD487601"
IBM_5 = DRIVE_PERSONALITIES["IBM-ULT3580-TD5"]
IBM_8 = DRIVE_PERSONALITIES["IBM-ULT3580-TD8"]
HPE_9 = DRIVE_PERSONALITIES["HPE-Ultrium-9"]

# What LTFS, PBS and Windows' drivers look for, apart from the table that the code reads.
KNOWN = {
    "IBM-ULT3580-TD1": (b"IBM     ", b"ULT3580-TD1     ", 0x40),
    "IBM-ULT3580-TD2": (b"IBM     ", b"ULT3580-TD2     ", 0x42),
    "IBM-ULT3580-TD3": (b"IBM     ", b"ULT3580-TD3     ", 0x44),
    "IBM-ULT3580-TD4": (b"IBM     ", b"ULT3580-TD4     ", 0x46),
    "IBM-ULT3580-TD5": (b"IBM     ", b"ULT3580-TD5     ", 0x58),
    "IBM-ULT3580-TD6": (b"IBM     ", b"ULT3580-TD6     ", 0x5A),
    "IBM-ULT3580-TD7": (b"IBM     ", b"ULT3580-TD7     ", 0x5C),
    "IBM-ULT3580-TD8": (b"IBM     ", b"ULT3580-TD8     ", 0x5E),
    "IBM-ULT3580-TD9": (b"IBM     ", b"ULT3580-TD9     ", 0x60),
    "IBM-ULT3580-TDA": (b"IBM     ", b"ULT3580-TDA     ", 0x62),
    "IBM-ULT3580-HH5": (b"IBM     ", b"ULT3580-HH5     ", 0x58),
    "IBM-ULT3580-HH6": (b"IBM     ", b"ULT3580-HH6     ", 0x5A),
    "IBM-ULT3580-HH7": (b"IBM     ", b"ULT3580-HH7     ", 0x5C),
    "IBM-ULT3580-HH8": (b"IBM     ", b"ULT3580-HH8     ", 0x5E),
    "IBM-ULT3580-HH9": (b"IBM     ", b"ULT3580-HH9     ", 0x60),
    "IBM-ULT3580-HHA": (b"IBM     ", b"ULT3580-HHA     ", 0x62),
    "HP-Ultrium-1": (b"HP      ", b"Ultrium 1-SCSI  ", 0x40),
    "HP-Ultrium-2": (b"HP      ", b"Ultrium 2-SCSI  ", 0x42),
    "HP-Ultrium-3": (b"HP      ", b"Ultrium 3-SCSI  ", 0x44),
    "HP-Ultrium-4": (b"HP      ", b"Ultrium 4-SCSI  ", 0x46),
    "HP-Ultrium-5": (b"HP      ", b"Ultrium 5-SCSI  ", 0x58),
    "HP-Ultrium-6": (b"HP      ", b"Ultrium 6-SCSI  ", 0x5A),
    "HP-Ultrium-7": (b"HP      ", b"Ultrium 7-SCSI  ", 0x5C),
    "HPE-Ultrium-8": (b"HPE     ", b"Ultrium 8-SCSI  ", 0x5E),
    "HPE-Ultrium-9": (b"HPE     ", b"Ultrium 9-SCSI  ", 0x60),
    "HPE-Ultrium-10": (b"HPE     ", b"Ultrium 10-SCSI ", 0x62),
    "Quantum-HH5": (b"QUANTUM ", b"ULTRIUM-HH5     ", 0x58),
    "Quantum-HH6": (b"QUANTUM ", b"ULTRIUM-HH6     ", 0x5A),
    "Quantum-HH7": (b"QUANTUM ", b"ULTRIUM-HH7     ", 0x5C),
    "Quantum-HH8": (b"QUANTUM ", b"ULTRIUM-HH8     ", 0x5E),
    "Quantum-HH9": (b"QUANTUM ", b"ULTRIUM-HH9     ", 0x60),
}
READS = {
    1: {1},
    2: {1, 2},
    3: {1, 2, 3},
    4: {2, 3, 4},
    5: {3, 4, 5},
    6: {4, 5, 6},
    7: {5, 6, 7},
    8: {7, 8},
    9: {8, 9},
    10: {10},
}
WRITES = {
    1: {1},
    2: {1, 2},
    3: {2, 3},
    4: {3, 4},
    5: {4, 5},
    6: {5, 6},
    7: {6, 7},
    8: {7, 8},
    9: {8, 9},
    10: {10},
}


@pytest.fixture(params=DRIVE_PERSONALITIES.values(), ids=lambda personality: personality.name)
def personality(request: pytest.FixtureRequest) -> DrivePersonality:
    return request.param


def make(personality: DrivePersonality, cartridge: MemoryCartridge | None = None) -> TapeDrive:
    drive = TapeDrive(
        personality,
        serial=SERIAL,
        target_name=IQN,
        automation=Automation("1FAD487600", 10000),
    )
    if cartridge is not None:
        drive.load(cartridge, attention=False)
    return drive


def vpd(host: Initiator, code: int) -> bytes:
    page = host.good(bytes((0x12, 0x01, code, 0xFF, 0xFF)))
    assert page[:2] == bytes((0x01, code))
    assert int.from_bytes(page[2:4], "big") == len(page) - 4
    return page[4:]


def alerts(drive: TapeDrive) -> frozenset[int]:
    return drive.alerts.active


def test_all_known_identities_are_there():
    assert set(DRIVE_PERSONALITIES) == set(KNOWN)


def test_identity(personality):
    vendor, product, _ = KNOWN[personality.name]
    data = Initiator(make(personality)).good("1200000060")
    assert data[8:16] == vendor
    assert data[16:32] == product
    assert data[32:36] == personality.revision.encode()
    assert data[5] & 0x01 == (personality.generation.number >= 5), "PROTECT"
    assert b"\x09\x60" in data[58:74], "iSCSI among the version descriptors"


def test_revision_passes_the_gates_of_ltfs(personality):
    least = {5: "B170", 8: "HB81"}.get(personality.generation.number, "")
    assert len(personality.revision) == 4
    if not personality.vendor.startswith("HP"):
        assert personality.revision >= least


def test_densities_of_the_drive(personality):
    native = KNOWN[personality.name][2]
    data = Initiator(make(personality)).good("44000000000000ffff")
    assert int.from_bytes(data[:2], "big") == len(data) - 2
    codes, writable, default = [], set(), []
    for at in range(4, len(data), 52):
        codes.append(data[at])
        assert data[at + 1] == data[at]
        assert data[at + 16 : at + 24] == b"LTO-CVE "
        if data[at + 2] & 0x80:
            writable.add(data[at])
        if data[at + 2] & 0x20:
            default.append(data[at])
    generation = personality.generation.number
    by_number = {number: media.density.code for number, media in LTO_MEDIA.items()}
    assert codes == [by_number[number] for number in sorted(READS[generation])]
    assert writable == {by_number[number] for number in WRITES[generation]}
    assert default == [native] == [max(codes)]


def medium_type(personality: DrivePersonality, generation: int, *, worm: bool) -> int:
    """What LTFS expects: HP's drives tell WORM media apart, the others generations too."""
    if personality.vendor in ("HP", "HPE"):
        return 1 if worm else 0
    return generation * 16 + (0x0C if worm else 0x08)


def test_media_of_the_drive(personality):
    data = Initiator(make(personality)).good("44020000000000ffff")
    assert int.from_bytes(data[:2], "big") == len(data) - 2
    types = [(data[at], data[at + 5]) for at in range(4, len(data), 56)]
    assert all(data[at + 2 : at + 5] == b"\0\x34\x01" for at in range(4, len(data), 56))
    generation = personality.generation.number
    density = KNOWN[personality.name][2]
    kinds = (False, True) if generation >= 3 else (False,)
    native = [medium_type(personality, generation, worm=worm) for worm in kinds]
    assert types[-len(kinds) :] == [(kind, density) for kind in native]
    assert len(types) == sum(2 if number >= 3 else 1 for number in READS[generation])


def test_density_of_the_medium():
    tape = MemoryCartridge("TAP001L4", generation=4)
    host = Initiator(make(IBM_5, tape))
    data = host.good("44010000000000ffff")
    assert struct.unpack_from(">HxxBBB", data) == (54, 0x46, 0x46, 0x80)
    assert data[9:12] == (12725).to_bytes(3, "big")
    assert struct.unpack_from(">HHI", data, 12) == (127, 896, (1 << 30) // 10**6)
    assert host.good("44030000000000ffff")[4] == 0x48
    host.good("1b")
    assert host.check("44010000000000ffff").code == (2, 0x3A, 0)


def test_a_protected_medium_is_not_writable_in_its_density():
    host = Initiator(make(IBM_5, MemoryCartridge(write_protected=True)))
    assert host.good("44010000000000ffff")[6] == 0x20


@pytest.mark.parametrize("worm", [False, True])
def test_mode_header_tells_medium_type_and_density(personality, worm):
    generation = personality.generation.number
    if worm and generation < 3:
        pytest.skip("there are no such media")
    tape = MemoryCartridge(generation=generation, worm=worm)
    data = Initiator(make(personality, tape)).good("1a0000000c")
    assert data[1] == medium_type(personality, generation, worm=worm)
    assert data[3] == 8
    assert data[4] == KNOWN[personality.name][2]


def test_mode_header_without_a_medium_has_the_drives_own_density(personality):
    data = Initiator(make(personality)).good("1a0000000c")
    assert data[1] == 0
    assert data[4] == KNOWN[personality.name][2]


def test_a_density_that_is_not_the_mediums_cannot_be_selected():
    host = Initiator(make(IBM_8, MemoryCartridge(generation=7)))
    host.good("151000000c", bytes((0, 0, 0x10, 8, 0x5C)) + bytes(7))
    sense = host.check("151000000c", bytes((0, 0, 0x10, 8, 0x5E)) + bytes(7))
    assert sense.code == (5, 0x26, 0)


def test_block_limits(personality):
    host = Initiator(make(personality))
    assert host.good("05") == struct.pack(">IH", 8 << 20, 1)
    objects = host.good("0501")
    assert objects[:12] == bytes(12)
    assert struct.unpack_from(">Q", objects, 12)[0] == (1 << 63) - 1


# Media of other generations.


@pytest.mark.parametrize("generation", sorted(LTO_MEDIA))
def test_media_of_every_generation(personality, generation):
    number = personality.generation.number
    tape = MemoryCartridge(generation=generation)
    tape.objects.append(b"data")
    drive = make(personality, tape)
    host = Initiator(drive)
    if generation in WRITES[number]:
        assert host.read(4) == b"data"
        assert not host.write(b"more").sense
    elif generation in READS[number]:
        assert alerts(drive) == {TapeAlert.READ_ONLY_FORMAT}
        assert host.read(4) == b"data"
        assert host.good("1a0000000c")[2] & 0x80
        for cdb, data in (("0a00000004", b"more"), ("1000000001", b""), ("1900", b"")):
            assert host.check(cdb, data).code == (7, 0x30, 5)
        assert len(tape.objects) == 1
    else:
        code = (3, 0x30, 1 if generation > number else 2)
        for cdb in ("00", "0800000004", "01", "34", "1100000001", "44010000000000ffff"):
            assert host.check(cdb).code == code
        assert alerts(drive) >= {TapeAlert.UNSUPPORTED_FORMAT}
        assert not drive.threaded


def test_an_unreadable_cartridge_can_be_unloaded_and_taken_out():
    tape = MemoryCartridge(generation=6)
    drive = make(IBM_8, tape)
    host = Initiator(drive)
    assert host.check("1b00000001").code == (3, 0x30, 2)
    host.good("1b")
    assert host.check("00").code == (2, 0x3A, 0)
    assert host.check("1b00000001").code == (3, 0x30, 2)
    assert host.check("00").code == (3, 0x30, 2)
    assert drive.unload() is tape
    assert host.check("00").code == (2, 0x3A, 0)
    drive.load(MemoryCartridge(generation=8))
    assert host.check("00").code == (6, 0x28, 0)
    host.good("00")


def test_a_cartridge_that_does_not_become_ready_raises_no_attention():
    drive = make(IBM_8)
    host = Initiator(drive)
    drive.load(MemoryCartridge(generation=5))
    assert host.check("00").code == (3, 0x30, 2)


def test_request_sense_tells_what_is_wrong_with_the_cartridge():
    host = Initiator(make(IBM_8, MemoryCartridge(generation=9)))
    data = host.good("03000000ff")
    assert (data[2] & 0x0F, data[12], data[13]) == (3, 0x30, 1)


def test_inquiry_and_mode_sense_work_beside_an_unreadable_cartridge():
    host = Initiator(make(IBM_8, MemoryCartridge(generation=5)))
    assert host.good("1200000060")[8:11] == b"IBM"
    assert host.good("1a0000000c")[4] == 0x5E
    assert host.good("05")


def test_generations_are_compared_as_lto_does():
    for personality in DRIVE_PERSONALITIES.values():
        generation = personality.generation
        assert generation.access(generation.number) is Access.READ_WRITE
        assert generation.access(generation.number + 1) is Access.TOO_NEW
        assert generation.access(min(generation.reads) - 1) is Access.TOO_OLD


# Cleaning cartridges.


def cleaner() -> MemoryCartridge:
    return MemoryCartridge("CLNU01CU", cleaning=True)


def test_a_cleaning_cartridge_cleans_and_has_no_data(personality):
    tape = cleaner()
    drive = make(personality, tape)
    host = Initiator(drive)
    for cdb in ("00", "0800000004", "01", "1900", "1b00000001"):
        assert host.check(cdb).code == (2, 0x30, 3)
    assert host.check("0a00000004", b"data").code == (2, 0x30, 3)
    assert alerts(drive) == {TapeAlert.CLEANING_MEDIA}
    host.good("1b")
    assert drive.unload() is tape
    assert host.check("00").code == (2, 0x3A, 0)


def test_a_cleaning_cartridge_is_used_up():
    tape = cleaner()
    drive = make(IBM_5)
    host = Initiator(drive)
    for _ in range(CLEANINGS):
        drive.load(tape)
        assert host.check("00").code == (2, 0x30, 3)
        drive.unload()
    drive.load(tape)
    assert host.check("00").code == (2, 0x30, 7)
    assert alerts(drive) == {TapeAlert.EXPIRED_CLEANING_MEDIA}
    drive.unload()
    make(HPE_9).load(tape)
    assert Initiator(make(HPE_9, tape)).check("00").code == (2, 0x30, 7)


def test_the_next_cartridge_is_as_ever_after_a_cleaning():
    drive = make(IBM_5, cleaner())
    host = Initiator(drive)
    drive.unload()
    drive.load(MemoryCartridge())
    assert host.check("00").code == (6, 0x28, 0)
    host.good("00")
    assert TapeAlert.CLEANING_MEDIA not in alerts(drive)


# LOAD UNLOAD.


def test_load_with_hold_leaves_the_cartridge_unthreaded_with_its_memory():
    drive = make(IBM_5, MemoryCartridge())
    host = Initiator(drive)
    host.good("1b00000009")
    assert host.check("00").code == (2, 0x3A, 4)
    assert host.check("0800000004").code == (2, 0x3A, 4)
    host.good("1b00000001")
    host.good("00")


def test_unload_with_hold_does_not_give_the_cartridge_out():
    tape = MemoryCartridge()
    host = Initiator(make(IBM_5, tape))
    host.write(b"data")
    host.good("1b00000008")
    assert tape.synchronized_objects == 1
    assert host.check("00").code == (2, 0x3A, 4)
    host.good("1b")
    assert host.check("00").code == (2, 0x3A, 0)


def test_load_and_unload_rewind():
    tape = MemoryCartridge()
    host = Initiator(make(IBM_5, tape))
    host.write(b"data")
    host.good("1b00000003")  # RETEN
    assert host.position() == 0
    host.read(4)
    host.good("1b01000000")  # IMMED
    host.good("1b01000001")
    assert host.position() == 0


def test_load_to_the_end_of_the_tape_is_refused():
    host = Initiator(make(IBM_5, MemoryCartridge()))
    sense = host.check("1b00000005")
    assert sense.code == (5, 0x24, 0)
    assert sense.specific == b"\xca\x00\x04"
    host.good("00")


def test_load_of_nothing_is_not_ready():
    assert Initiator(make(IBM_5)).check("1b00000001").code == (2, 0x3A, 0)


@pytest.mark.parametrize("operation", ["00", "08"])
def test_unload_is_refused_while_removal_is_prevented(operation):
    host = Initiator(make(IBM_5, MemoryCartridge()))
    host.good("1e00000001")
    assert host.check("1b000000" + operation).code == (5, 0x53, 2)
    host.good("00")


def test_other_nexuses_hear_of_a_load_by_an_initiator():
    drive = make(IBM_5, MemoryCartridge())
    one, two = Initiator(drive, "one"), Initiator(drive, "two")
    one.good("1b")
    one.good("1b00000001")
    one.good("00")
    assert two.check("00").code == (6, 0x28, 0)


# Vital product data.


def test_every_listed_page_can_be_read(personality):
    host = Initiator(make(personality))
    codes = vpd(host, 0x00)
    assert list(codes) == sorted(codes)
    wanted = {0x00, 0x80, 0x83, 0xC0, 0xC1}
    if personality.generation.number >= 3:
        wanted |= {0x86, 0xB0}
    if personality.generation.number >= 5:
        wanted |= {0x85, 0x87, 0x88, 0x90, 0xB1, 0xB2, 0xB3, 0xB4, 0xB5}
    assert {code for code in codes if code < 0xC2} == wanted
    for code in codes:
        vpd(host, code)


def designators(page: bytes) -> list[tuple[int, int, bytes]]:
    found = []
    while page:
        found.append((page[1] >> 4 & 3, page[1] & 0x0F, page[4 : 4 + page[3]]))
        page = page[4 + page[3] :]
    return found


def test_device_identification(personality):
    page = vpd(Initiator(make(personality)), 0x83)
    found = designators(page)
    vendor, product, _ = KNOWN[personality.name]
    assert (0, 1, vendor + product + SERIAL.encode()) in found
    (naa,) = (value for association, kind, value in found if (association, kind) == (0, 3))
    assert naa[0] >> 4 == 3
    assert len(naa) == 8
    assert (1, 4, b"\0\0\0\1") in found
    assert (1, 5, b"\0\0\0\1") in found
    names = {association: value for association, kind, value in found if kind == 8}
    assert names[0].rstrip(b"\0") == f"{IQN},L,0x{naa.hex()}".encode()
    assert names[1].rstrip(b"\0") == f"{IQN},t,0x0001".encode()
    assert names[2].rstrip(b"\0") == IQN.encode()


def test_ports_and_protocol():
    host = Initiator(make(IBM_5))
    ports = vpd(host, 0x88)
    assert struct.unpack_from(">2xH2xH2xH", ports) == (1, 0, len(ports) - 12)
    assert designators(ports[12:])[0][:2] == (1, 8)
    assert vpd(host, 0x90).hex() == "0001050000000000"
    assert vpd(host, 0x87).hex() == "0af00300" + "3fff0000"
    assert vpd(host, 0x85) == b""
    extended = vpd(host, 0x86)
    assert len(extended) == 60
    assert extended[0] & 0x04, "GRD_CHK"
    assert extended[1] & 0x01, "SIMPSUP"


def test_the_library_is_named():
    host = Initiator(make(IBM_5))
    assert vpd(host, 0xB3) == b"1FAD487600"
    assert vpd(host, 0xB4) == (10000).to_bytes(2, "big")


def test_a_drive_outside_of_a_library_names_none():
    host = Initiator(TapeDrive(IBM_5, serial=SERIAL))
    assert not {0xB3, 0xB4} & set(vpd(host, 0x00))


@pytest.mark.parametrize(
    ("tape", "bit"),
    [(None, 1), (MemoryCartridge(), 0), (MemoryCartridge(worm=True), 1)],
    ids=["empty", "data", "worm"],
)
def test_worm_capability(tape, bit):
    assert vpd(Initiator(make(IBM_5, tape)), 0xB0)[0] == bit


def test_methods_of_logical_block_protection(personality):
    """Four reserved bytes, then the descriptors, as sg_vpd reads them."""
    host = Initiator(make(personality))
    if personality.generation.number < 5:
        assert host.check(bytes((0x12, 0x01, 0xB5, 0xFF, 0xFF))).code == (5, 0x24, 0)
        return
    page = vpd(host, 0xB5)
    methods = [page[at + 1] for at in range(4, len(page), 8)]
    assert methods == ([1] if personality.generation.number < 7 else [1, 2])
    assert all(page[at : at + 4 : 2] == b"\x07\x04" for at in range(4, len(page), 8))


def test_firmware_pages(personality):
    host = Initiator(make(personality))
    firmware = vpd(host, 0xC0)
    assert personality.revision.encode() in firmware
    if personality.vendor in ("IBM", "QUANTUM"):
        assert len(firmware) == 39
        assert vpd(host, 0xC1) == SERIAL.encode().ljust(12) * 2
    else:
        assert len(firmware) == 92
        assert firmware.startswith(b"Firmware ")


# Auxiliary memory.


def attribute(host: Initiator, identifier: int) -> bytes:
    cdb = bytes.fromhex("8c000000000000000000000000ff0000")
    data = host.good(cdb[:8] + identifier.to_bytes(2, "big") + cdb[10:])
    found, length = struct.unpack_from(">HxH", data, 4)
    assert found == identifier
    return data[9 : 9 + length]


@pytest.mark.parametrize(
    ("tape", "medium_type", "density"),
    [
        (MemoryCartridge(generation=7), 0x00, 0x5C),
        (MemoryCartridge(generation=8, worm=True), 0x80, 0x5E),
        (MemoryCartridge(generation=5), 0x00, 0x58),
        (MemoryCartridge(generation=8, cleaning=True), 0x01, 0x5E),
    ],
    ids=["data", "worm", "unreadable", "cleaning"],
)
def test_the_memory_says_what_the_cartridge_is(tape, medium_type, density):
    host = Initiator(make(IBM_8, tape))
    assert attribute(host, 0x0408) == bytes((medium_type,))
    assert attribute(host, 0x0405) == bytes((density,))
    host.good("1b")
    assert host.check("8c" + "00" * 10 + "00ff").code == (2, 0x3A, 0)


def test_the_volume_statistics_name_the_generation(personality):
    number = personality.generation.number
    host = Initiator(make(personality, MemoryCartridge(generation=number)))
    if number < 5:
        assert host.check("4d0057000000 00ffff").code == (5, 0x24, 0)
        return
    page = host.good("4d0057000000 00ffff")
    name = f"Ultrium-{number}".encode()
    assert b"\0\x45\x41" + bytes((len(name),)) + name in page


def test_the_memory_says_when_the_cartridge_was_made_and_its_densities():
    host = Initiator(make(IBM_8, MemoryCartridge(generation=8, created_ms=1_709_164_800_123)))
    assert attribute(host, 0x0406) == b"20240229"
    assert attribute(host, 0x040B) == b"\x5e".ljust(10, b"\0")


def test_a_cleaning_cartridges_memory_counts():
    host = Initiator(make(IBM_8, cleaner()))
    assert int.from_bytes(attribute(host, 0x0409), "big") == CLEANINGS


def test_memory_can_be_read_while_the_cartridge_is_held():
    host = Initiator(make(IBM_5, MemoryCartridge("TAP001L5")))
    host.good("1b00000008")
    assert attribute(host, 0x0401).rstrip() == b"TAP001L5"


@pytest.mark.parametrize("worm", [False, True], ids=["data", "worm"])
def test_every_page_can_be_read_with_every_medium(personality, worm):
    for media in (*personality.media, None):
        tape = None if media is None else MemoryCartridge(generation=media.number, worm=worm)
        host = Initiator(make(personality, tape))
        for code in vpd(host, 0x00):
            vpd(host, code)
        listed = host.good("4d0040ff000000ffff")[4:]
        for code, subpage in zip(listed[::2], listed[1::2], strict=True):
            host.good(bytes((0x4D, 0, 0x40 | code, subpage, 0, 0, 0, 0xFF, 0xFF)))
        for control in (0x00, 0x40, 0x80):
            host.good(bytes((0x5A, 0, control | 0x3F, 0xFF, 0, 0, 0, 0xFF, 0xFF)))
        if tape is not None:
            host.good("8c000000000000000000" + "0000ffff")
