"""Encrypted tapes in a served gateway: what disks, store and logs show, and who can read them."""

from __future__ import annotations

import base64
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.encryption import (
    DECRYPT,
    ENCRYPT,
    EncryptionStatus,
    set_page,
    spin_cdb,
    spout_cdb,
)
from tests.support.gateway import Gateway, wait_until
from tests.support.tape_client import DATA_PROTECT, SenseError, TapeDrive

KEY = random.Random(21).randbytes(32)
# Neither compression nor chance makes this.
TEXT = b"what the client has written and nobody else is to read: 4217-0093; "
BLOCK = TEXT * 900
BLOCKS = 200
WAIT_S = 120.0


def set_key(drive: TapeDrive) -> None:
    page = set_page(ENCRYPT, DECRYPT, KEY)
    drive.checked("SECURITY PROTOCOL OUT", spout_cdb(page), data_out=page)


def modes(drive: TapeDrive) -> tuple[int, int]:
    data = drive.checked("SECURITY PROTOCOL IN", spin_cdb(0x20), data_in_bytes=0x2000)
    return EncryptionStatus.decode(data).modes


@pytest.fixture
def gateway(make_gateway: Callable[..., Gateway]) -> Iterator[Gateway]:
    gateway = make_gateway(hold_s="0", retrieval_poll_s="0.2", directory_retrieval_delay_s="0")
    gateway.activate("--drives", "2")
    gateway.create_tapes()
    gateway.serve()
    yield gateway
    gateway.stop()


@pytest.fixture
def barcode(gateway: Gateway) -> str:
    """The tape, in the first drive, written with the key and a filemark."""
    barcode = gateway.barcodes()[0]
    gateway.load(barcode)
    drive = gateway.drive(1)
    drive.wait_ready()
    set_key(drive)
    for _ in range(BLOCKS):
        drive.write_block(BLOCK)
    drive.write_filemarks()
    drive.session.close()
    return barcode


def files(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if path.is_file():
                yield path


def test_neither_key_nor_data_is_anywhere_but_with_the_client(
    gateway: Gateway, barcode: str
) -> None:
    gateway.changer().unload(0)
    gateway.cli("tape", "eject", barcode, "--wait", timeout_s=WAIT_S)
    gateway.stop()
    secrets = (KEY, KEY.hex().encode(), base64.b64encode(KEY)[:-2], KEY[:16], TEXT)
    looked_at = 0
    for path in files(gateway.root):
        content = path.read_bytes()
        looked_at += len(content)
        found = [secret for secret in secrets if secret in content]
        assert not found, f"{path} shows it"
    assert looked_at > BLOCKS * len(BLOCK)
    gateway.serve()


def test_an_archived_tape_is_read_again_with_its_key(gateway: Gateway, barcode: str) -> None:
    gateway.changer().unload(0)
    gateway.cli("tape", "eject", barcode, "--wait", timeout_s=WAIT_S)
    gateway.cli("tape", "retrieve", barcode, "--wait", timeout_s=WAIT_S)
    gateway.load(barcode, 2)
    drive = gateway.drive(2)
    drive.wait_ready()
    with pytest.raises(SenseError) as refused:
        drive.read_block(len(BLOCK))
    assert refused.value.key == DATA_PROTECT
    set_key(drive)
    for _ in range(BLOCKS):
        assert drive.read_block(len(BLOCK)) == BLOCK


def test_a_key_does_not_survive_the_drives_process(gateway: Gateway, barcode: str) -> None:
    assert barcode
    drive = gateway.drive(1)
    assert modes(drive) == (ENCRYPT, DECRYPT)
    worker = gateway.worker_pid(drive.session)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: worker not in gateway.child_pids("serve.worker"), "its end", WAIT_S)
    again = gateway.drive(1)
    again.wait_ready()
    assert modes(again) == (0, 0)
    again.rewind()
    with pytest.raises(SenseError) as refused:
        again.read_block(len(BLOCK))
    assert refused.value.key == DATA_PROTECT
    set_key(again)
    assert again.read_block(len(BLOCK)) == BLOCK
