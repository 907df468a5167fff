"""A WORM tape over iSCSI: what is on it stays, in the library and after the shelf."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tapectl.errors import ExitCode
from tests.support.gateway import Gateway
from tests.support.tape_client import DATA_PROTECT, SenseError, TapeDrive

SETTINGS = {"hold_s": "0", "retrieval_poll_s": "0.2", "directory_retrieval_delay_s": "0.2"}
FIRST, SECOND = b"first" * 1000, b"second" * 1000
# MEDIUM TYPE of LTO-5 WORM media, in MODE SENSE; of the cartridge, in its auxiliary memory.
LTO5_WORM, MAM_WORM = 0x5C, 0x80
OVERWRITE_ATTEMPTED = (0x30, 0x0C)


def medium_type(drive: TapeDrive) -> int:
    """MODE SENSE(6), the header alone."""
    return drive.checked("MODE SENSE", bytes([0x1A, 0x08, 0x3F, 0, 4, 0]), data_in_bytes=4)[1]


def cartridge_type(drive: TapeDrive) -> int:
    """READ ATTRIBUTE of 0408h, MEDIUM TYPE: its value stands last."""
    cdb = bytes([0x8C, 0, 0, 0, 0, 0, 0, 0, 0x04, 0x08]) + (64).to_bytes(4, "big") + bytes(2)
    return drive.checked("READ ATTRIBUTE", cdb, data_in_bytes=64)[4 + 5]


def refuses(write: Callable[[], object]) -> SenseError:
    with pytest.raises(SenseError) as refused:
        write()
    assert refused.value.key == DATA_PROTECT
    return refused.value


def test_what_is_on_a_worm_tape_stays(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway(**SETTINGS)
    gateway.activate()
    (barcode,) = gateway.create_tapes("--worm", "--prefix", "WRM")
    assert gateway.json("tape", "show", barcode)["Worm"] is True
    gateway.serve()
    gateway.load(barcode)
    drive = gateway.drive(1)
    assert (medium_type(drive), cartridge_type(drive)) == (LTO5_WORM, MAM_WORM)
    drive.write_block(FIRST)
    drive.write_filemarks(1)
    drive.rewind()
    sense = refuses(lambda: drive.write_block(SECOND)).sense
    assert sense is not None
    assert (sense.asc, sense.ascq) == OVERWRITE_ATTEMPTED
    refuses(lambda: drive.checked("ERASE", bytes([0x19, 1, 0, 0, 0, 0])))
    refuses(lambda: drive.checked("FORMAT MEDIUM", bytes([0x04, 0, 0, 0, 0, 0])))
    drive.space_end_of_data()
    drive.write_block(SECOND)
    drive.write_filemarks(1)
    gateway.changer().unload(0)

    undo = gateway.run("recovery", "restore", barcode, "--yes")
    assert undo.returncode == ExitCode.TAPE_STATUS, undo.stderr
    assert "write once" in undo.stderr

    gateway.cli("tape", "eject", barcode, "--wait")
    gateway.cli("tape", "retrieve", barcode, "--wait")
    gateway.load(barcode)
    drive = gateway.drive(1)
    assert medium_type(drive) == LTO5_WORM
    refuses(lambda: drive.write_block(SECOND))
    assert drive.read_block(1 << 20) == FIRST
    drive.space(1, 1)
    assert drive.read_block(1 << 20) == SECOND
    gateway.changer().unload(0)
    # It protects what is recorded, not the tape: as with AWS, that is what retention locks are for.
    gateway.cli("tape", "eject", barcode, "--wait")
    gateway.cli("archive", "delete", barcode, "--yes", "--wait")
