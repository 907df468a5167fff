"""A library of LTO-9 drives by HPE with media of several generations, as its clients see it."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable

import pytest

from tests.support.clients import require_program
from tests.support.gateway import Gateway
from tests.support.tape_client import DATA_PROTECT, MEDIUM_ERROR, NOT_READY, SenseError, TapeDrive

MakeGateway = Callable[..., Gateway]
GENERATIONS = {"DATA09L9": "LTO-9", "DATA08L8": "LTO-8", "DATA05L5": "LTO-5"}
CLEANER = "CLNU01L1"


@pytest.fixture
def served(make_gateway: MakeGateway) -> Gateway:
    """Two drives, a tape of each generation and a cleaning cartridge, all in slots."""
    gateway = make_gateway()
    gateway.activate("--drives", "2", "--tape-drive-type", "HPE-Ultrium-9")
    for barcode, generation in GENERATIONS.items():
        gateway.create_tapes("--barcode", barcode, "--generation", generation)
    gateway.cli("tape", "create", "--cleaning", "--barcode", CLEANER, "--to-slots", "--wait")
    gateway.serve()
    return gateway


def vpd(drive: TapeDrive, page: int) -> bytes:
    cdb = struct.pack(">BBBHB", 0x12, 1, page, 0x1000, 0)
    return drive.checked(f"INQUIRY, page {page:02x}h", cdb, data_in_bytes=0x1000)[4:]


def sense_of(call: Callable[[], object]) -> tuple[int, int, int]:
    with pytest.raises(SenseError) as refused:
        call()
    sense = refused.value.sense
    assert sense is not None
    return sense.key, sense.asc, sense.ascq


def ready(drive: TapeDrive) -> None:
    drive.checked("TEST UNIT READY", bytes(6))


def test_the_drives_say_who_and_where_they_are(served: Gateway) -> None:
    changer, first, second = served.json("device", "list")
    for number, device in ((1, first), (2, second)):
        drive = served.drive(number)
        assert drive.inquiry()[8:32] == b"HPE     Ultrium 9-SCSI  "
        assert vpd(drive, 0x80).decode() == device["SerialNumber"]
        assert vpd(drive, 0xB3).decode() == changer["SerialNumber"]
        assert int.from_bytes(vpd(drive, 0xB4), "big") == device["ElementAddress"]
        for page in vpd(drive, 0x00):
            vpd(drive, page)
        drive.session.logout()


def inquiry_by_libiscsi(gateway: Gateway, *words: str) -> str:
    """What iscsi-inq says of the first drive."""
    iscsi_inq = require_program("iscsi-inq", "libiscsi-bin")
    host, port = gateway.portal
    url = f"iscsi://{host}:{port}/{gateway.json('device', 'show', '1')['TargetARN']}/0"
    # It writes binary designators as they are.
    done = subprocess.run(
        [iscsi_inq, *words, url],
        capture_output=True,
        encoding="ascii",
        errors="replace",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_other_clients_read_the_identification(served: Gateway) -> None:
    serial = served.json("device", "show", "1")["SerialNumber"]
    for words, wanted in (
        ((), "Product:Ultrium 9-SCSI"),
        (("-e", "1", "-c", "128"), serial),
        (("-e", "1", "-c", "131"), f"[HPE     Ultrium 9-SCSI  {serial}]"),
    ):
        assert wanted in inquiry_by_libiscsi(served, *words)


def test_each_generation_as_the_drive_can_use_it(served: Gateway) -> None:
    drive = served.drive(1)
    for barcode in ("DATA09L9", "DATA08L8"):
        served.cli("tape", "load", barcode, "1")
        drive.wait_ready()
        drive.write_block(barcode.encode())
        drive.rewind()
        assert drive.read_block(64) == barcode.encode()
        served.cli("tape", "unload", barcode)
    served.cli("tape", "load", "DATA05L5", "1")
    for call in (lambda: ready(drive), drive.rewind, lambda: drive.read_block(64)):
        assert sense_of(call) == (MEDIUM_ERROR, 0x30, 0x02)
    assert sense_of(lambda: drive.write_block(b"no")) == (MEDIUM_ERROR, 0x30, 0x02)
    assert served.json("tape", "unload", "DATA05L5")["Location"].startswith("slot")
    assert sense_of(lambda: ready(drive)) == (NOT_READY, 0x3A, 0x00)


def test_a_drive_of_lto_2(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "1", "--tape-drive-type", "HP-Ultrium-2")
    gateway.create_tapes("--barcode", "DATA02L2")
    for barcode, generation in (("DATA01L1", "LTO-1"), ("DATA03L3", "LTO-3")):
        gateway.create_tapes("--barcode", barcode, "--generation", generation)
    gateway.serve()
    assert gateway.json("tape", "show", "DATA02L2")["Generation"] == "LTO-2"
    drive = gateway.drive(1)
    assert inquiry_by_libiscsi(gateway).count("Product:Ultrium 2-SCSI") == 1
    assert set(vpd(drive, 0x00)) == {0x00, 0x80, 0x83, *range(0xC0, 0xC6)}
    for barcode, density in (("DATA02L2", 0x42), ("DATA01L1", 0x40)):
        gateway.cli("tape", "load", barcode, "1")
        drive.wait_ready()
        drive.write_block(barcode.encode())
        drive.rewind()
        assert drive.read_block(64) == barcode.encode()
        sense = drive.checked("MODE SENSE(6)", bytes.fromhex("1a0000000c00"), data_in_bytes=12)
        assert sense[4] == density
        gateway.cli("tape", "unload", barcode)
    gateway.cli("tape", "load", "DATA03L3", "1")
    assert sense_of(lambda: ready(drive)) == (MEDIUM_ERROR, 0x30, 0x01)
    set_key = bytes.fromhex("b5200010000000000000")
    assert sense_of(lambda: drive.checked("SECURITY PROTOCOL OUT", set_key)) == (5, 0x20, 0x00)


def test_media_that_the_drive_only_reads(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "1")
    gateway.create_tapes("--barcode", "DATA03L3", "--generation", "LTO-3")
    gateway.serve()
    gateway.cli("tape", "load", "DATA03L3", "1")
    drive = gateway.drive(1)
    drive.wait_ready()
    assert sense_of(lambda: drive.write_block(b"no")) == (DATA_PROTECT, 0x30, 0x05)
    assert drive.read_position() == 0


def test_a_cleaning_cartridge_cleans_and_is_put_back(served: Gateway) -> None:
    drive = served.drive(1)
    for used in (1, 2):
        served.cli("tape", "load", CLEANER, "1")
        assert sense_of(lambda: ready(drive)) == (NOT_READY, 0x30, 0x03)
        assert sense_of(lambda: drive.write_block(b"no")) == (NOT_READY, 0x30, 0x03)
        tape = served.json("tape", "unload", CLEANER)
        assert (tape["Cleaning"], tape["CleaningsLeft"]) == (True, 50 - used)
    served.cli("tape", "load", "DATA09L9", "1")
    drive.wait_ready()


def test_drives_of_several_kinds_in_one_library(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    profile = gateway.root / "profile.toml"
    profile.write_text('revision = "ZZ99"\n[vpd]\nc7 = "cafe"\n')
    gateway.activate(
        *("--drives", "2", "--tape-drive-type", "IBM-ULT3580-TD8,HPE-Ultrium-9"),
        *("--drive-profile", str(profile)),
    )
    gateway.create_tapes("--barcode", "DATA07L7", "--generation", "LTO-7")
    gateway.serve()
    # READ ELEMENT STATUS, drives with DVCID: descriptors of 16 bytes and an identifier of 34.
    cdb = struct.pack(">BBHHBBHBB", 0xB8, 4, 0, 0xFFFF, 1, 0, 0x1000, 0, 0)
    status = gateway.changer().checked("READ ELEMENT STATUS", cdb, data_in_bytes=0x1000)
    identifiers = [status[at + 16 : at + 50] for at in (16, 66)]
    for number, product in ((1, b"IBM     ULT3580-TD8     "), (2, b"HPE     Ultrium 9-SCSI  ")):
        drive = gateway.drive(number)
        assert drive.inquiry()[8:36] == product + b"ZZ99"
        assert vpd(drive, 0xC7) == b"\xca\xfe"
        assert identifiers[number - 1] == product + drive.serial_number().encode()
        assert identifiers[number - 1] in vpd(drive, 0x83)
        gateway.cli("tape", "load", "DATA07L7", str(number))
        if number == 1:
            drive.wait_ready()
        else:
            assert sense_of(lambda drive=drive: ready(drive)) == (MEDIUM_ERROR, 0x30, 0x02)
        gateway.cli("tape", "unload", "DATA07L7")
