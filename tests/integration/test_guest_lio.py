"""The kernel's target in a stock Debian, with the gateway in the guest behind it: iSCSI, tcm_loop.

TAPECTL_LIO_SUITES names suites of real clients (`discovery sg3 mtx mt tar`) to run through each
fabric too: some minutes a fabric.
"""

from __future__ import annotations

import os
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.eviction import evict
from tests.support.gateway import Gateway, wait_until
from tests.support.guest import GuestResult, run_guest
from tests.support.guest_site import write_site

JOBS = Path(__file__).parents[1] / "support" / "guest_lio"
CLIENTS = os.environ.get("TAPECTL_LIO_SUITES", "").split()
# tcm_loop has 256 pages a command: 1 MiB. And there is no portal, nobody logs in: of discovery only
# the devices and their serial numbers are left, `transport` stands for all that is of iSCSI.
NOT_THROUGH_LOOPBACK = {"tar/dd-2M", "tar/tar-b4096", "discovery/transport"}


COLD_SEED, COLD_BYTES = 17, 4 << 16


def make_cold(gateway: Gateway, barcode: str) -> None:
    """Write a tape whose data is in the store alone then."""
    gateway.serve()
    gateway.load(barcode)
    drive = gateway.drive()
    data = random.Random(COLD_SEED).randbytes(COLD_BYTES)
    for at in range(0, COLD_BYTES, 1 << 16):
        drive.write_block(data[at : at + (1 << 16)])
    drive.write_filemarks(1)
    drive.session.logout()
    gateway.prepare("tape", "unload", barcode)
    wait_until(lambda: gateway.ask("status")["WaitingBytes"] == 0, "the upload", 30)
    gateway.stop()
    assert evict(gateway.state, barcode)


def run_in_guest(gateway: Gateway, *suites: str, drives: int, **variables: str) -> GuestResult:
    """Boot the guest with this gateway in it, serve it there over iSCSI, and run the suites."""
    gateway.activate("--drives", str(drives), "--slots", "8")
    gateway.create_tapes("--count", "2")
    # In a slot after theirs: the other suites write to the tape in the first.
    (cold,) = gateway.create_tapes()
    if "waiting" in suites:
        make_cold(gateway, cold)
    jobs = gateway.root.with_name("jobs")
    shutil.copytree(JOBS, jobs)
    write_site(jobs / "site.tar")
    with tarfile.open(jobs / "gateway.tar", "w") as archive:
        archive.add(gateway.root, ".")
    settings = {k: v for k, v in gateway.environment.items() if k.startswith("TAPECTL_")}
    exports = {"ROOT": str(gateway.root), "NO_COLOR": "1", **settings}
    exports |= {"COLD_TAPE": cold, "COLD_SEED": str(COLD_SEED), "COLD_BYTES": str(COLD_BYTES)}
    (jobs / "gateway.env").write_text(
        "".join(f"export {name}={value}\n" for name, value in exports.items())
    )
    result = run_guest(
        ("127.0.0.1", 3260),
        *suites,
        ATTACH="lio",
        JOBS=str(jobs),
        EXPECT_DRIVES=str(drives),
        EXPECT_CHANGERS="1",
        **variables,
    )
    assert result.exit_status == 0, result.output
    assert not result.failed
    return result


@pytest.mark.timeout(1300)
def test_the_kernels_target(gateway: Gateway) -> None:
    # Through tcm_loop a command is aborted when its time is over; by open-iscsi it is not while its
    # session is well.
    suites = ("takeover", "residuals", "access", "loopback", "residuals", "waiting", "killed")
    result = run_in_guest(gateway, *suites, drives=1, JOB_ARGS="long" if CLIENTS else "")
    assert not result.skipped
    # The last checks of each suite: none has ended early.
    assert {
        "takeover/upgrade",
        "access/chap",
        "loopback/serve",
        "waiting/read-ends-right",
        "killed/lio-clean",
    } <= set(result.passed)
    assert result.passed.count("residuals/fixed-up-to-filemark") == 2


if CLIENTS:

    @pytest.mark.timeout(1300)
    @pytest.mark.parametrize("fabric", ["iscsi", "loopback"])
    def test_real_clients(make_gateway: Callable[..., Gateway], fabric: str) -> None:
        first = ["loopback"] if fabric == "loopback" else []
        # Some checks want a second drive.
        result = run_in_guest(make_gateway(), *first, *CLIENTS, drives=2, MEM="4096")
        skipped = {name for name in NOT_THROUGH_LOOPBACK if first and name.split("/")[0] in CLIENTS}
        assert set(result.skipped) == skipped
        assert {name.split("/")[0] for name in result.passed} == {"attach", *first, *CLIENTS}
