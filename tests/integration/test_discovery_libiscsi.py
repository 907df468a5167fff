"""libiscsi's own tools against the portal: a second initiator's reading of RFC 7143."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from tests.support.clients import require_program
from tests.support.gateway import Gateway

DRIVES = 3


@pytest.fixture
def served(make_gateway: Callable[..., Gateway]) -> Gateway:
    gateway = make_gateway()
    gateway.activate("--drives", str(DRIVES))
    gateway.serve()
    return gateway


def run_client(name: str, *arguments: str) -> str:
    program = require_program(name, "libiscsi-bin")
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_iscsi_ls_lists_one_target_a_device(served: Gateway) -> None:
    listing = run_client("iscsi-ls", "-s", f"iscsi://127.0.0.1:{served.port}")
    for target in served.targets().values():
        assert f"Target:{target} " in listing
    assert listing.count("SEQUENTIAL_ACCESS") == DRIVES
    assert listing.count("MEDIA_CHANGER") == 1


def test_iscsi_inq_names_the_device(served: Gateway) -> None:
    drive = run_client("iscsi-inq", served.url("tapedrive-01"))
    assert "IBM" in drive
    assert "ULT3580-TD5" in drive
    changer = run_client("iscsi-inq", served.url("mediachanger"))
    assert "AWS" in changer
    assert "Gateway-VTL" in changer


def test_serial_numbers_are_distinct(served: Gateway) -> None:
    pages = [
        run_client("iscsi-inq", "-e", "1", "-c", "128", served.url(device))
        for device in served.targets()
    ]
    assert len(set(pages)) == DRIVES + 1
