"""One logical unit behind two targets: its own, and that of the whole library."""

from __future__ import annotations

import struct

import pytest

from tapectl.scsi.transport_id import encode_transport_id, target_node
from tests.support.scsi_initiator import Initiator
from tests.support.units import TARGET, make_changer, make_drive

LIBRARY = "iqn.2025-01.test:gw-library"
NODE = "iqn.2025-01.test:one"
REGISTER, SPEC_I_PT = 0, 0x08


def nexus(target: str, isid: int = 1, node: str = NODE) -> str:
    return f"{node},i,0x{isid:012x},{target},t,0x1"


def reported_luns(initiator: Initiator) -> list[int]:
    data = initiator.good("a000 00000000 00000400")
    assert int.from_bytes(data[:4], "big") == len(data) - 8
    return [value >> 48 for (value,) in struct.iter_unpack(">Q", data[8:])]


@pytest.mark.parametrize("page", ["83", "88"])
def test_pages_name_the_port_that_they_are_read_through(page: str) -> None:
    drive = make_drive()
    own, other = (
        Initiator(drive, nexus(target)).good(f"1201{page}0400") for target in (TARGET, LIBRARY)
    )
    port = f"{LIBRARY},t,0x0001".encode()
    assert port in other
    assert port not in own
    assert f"{TARGET},t,0x0001".encode() in own


def test_the_logical_unit_has_one_name() -> None:
    drive = make_drive()
    name = f"{TARGET},L,0x".encode()
    for target in (TARGET, LIBRARY):
        assert name in Initiator(drive, nexus(target)).good("1201830400")


def test_a_target_is_named_in_a_nexus() -> None:
    assert target_node(nexus(LIBRARY)) == LIBRARY
    assert target_node("iqn.2025-01.test:one,i,0x01") == ""


def test_luns_are_those_of_the_target_that_is_asked() -> None:
    changer = make_changer()
    changer.server.luns = lambda asking: 4 if LIBRARY in asking else 1
    assert reported_luns(Initiator(changer, nexus(LIBRARY))) == [0, 1, 2, 3]
    assert reported_luns(Initiator(changer, nexus(TARGET))) == [0]


def test_a_node_is_registered_with_the_ports_of_the_target_that_is_asked() -> None:
    drive = make_drive()
    through_library = [Initiator(drive, nexus(LIBRARY, isid, "iqn.x:two")) for isid in (1, 2)]
    through_own = Initiator(drive, nexus(TARGET, 1, "iqn.x:two"))
    asking = Initiator(drive, nexus(LIBRARY))
    transport_id = encode_transport_id("iqn.x:two")
    data = struct.pack(">QQ4xB3xI", 0, 7, SPEC_I_PT, len(transport_id)) + transport_id
    asking.good(b"\x5f\0\0\0\0" + len(data).to_bytes(4, "big"), data)
    registered = set(drive.server.reservations.persistent.registered)
    assert registered == {asking.nexus, *(each.nexus for each in through_library)}
    assert through_own.nexus not in registered
