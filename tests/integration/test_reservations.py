"""What a device keeps survives its process: reservations with APTPL, saved pages, names.

Both ways to lose power are tried: kill -9 of a drive's worker, and of the supervisor, which the
changer lives in.
"""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Callable

import pytest

from tests.support.gateway import Gateway, wait_until
from tests.support.initiator import Response, Session, SessionOptions

REGISTER, RESERVE, RELEASE, PREEMPT, PREEMPT_AND_ABORT = 0, 1, 2, 4, 5
WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 5
APTPL = 1
GOOD, CHECK_CONDITION, RESERVATION_CONFLICT = 0x00, 0x02, 0x18
TEST_UNIT_READY = bytes(6)
LOG_SELECT = bytes.fromhex("4c000000000000000000")
READ_KEYS, READ_RESERVATION = (
    bytes((0x5E, action, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0)) for action in (0, 1)
)
HOLDER = SessionOptions(initiator_name="iqn.2000-01.example.test:holder", isid=b"\x80hold\0")
STRANGER = SessionOptions(initiator_name="iqn.2000-01.example.test:stranger", isid=b"\x80stra\0")


@pytest.fixture
def served(gateway: Gateway) -> Gateway:
    gateway.activate("--drives", "1")
    gateway.create_tapes("--count", "1")
    gateway.serve()
    return gateway


def prout(session: Session, action: int, *, key: int = 0, new: int = 0, flags: int = 0) -> int:
    data = struct.pack(">QQ4xB3x", key, new, flags)
    kind = WRITE_EXCLUSIVE_REGISTRANTS_ONLY
    cdb = struct.pack(">BBB2xIx", 0x5F, action, kind, len(data))
    return run(session, cdb, data_out=data).status


def run(session: Session, cdb: bytes, *, read: int = 0, data_out: bytes = b"") -> Response:
    """Run a command past the unit attentions that wait for it."""
    while True:
        response = session.execute(cdb, data_in_bytes=read, data_out=data_out)
        if response.status != CHECK_CONDITION or response.sense[2] & 0x0F != 6:
            return response


def keys(session: Session) -> bytes:
    return run(session, READ_KEYS, read=0xFFFF).data[8:]


def kill_worker(gateway: Gateway, session: Session) -> None:
    pid = gateway.worker_pid(session)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in gateway.child_pids("serve.worker"), "the worker's end", 30)


def kill_supervisor(gateway: Gateway, _session: Session) -> None:
    gateway.kill_server()
    gateway.serve()


@pytest.mark.parametrize(
    ("device", "kill"),
    [
        ("tapedrive-01", kill_worker),
        ("tapedrive-01", kill_supervisor),
        ("mediachanger", kill_supervisor),
    ],
)
def test_a_reservation_survives_with_aptpl_alone(
    served: Gateway, device: str, kill: Callable[[Gateway, Session], None]
) -> None:
    for flags in (APTPL, 0):
        with served.connect(device, HOLDER) as holder:
            assert prout(holder, REGISTER, new=0xABC, flags=flags) == GOOD
            assert prout(holder, RESERVE, key=0xABC) == GOOD
            kill(served, holder)
        with served.connect(device, HOLDER) as holder, served.connect(device, STRANGER) as stranger:
            kept = flags == APTPL
            assert keys(stranger) == (struct.pack(">Q", 0xABC) if kept else b"")
            held = run(stranger, READ_RESERVATION, read=0xFFFF).data[8:]
            assert (held[13:14] == bytes((WRITE_EXCLUSIVE_REGISTRANTS_ONLY,))) == kept
            refused = run(stranger, LOG_SELECT).status == RESERVATION_CONFLICT
            assert refused == kept
            assert run(holder, LOG_SELECT).status == GOOD
            if kept:
                assert prout(holder, RELEASE, key=0xABC) == GOOD
                assert prout(holder, REGISTER, key=0xABC) == GOOD


def test_saved_pages_and_names_survive(served: Gateway) -> None:
    page = bytes.fromhex("1c0a 00 04 00000000 00000000")
    name = b"third rack"
    for device in ("tapedrive-01", "mediachanger"):
        with served.connect(device) as session:
            data = bytes((0, 0, 0, 0x10, 0, 0, 0, 0)) + page
            select = bytes((0x55, 0x11, 0, 0, 0, 0, 0, 0, len(data), 0))
            assert run(session, select, data_out=data).status == GOOD
            set_name = struct.pack(">BB4xIBx", 0xA4, 6, len(name), 0)
            assert run(session, set_name, data_out=name).status == GOOD
    kill_supervisor(served, session)
    for device in ("tapedrive-01", "mediachanger"):
        with served.connect(device) as session:
            sense = bytes((0x5A, 0x08, 0x1C, 0, 0, 0, 0, 0, 255, 0))
            assert run(session, sense, read=255).data[8:] == b"\x9c" + page[1:]
            report = struct.pack(">BB4xIBx", 0xA3, 5, 255, 0)
            assert run(session, report, read=255).data[4:] == name


@pytest.mark.parametrize(("action", "aborts"), [(PREEMPT, False), (PREEMPT_AND_ABORT, True)])
def test_preempting_ends_a_command_under_way_only_where_it_aborts(
    served: Gateway, action: int, aborts: bool
) -> None:
    (barcode,) = served.barcodes()
    served.load(barcode)
    with (
        served.connect("tapedrive-01", STRANGER) as one,
        served.connect("tapedrive-01", HOLDER) as two,
    ):
        run(one, TEST_UNIT_READY)
        assert prout(one, REGISTER, new=1) == GOOD
        assert prout(two, REGISTER, new=2) == GOOD
        data = b"x" * 300_000
        tag = one.start(b"\x0a\0" + len(data).to_bytes(3, "big") + b"\0", data_out_bytes=len(data))
        send_data = one.wait_for_r2t(tag)
        assert prout(two, action, key=2, new=1) == GOOD
        send_data(data)
        if not aborts:
            assert one.finish_write(tag, b"").sense[12:14] == b"\x2a\x05"
        else:
            # No answer to the write; the next command tells why.
            assert one.execute(TEST_UNIT_READY).sense[12:14] == b"\x2a\x05"
        assert one.execute(TEST_UNIT_READY).status == GOOD
