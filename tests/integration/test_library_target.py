"""The whole library as one target: LUN 0 the changer, LUN k drive k."""

from __future__ import annotations

import os
import random
import signal
import struct
from collections.abc import Callable

import pytest

from tests.support.gateway import Gateway, wait_until
from tests.support.initiator import LoginRefusedError, Response, Session, SessionOptions, discover
from tests.support.tape_client import EndOfDataError, FilemarkError, MediaChanger, TapeDrive

pytestmark = pytest.mark.timeout(300)

GOOD, CHECK_CONDITION, RESERVATION_CONFLICT = 0x00, 0x02, 0x18
ABORT_TASK_SET, LOGICAL_UNIT_RESET, TARGET_WARM_RESET = 2, 5, 6
LUN_DOES_NOT_EXIST = 2
REGISTER, RESERVE, PREEMPT_AND_ABORT = 0, 1, 5
EXCLUSIVE_ACCESS = 3
TEST_UNIT_READY = bytes(6)
RESERVE_6, RELEASE_6 = b"\x16" + bytes(5), b"\x17" + bytes(5)
LOADED, POWER_ON, RESET, PREEMPTED, MORE_LUNS = (
    (6, 0x28, 0),
    (6, 0x29, 0),
    (6, 0x29, 3),
    (6, 0x2A, 5),
    (6, 0x3F, 0x0E),
)
STRANGER = SessionOptions(initiator_name="iqn.2000-01.example.test:stranger")


@pytest.fixture
def served(make_gateway: Callable[..., Gateway]) -> Gateway:
    gateway = make_gateway(library_target="true")
    gateway.activate("--drives", "2", "--slots", "4", "--import-export", "2")
    gateway.create_tapes("--count", "2")
    gateway.serve()
    return gateway


def ready(session: Session, lun: int) -> Response:
    return session.execute(TEST_UNIT_READY, lun=lun)


def code(response: Response) -> tuple[int, int, int]:
    assert response.status == CHECK_CONDITION
    return response.sense[2] & 0x0F, response.sense[12], response.sense[13]


def report_luns(session: Session, lun: int = 0) -> list[int]:
    cdb = struct.pack(">B5xI2x", 0xA0, 1024)
    data = session.execute(cdb, data_in_bytes=1024, lun=lun).data
    assert int.from_bytes(data[:4], "big") == len(data) - 8
    return [int.from_bytes(data[at : at + 2], "big") for at in range(8, len(data), 8)]


def vital_data(session: Session, page: int, lun: int = 0) -> bytes:
    cdb = struct.pack(">BBBHx", 0x12, 1, page, 1024)
    return session.execute(cdb, data_in_bytes=1024, lun=lun).data


def prout(session: Session, lun: int, action: int, *, key: int = 0, new: int = 0) -> int:
    data = struct.pack(">QQ8x", key, new)
    cdb = struct.pack(">BBB2xIx", 0x5F, action, EXCLUSIVE_ACCESS, len(data))
    return session.execute(cdb, data_out=data, lun=lun).status


def test_one_session_has_the_whole_library(served: Gateway) -> None:
    session = served.connect("library")
    assert served.targets()["library"] in discover(served.portal)
    assert report_luns(session) == report_luns(session, 1) == report_luns(session, 9) == [0, 1, 2]
    # SPC-5 6.7.2: qualifier 3 and type 1Fh where there is nothing, and nothing else works there.
    absent = session.execute(bytes.fromhex("120000006000"), data_in_bytes=96, lun=3)
    assert (absent.status, absent.data[0]) == (GOOD, 0x7F)
    assert code(ready(session, 3)) == (5, 0x25, 0)
    for lun, device in enumerate(("mediachanger", "tapedrive-01", "tapedrive-02")):
        with served.connect(device) as alone:
            assert report_luns(alone) == [0]
            assert vital_data(session, 0x80, lun) == vital_data(alone, 0x80)
            # The same logical unit by another port: its designators come first in page 83h.
            own, other = vital_data(alone, 0x83), vital_data(session, 0x83, lun)
            unit_bytes = own.index(b"\x51\x94")
            assert own[4:unit_bytes] == other[4:unit_bytes]
            assert served.targets()["library"].encode() + b",t,0x0001\0" in other[unit_bytes:]

    changer = MediaChanger(session, 0)
    for drive, barcode in enumerate(served.barcodes()):
        changer.load(barcode, drive)
    assert [code(ready(session, lun)) for lun in (1, 2)] == [LOADED] * 2
    assert [ready(session, lun).status for lun in (0, 1, 2)] == [GOOD] * 3

    blocks = {
        lun: [random.Random(lun).randbytes(size) for size in (1, 300_000, 2_000_000)]
        for lun in (1, 2)
    }
    drives = {lun: TapeDrive(session, lun) for lun in (1, 2)}
    for number in range(3):
        for lun, drive in drives.items():
            drive.write_block(blocks[lun][number])
    for lun, drive in drives.items():
        drive.write_filemarks()
        drive.rewind()
        for block in blocks[lun]:
            assert drive.read_block(2_000_000) == block
        with pytest.raises(FilemarkError):
            drive.read_block(10)
        with pytest.raises(EndOfDataError):
            drive.read_block(10)

    # A block of one byte read as of ten: ILI, INFORMATION and the transport say what is missing.
    drives[1].rewind()
    short = session.execute(bytes.fromhex("080000000a00"), data_in_bytes=10, lun=1)
    assert (short.status, short.data, short.residual) == (CHECK_CONDITION, blocks[1][0], 9)
    assert short.sense[2] == 0x20
    assert short.sense[3:7] == (9).to_bytes(4, "big")
    # More than the transport is to take: residual overflow.
    long = session.execute(bytes.fromhex("080201000000"), data_in_bytes=1000, lun=1)
    assert (len(long.data), long.residual) == (1000, -(65536 - 1000))
    # The same tape by the drive's own target, where it stands.
    with served.drive(1).session as alone:
        assert TapeDrive(alone).read_position() == drives[1].read_position() == 2

    status = served.json("status")
    assert status["Sessions"] == 1
    session.logout()
    served.stop()


def test_what_one_nexus_does_to_another(served: Gateway) -> None:
    session, stranger = served.connect("library"), served.connect("library", STRANGER)
    drive, second, changer = (
        served.connect(name) for name in ("tapedrive-01", "tapedrive-02", "mediachanger")
    )

    assert session.task_management(LOGICAL_UNIT_RESET, 1) == 0
    assert code(ready(drive, 0)) == code(ready(stranger, 1)) == RESET
    assert ready(changer, 0).status == GOOD
    assert code(ready(second, 0)) == code(ready(stranger, 2)) == (2, 0x3A, 0)
    assert drive.task_management(LOGICAL_UNIT_RESET) == 0
    assert [code(ready(each, 1)) for each in (session, stranger)] == [RESET] * 2
    for function in (ABORT_TASK_SET, LOGICAL_UNIT_RESET):
        assert session.task_management(function, 3) == LUN_DOES_NOT_EXIST
    assert session.task_management(TARGET_WARM_RESET) == 0
    assert [code(ready(each, 0)) for each in (drive, second, changer)] == [RESET] * 3
    assert [code(ready(stranger, lun)) for lun in (0, 1, 2)] == [RESET] * 3
    for each, luns in ((session, (0, 1, 2)), (drive, (0,))):
        for lun in luns:
            each.execute(TEST_UNIT_READY, lun=lun)

    # A nexus of its own at each unit, which ends with the session.
    assert session.execute(RESERVE_6, lun=1).status == GOOD
    assert drive.execute(RESERVE_6).status == RESERVATION_CONFLICT
    assert second.execute(RESERVE_6).status == GOOD
    assert stranger.execute(RESERVE_6, lun=1).status == RESERVATION_CONFLICT
    again = served.connect("library", SessionOptions(isid=session.isid))
    assert session.receive_end()
    assert drive.execute(RESERVE_6).status == RESERVATION_CONFLICT
    again.logout()
    wait_until(lambda: drive.execute(RESERVE_6).status == GOOD, "the nexus is lost", 30)
    assert drive.execute(RELEASE_6).status == GOOD

    # Preempted from elsewhere, it is told.
    assert prout(stranger, 1, REGISTER, new=1) == GOOD
    assert prout(stranger, 1, RESERVE, key=1) == GOOD
    assert drive.execute(RESERVE_6).status == RESERVATION_CONFLICT
    assert prout(drive, 0, REGISTER, new=2) == GOOD
    assert prout(drive, 0, PREEMPT_AND_ABORT, key=2, new=1) == GOOD
    assert code(ready(stranger, 1)) == PREEMPTED
    assert stranger.execute(RESERVE_6, lun=1).status == RESERVATION_CONFLICT

    # More drives are more logical units.
    served.cli("device", "set-changer", "--drives", "3")
    told = set()
    while (response := ready(stranger, 0)).status != GOOD:
        told.add(code(response))
    assert MORE_LUNS in told
    assert report_luns(stranger) == [0, 1, 2, 3]
    assert code(ready(stranger, 3)) == (2, 0x3A, 0)

    # A device's list counts for the whole library too.
    served.cli("device", "allow", "tapedrive-02", drive.options.initiator_name)
    assert stranger.receive_end()
    with pytest.raises(LoginRefusedError):
        Session(served.portal, served.targets()["library"], STRANGER)
    assert served.targets()["library"] not in discover(served.portal, STRANGER)
    allowed = served.connect("library")

    # So does its CHAP, with secrets of the library's own.
    name = drive.options.initiator_name
    secrets = {}
    for device in ("tapedrive-01", "library"):
        secrets[device] = served.root / device
        secrets[device].write_text(f"secret {device}"[:16])
    served.cli("chap", "set", "tapedrive-01", name, "--secret-file", str(secrets["tapedrive-01"]))
    assert allowed.receive_end()
    with pytest.raises(LoginRefusedError):
        Session(served.portal, allowed.target)
    served.cli("chap", "set", "library", name, "--secret-file", str(secrets["library"]))
    chap = SessionOptions(chap=(name, secrets["library"].read_text()))
    Session(served.portal, allowed.target, chap).logout()


def test_a_drive_whose_process_dies_is_told_of_and_the_session_lives(
    make_gateway: Callable[..., Gateway],
) -> None:
    served = make_gateway(library_target="true", logout_wait_s="20")
    served.activate("--drives", "2", "--slots", "4", "--import-export", "2")
    served.create_tapes("--count", "2")
    served.serve()
    session = served.connect("library", SessionOptions(max_connections=2))
    changer, first, second = MediaChanger(session, 0), TapeDrive(session, 1), TapeDrive(session, 2)
    for drive, barcode in enumerate(served.barcodes()):
        changer.load(barcode, drive)
    first.write_block(b"acknowledged")
    second.write_block(b"on the other drive")
    with served.connect("tapedrive-01") as alone:
        os.kill(served.worker_pid(alone), signal.SIGKILL)

    # It waits for the new process, which says what every new process says.
    block = b"may or may not have been written"
    lost = session.execute(b"\x0a\0" + len(block).to_bytes(3, "big") + b"\0", data_out=block, lun=1)
    assert code(lost) == POWER_ON
    assert ready(session, 1).status == GOOD
    assert second.read_position() == 1
    first.rewind()
    assert first.read_block(100) == b"acknowledged"
    with pytest.raises(EndOfDataError):
        first.read_block(100)
    first.write_block(b"and works")

    # A second connection of the session, and the gateway's end.
    further = Session(served.portal, session.target, session.options, joins=session, cid=1)
    assert TapeDrive(further, 2).read_position() == 1
    os.kill(served.server_pid, signal.SIGTERM)
    assert session.wait_for_async_event() == (1, 20)
    session.logout()
    wait_until(lambda: not served.serving(), "the gateway's end", 15)
