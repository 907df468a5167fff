"""What the changer says of a drive whose process has died, and that it is well again afterwards."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.conformance.library import (
    ACCESS,
    DATA_TRANSFER,
    EXCEPT,
    FULL,
    Report,
    read_element_status,
)
from tests.support.gateway import Gateway, wait_until
from tests.support.tape_client import MediaChanger

pytestmark = pytest.mark.timeout(120)


def drive_status(changer: MediaChanger) -> tuple[int, bytes]:
    """Return flags and additional sense code of the first drive."""
    command = read_element_status(DATA_TRANSFER, count=1, length=1024)
    data = changer.checked(command.name, command.cdb, data_in_bytes=1024)
    (row,) = Report.decode(data).pages[0].descriptors
    return row[2], row[4:6]


def test_a_dead_drive_is_exceptional_until_it_is_back(
    make_gateway: Callable[..., Gateway],
) -> None:
    gateway = make_gateway()
    gateway.activate("--drives", "1", "--slots", "4", "--import-export", "2")
    (barcode,) = gateway.create_tapes("--count", "1")
    gateway.serve()
    gateway.load(barcode)
    changer = gateway.changer()
    well = FULL | ACCESS, bytes(2)
    assert drive_status(changer) == well

    with gateway.drive().session as session:
        os.kill(gateway.worker_pid(session), signal.SIGKILL)
    failed = FULL | EXCEPT, b"\x08\x00"
    wait_until(lambda: drive_status(changer) == failed, "the drive is missed", 10)
    wait_until(lambda: drive_status(changer) == well, "the drive is back", 30)
    drive = gateway.drive()
    drive.wait_ready()
    drive.write_block(b"and works")
