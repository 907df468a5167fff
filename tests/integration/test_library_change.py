"""A library that changes: while it is served, and between two servers."""

from __future__ import annotations

import getpass
from collections.abc import Callable

import pytest

from tapectl.errors import ExitCode
from tests.support.gateway import Gateway
from tests.support.tape_client import SenseError

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def gateway(make_gateway: Callable[..., Gateway]) -> Gateway:
    gateway = make_gateway()
    gateway.activate("--drives", "1", "--slots", "4", "--import-export", "2")
    gateway.create_tapes("--count", "2")
    return gateway


def test_a_library_grows_while_it_is_served(gateway: Gateway) -> None:
    gateway.serve()
    changer = gateway.changer()
    changer.wait_ready()
    before = gateway.targets()
    drive = gateway.drive()
    barcode = gateway.barcodes()[0]
    gateway.load(barcode)
    drive.wait_ready()
    drive.write_block(b"written before the library grew")

    gateway.cli("device", "set-changer", "--drives", "3", "--slots", "9")
    told = [changer.session.execute(bytes(6)).sense for _ in range(2)]
    assert [(sense[2], sense[12], sense[13]) for sense in told] == [(6, 0x28, 0), (6, 0x2A, 1)]
    assert changer.session.execute(bytes(6)).status == 0

    addresses = changer.addresses()
    assert (addresses.data_transfer[1], addresses.storage[1]) == (3, 9)
    assert len(gateway.targets()) == len(before) + 2
    drive.write_block(b"and after it")
    drive.rewind()
    assert drive.read_block(64) == b"written before the library grew"

    last_slot = addresses.storage[0] + 8
    new_drive = addresses.data_transfer[0] + 2
    source = next(e.address for e in changer.elements(2) if e.full)
    changer.move(source, last_slot)
    changer.move(last_slot, new_drive)
    third = gateway.drive(3)
    third.wait_ready()
    third.write_block(b"on a drive that was not there")
    changer.move(new_drive, last_slot)

    # Events tell who moved a tape: which initiator, or which user of the machine.
    gateway.cli("tape", "move", gateway.barcodes()[1], "slot:3")
    moves = [event["Actor"] for event in gateway.json("events", "--type", "TapeMoved")]
    initiator = "initiator:iqn.2000-01.example.test:initiator"
    assert moves == [*[initiator] * 4, f"cli:{getpass.getuser()}"]


def test_a_served_library_does_not_shrink(gateway: Gateway) -> None:
    gateway.serve()
    for words in (("--slots", "3"), ("STK-L700",)):
        refused = gateway.run("device", "set-changer", *words)
        assert refused.returncode == ExitCode.DEVICE_BUSY
        assert "stop `tapectl serve` first" in refused.stderr


@pytest.mark.parametrize("changer_type", ["STK-L700", "IBM-3573-TL", "HPE-MSL-G3"])
def test_another_changer_between_two_servers(gateway: Gateway, changer_type: str) -> None:
    gateway.serve()
    tags = [e.volume_tag for e in gateway.changer().elements(2)]
    gateway.stop()
    gateway.cli("device", "set-changer", changer_type)
    gateway.serve()
    changer = gateway.changer()
    assert changer.inquiry()[8:12].decode().strip() == changer_type.split("-")[0]
    first = changer.addresses().storage[0]
    assert [(e.address, e.volume_tag) for e in changer.elements(2)] == [
        (first + number, tag) for number, tag in enumerate(tags)
    ]
    with pytest.raises(SenseError):
        changer.move(first + 3, first)
    changer.move(first, first + 3)


def test_a_tape_that_would_have_no_slot_keeps_it(gateway: Gateway) -> None:
    refused = gateway.run("device", "set-changer", "--slots", "1")
    assert refused.returncode == ExitCode.ELEMENT
    assert "would not have" in refused.stderr
    # Barcodes are drawn: which of the two comes first in the list is open.
    places = sorted(tape["ElementAddress"] for tape in gateway.json("tape", "list"))
    assert places == [20000, 20001]
